"""tf-idf counts a text's words, and weighs them by how often they occur and how rare they are.

Of its many variants this is SMART's lnc.ltc: logarithms of counts on both sides, the inverse
document frequency on the query's side, and both sides scaled to length 1.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models.blocks.words import SPACE, counted, words
from tamis.models.encoders import Encoder
from tamis.models.types import (
    Content,
    Encoding,
    Head,
    Kind,
    Modality,
    Paper,
    Side,
    TermWeighting,
)

__all__ = ("TfIdf",)


@dataclass(frozen=True, kw_only=True)
class TfIdf(Encoder):
    """Counts words, for an index that weighs them as lnc.ltc."""

    paper: ClassVar = Paper(
        "Term-weighting approaches in automatic text retrieval",
        1988,
        "https://doi.org/10.1016/0306-4573(88)90021-0",
    )
    checked: ClassVar = "the formula, word by word, over random collections, through the index"
    departs: ClassVar = (
        "lnc.ltc of the variants; words share a dimension where their CRC-32 collides"
    )
    modalities: ClassVar = frozenset({Modality.TEXT})

    @property
    def heads(self) -> Mapping[str, Head]:
        weighting = TermWeighting(variant="tf_idf")
        return {"terms": Head(Kind.SPARSE, 0, f"tf_idf:{SPACE}", idf=True, weighting=weighting)}

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"tf_idf:{SPACE}".encode()).hexdigest()[:16]

    def cost(self, content: Content) -> int:
        return 1 + len(content.text or "") // 4

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content. A text without any word has no `terms`."""
        found = [words(content.text or "") for content in contents]
        return [Encoding({"terms": counted(terms)} if terms else {}) for terms in found]
