"""Decoding that may only name what is left: greedy, so that each candidate comes once."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Next = Callable[[Int[Tensor, " rows"] | None], Float[Tensor, "rows choices"]]


def named_once(following: Next, rows: int, choices: int) -> Int[Tensor, "rows choices"]:
    """The choices of each row in the order in which they are named.

    Args:
        following: The logits of all choices, after each row was given what it named last; None
            before the first. It keeps what was read.
        rows: How many decode side by side.
        choices: How many each names.
    """
    named = torch.empty((rows, choices), dtype=torch.long)
    gone = torch.zeros((rows, choices), dtype=torch.bool)
    lowest = torch.finfo(torch.float32).min
    chosen: Tensor | None = None
    for step in range(choices):
        # Whatever is no number is still above what has been named.
        logits = following(chosen).float().cpu().nan_to_num(nan=lowest)
        chosen = logits.masked_fill(gone, -torch.inf).argmax(dim=1)
        named[:, step] = chosen
        gone[torch.arange(rows), chosen] = True
    return named
