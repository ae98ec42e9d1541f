"""Words of texts, and their dimensions in sparse representations.

A word is a run of Unicode letters, digits and underscores, compatibility-normalised and
case-folded; each Han or kana character is a word of its own. There is no stemming and there are no
stop words: "the" weighs little because it is everywhere. The dimension of a word is the CRC-32 of
its UTF-8 bytes. Of a vocabulary of 100,000 words, about one pair shares a dimension, and counts as
the same word; words of up to four bytes never do so among themselves.
"""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable

import numpy as np

from tamis.models.types import Sparse

SPACE = "word-v1"  # changes with `words` or `dimension`
SINGLE = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003fffd"  # kana, Han
AT_ONCE = 1 << 16  # characters whose words are looked for in one step, which no thread interrupts
WORD = re.compile(rf"[{SINGLE}]|[^\W{SINGLE}]+")


def words(text: str) -> list[str]:
    """The words of a text, in order, in the form in which they are compared."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    found: list[str] = []
    start = 0
    while start < len(folded):
        space = folded.find(" ", start + AT_ONCE)
        end = len(folded) if space < 0 else space
        found += WORD.findall(folded, start, end)
        start = end
    return found


def dimension(word: str) -> int:
    """Which of 2^32 dimensions is the word's."""
    return zlib.crc32(word.encode())


def counted(terms: Iterable[str]) -> Sparse:
    """How often each word occurs, under its dimension."""
    return weighed(Counter(map(dimension, terms)))


def weighed(weights: dict[int, float] | Counter[int]) -> Sparse:
    """Weights of dimensions as a representation."""
    indices = np.array(sorted(weights), dtype=np.int64)
    return Sparse(indices, np.array([weights[int(i)] for i in indices], dtype=np.float32))
