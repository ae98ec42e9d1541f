"""What language models read of prompts, token by token, and which of it is read once.

Knows texts and tokens; how a network is run on them is the runtimes' own.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tamis.models.errors import InputError
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.texts import Texts


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence that a decoder reads.

    Attributes:
        ids: Its tokens.
        head: How many of the first tokens are the same from query to query.
        key: Tells heads apart.
        first: The first position whose logits are wanted; those up to the last one are.
    """

    ids: list[int]
    head: int = 0
    key: Hashable = None
    first: int = 0


class Asked(NamedTuple):
    """What an encoder-decoder reads of a prompt: the ids of either side."""

    encoder: list[int]
    decoder: list[int]


def begun(
    prompt: Prompt, texts: Texts, rendered: Callable[[Prompt], str]
) -> tuple[list[int], int, Hashable]:
    """The tokens of a prompt without images, but for its answer; the length and key of its head.

    Args:
        prompt: The prompt.
        texts: The model's tokenizer.
        rendered: Writes a conversation by the model's chat template.
    """
    if prompt.messages:
        return texts.rendered(rendered(prompt)), 0, None
    ids = [*texts.start, *texts.ids(prompt.prefix)]
    # Its last token stays outside: a span may begin right after it.
    head = max(0, len(ids) - 1) if prompt.prefix else 0
    return ids + texts.ids(prompt.text), head, tuple(ids[:head])


def check_length(ids: Sequence[int], after: Sequence[int], room: int, *, max_tokens: int) -> None:
    """Refuses what a decoder does not read.

    Args:
        ids: A prompt's tokens.
        after: Those of a span after it.
        room: How many are to be written.
        max_tokens: How many it reads.

    Raises:
        InputError: There are no tokens, or too many.
    """
    if not ids:
        raise InputError("the prompt is empty, and the model has no token that begins a text")
    if len(ids) + len(after) + room > max_tokens:
        raise InputError(
            f"{len(ids) + len(after)} tokens and {room} for the answer; the model reads "
            f"{max_tokens}"
        )


def by_head(
    rows: Sequence[Row], kept: Callable[[Hashable], bool]
) -> tuple[list[int], list[list[int]]]:
    """The rows that are read whole, and groups of those that go on from one head.

    Args:
        rows: All of them.
        kept: Whether the state of a head is there already.
    """
    uses = Counter(row.key for row in rows if row.head)
    alone: list[int] = []
    shared: dict[Hashable, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        held = row.head and (uses[row.key] > 1 or kept(row.key))
        shared[row.key].append(i) if held else alone.append(i)
    return alone, list(shared.values())


def sides(prompt: Prompt, texts: Texts, *, start: int, max_tokens: int) -> Asked:
    """A prompt's tokens for an encoder-decoder whose decoder begins with `start`.

    Raises:
        InputError: They are more than the model reads, or no text.
    """
    if prompt.images or prompt.messages:
        raise InputError("the model reads texts, not images or conversations")
    ids = texts.whole(prompt.prefix + prompt.text)
    if len(ids) > max_tokens:
        raise InputError(f"{len(ids)} tokens; the model reads {max_tokens}")
    return Asked(ids, [start, *texts.ids(prompt.answer)])
