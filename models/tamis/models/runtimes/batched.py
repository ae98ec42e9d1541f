"""Runs a text graph over many texts: those of like length together, so that little is padding."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.batches import alike
from tamis.models.runtimes import Session
from tamis.models.runtimes.tokenizer import Tokens

ROOM = 8192  # tokens that one run reads, which bounds its memory


def run_texts(
    session: Session,
    tokens: Tokens,
    *,
    room: int = ROOM,
    inputs: Callable[[Tokens], Mapping[str, np.ndarray]] = Tokens.inputs,
) -> list[dict[str, Float[np.ndarray, "..."]]]:
    """What a graph makes of each text, in the order of the texts.

    Outputs that have a row a token still have the rows of the padding that their run had: cut
    them at `tokens.lengths`. All are views into their run's arrays: copy what is kept.

    Args:
        session: A graph whose outputs' first axis is the texts.
        tokens: The texts.
        room: Tokens that one run may read, padding included.
        inputs: The graph's inputs for some of the texts.
    """
    made: dict[int, dict[str, np.ndarray]] = {}
    for group in alike(tokens.lengths, room=room):
        outputs = session.run(inputs(tokens.take(group)))
        for row, text in enumerate(group):
            made[int(text)] = {name: output[row] for name, output in outputs.items()}
    return [made[text] for text in range(len(tokens.lengths))]
