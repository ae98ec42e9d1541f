"""BM25 weighs a text's words: the classic of lexical search, as a sparse vector.

A document's weight of a word is BM25's saturated, length-normalised count; a query's is its plain
count. Their inner product is BM25 but for the inverse document frequency, which the index, knowing
the collection, multiplies in.

A word is a run of Unicode letters, digits and underscores, compatibility-normalised and
case-folded; each Han or kana character is a word of its own. There is no stemming and there are no
stop words: "the" weighs little because it is everywhere. The dimension of a word is the CRC-32 of
its UTF-8 bytes. Of a vocabulary of 100,000 words, about one pair shares a dimension, and counts as
the same word; words of up to four bytes never do so among themselves.
"""

import hashlib
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from tamis.models.encoders import Encoder
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Paper, Side, Sparse

__all__ = ("BM25",)

SPACE = "bm25:word-v1"  # changes with `words` or `dimension`
SINGLE = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003fffd"  # kana, Han
WORD = re.compile(rf"[{SINGLE}]|[^\W{SINGLE}]+")
HEADS = MappingProxyType({"terms": Head(Kind.SPARSE, 0, SPACE, idf=True)})


@dataclass(frozen=True, kw_only=True)
class BM25(Encoder):
    """Counts words, and damps the counts.

    Attributes:
        k1: How soon a repeated word stops adding; 0 for at once.
        b: How far long documents are marked down, from 0 to 1.
        average_length: Of the collection's documents, in words. An encoder sees one document at a
            time and must be told. A caption has some 10 words, an encyclopedia's passage 50 to 100.
    """

    paper: ClassVar = Paper(
        "The Probabilistic Relevance Framework: BM25 and Beyond",
        2009,
        "https://doi.org/10.1561/1500000019",
    )
    checked: ClassVar = "the formula, computed word by word over whole collections"
    departs: ClassVar = (
        "the average length is a setting, not the collection's; words share a dimension where "
        "their CRC-32 collides"
    )
    modalities: ClassVar = frozenset({Modality.TEXT})

    k1: float = 1.2
    b: float = 0.75
    average_length: float = 20.0

    def __post_init__(self) -> None:
        if self.k1 < 0:
            raise ValueError(f"k1 must be at least 0, not {self.k1}")
        if not 0 <= self.b <= 1:
            raise ValueError(f"b must be from 0 to 1, not {self.b}")
        if self.average_length <= 0:
            raise ValueError(f"average_length must be above 0 words, not {self.average_length}")

    @property
    def heads(self) -> Mapping[str, Head]:
        return HEADS

    @property
    def fingerprint(self) -> str:
        recipe = f"{SPACE} {self.k1!r} {self.b!r} {self.average_length!r}"
        return hashlib.sha256(recipe.encode()).hexdigest()[:16]

    def cost(self, content: Content) -> int:
        return 1 + len(content.text or "") // 4

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content. A text without any word has no `terms`."""
        return [Encoding(self._heads(words(content.text or ""), side)) for content in contents]

    def _heads(self, terms: Sequence[str], side: Side) -> dict[str, Sparse]:
        if not terms:
            return {}
        counts = Counter(map(dimension, terms))
        indices = np.array(sorted(counts), dtype=np.int64)
        tf = np.array([counts[int(i)] for i in indices], dtype=np.float32)
        if side is Side.QUERY:
            return {"terms": Sparse(indices, tf)}
        norm = 1 - self.b + self.b * len(terms) / self.average_length
        return {"terms": Sparse(indices, tf * (self.k1 + 1) / (tf + self.k1 * norm))}


def words(text: str) -> list[str]:
    """The words of a text, in order, in the form in which they are compared."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def dimension(word: str) -> int:
    """Which of 2^32 dimensions is the word's."""
    return zlib.crc32(word.encode())
