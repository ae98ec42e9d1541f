"""HDCT counts a long document's words by how much they matter in each of its passages.

DeepCT's model reads one passage after another; a document's counts are those of its passages
together. A title or a first paragraph may count more than what follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from tamis.models.blocks.term_counts import MODES, hdct_counts
from tamis.models.blocks.words import WORD, counted, weighed, words
from tamis.models.encoders import deepct
from tamis.models.types import Content, Encoding, Paper, Side

__all__ = ("Hdct",)


@dataclass(frozen=True, kw_only=True)
class Hdct(deepct.DeepCt):
    """The passages' counts, which are roots of weights times `scale`, added or averaged.

    Attributes:
        mode: ``avg``, ``sum`` or ``max`` of the passages, or ``position_decay_avg`` or
            ``position_decay_sum``, in which the p-th passage has 1 / p of its counts.
        passage_words: How many words a passage has.
        max_passages: How many passages of a document are read.
    """

    paper: ClassVar = Paper(
        "Context-Aware Document Term Weighting for Ad-Hoc Search",
        2020,
        "https://doi.org/10.1145/3366423.3380258",
    )
    checked: ClassVar = "the rule of the counts by hand; the model is DeepCT's, see there"
    departs: ClassVar = (
        "passages are so many words each, whatever the sentences; words are BM25's here, not "
        "stemmed ones; no document is forgotten, as the last one is by the authors' script"
    )

    mode: str = "position_decay_avg"
    passage_words: int = 80
    max_passages: int = 16

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {self.mode!r}")
        if self.passage_words < 1 or self.max_passages < 1:
            raise ValueError("passage_words and max_passages must be at least 1")
        super().__post_init__()

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        texts = [content.text or "" for content in contents]
        if side is Side.QUERY:
            made = [counted(words(text)) for text in texts]
        else:
            passages = [self._passages(text) for text in texts]
            weights = self._weights([one for own in passages for one in own])
            ends = list(accumulate(len(own) for own in passages))
            starts = [0, *ends[:-1]]
            made = [
                weighed(hdct_counts(weights[start:end], self.scale, self.mode))
                for start, end in zip(starts, ends, strict=True)
            ]
        return [Encoding(deepct.there(terms)) for terms in made]

    @property
    def _rule(self) -> str:
        return f"root-{self.scale}-{self.mode}-{self.passage_words}x{self.max_passages}"

    def _passages(self, text: str) -> list[str]:
        starts = [match.start() for match in WORD.finditer(text)][:: self.passage_words]
        ends = [*starts[1:], len(text)][: len(starts)]
        cut = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        return cut[: self.max_passages]
