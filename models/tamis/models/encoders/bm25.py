"""BM25 counts a text's words: the classic of lexical search, as a sparse vector.

What the counts weigh is the index's to say, because it knows the collection: its documents' average
length, and how rare each word is. `weighting` is what a new collection does unless told otherwise;
see `blocks.term_weights`. So counts that others made, such as DeepCT's, are weighed alike.
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

__all__ = ("BM25",)


@dataclass(frozen=True, kw_only=True)
class BM25(Encoder):
    """Counts words.

    Attributes:
        variant: What new collections compute: ``lucene``, ``robertson``, ``atire``, ``bm25l`` or
            ``bm25_plus``.
        k1: How soon a repeated word stops adding; 0 for at once.
        b: How far long documents are marked down, from 0 to 1.
        delta: What BM25L and BM25+ grant every word that occurs.
        average_length: Of a collection's documents, in words: a caption has some 10, an
            encyclopedia's passage 50 to 100. 0 measures it where documents make the collection.
    """

    paper: ClassVar = Paper(
        "The Probabilistic Relevance Framework: BM25 and Beyond",
        2009,
        "https://doi.org/10.1561/1500000019",
    )
    checked: ClassVar = "bm25s, all five variants, over random collections, through the index"
    departs: ClassVar = (
        "the average length is fixed when a collection is made; words share a dimension where "
        "their CRC-32 collides"
    )
    modalities: ClassVar = frozenset({Modality.TEXT})

    variant: str = "lucene"
    k1: float = 1.2
    b: float = 0.75
    delta: float = 0.5
    average_length: float = 0.0

    def __post_init__(self) -> None:
        if self.variant == "tf_idf":
            raise ValueError("variant tf_idf is the encoder tf_idf")
        _ = self.weighting

    @property
    def weighting(self) -> TermWeighting:
        """How a new collection weighs the counts."""
        return TermWeighting(
            variant=self.variant,
            k1=self.k1,
            b=self.b,
            delta=self.delta,
            average_length=self.average_length,
        )

    @property
    def heads(self) -> Mapping[str, Head]:
        space = f"bm25:{SPACE}"
        return {"terms": Head(Kind.SPARSE, 0, space, idf=True, weighting=self.weighting)}

    @property
    def fingerprint(self) -> str:
        """The same for all settings: what these change is in the collection, not in the counts."""
        return hashlib.sha256(f"bm25:{SPACE}".encode()).hexdigest()[:16]

    def cost(self, content: Content) -> int:
        return 1 + len(content.text or "") // 4

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content. A text without any word has no `terms`."""
        found = [words(content.text or "") for content in contents]
        return [Encoding({"terms": counted(terms)} if terms else {}) for terms in found]
