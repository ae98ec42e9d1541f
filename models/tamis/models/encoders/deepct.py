"""DeepCT counts a document's words by how much they matter in it, as a BERT reads it.

The counts go where BM25's go: a word that matters is in the index as if it were repeated, and a
query is counted as it stands. Nothing runs when a query is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.blocks.term_counts import deepct_counts, word_weights
from tamis.models.blocks.words import SPACE, counted, weighed, words
from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.folder_encoder import TextEncoder, TextRecipe
from tamis.models.types import Content, Encoding, Head, Kind, Paper, Side, Sparse, TermWeighting

__all__ = ("DeepCt",)


@dataclass(frozen=True, kw_only=True)
class DeepCtRecipe(TextRecipe):
    """DeepCT's `model.toml`."""


@dataclass(frozen=True, kw_only=True)
class DeepCt(TextEncoder[DeepCtRecipe]):
    """A word's count is its weight times `scale`; a collection weighs counts as BM25 does.

    Attributes:
        scale: What a weight of 1 counts as.
        k1: How soon a repeated word stops adding: counts are some ten times those of words.
        b: How far documents of many counts are marked down, from 0 to 1.
    """

    paper: ClassVar = Paper(
        "Context-Aware Sentence/Passage Term Importance Estimation For First Stage Retrieval",
        2019,
        "https://arxiv.org/abs/1910.10687",
    )
    checked: ClassVar = (
        "transformers' BertForTokenClassification on tiny random weights; the rule of the counts "
        "by hand; no published weights"
    )
    departs: ClassVar = (
        "words are BM25's here, not stemmed ones; queries are not reweighed; only the first "
        "tokens of a document are read"
    )
    method: ClassVar = "deepct"
    recipe: ClassVar = DeepCtRecipe
    graphs: ClassVar = ("text",)

    scale: int = 100
    k1: float = 10.0
    b: float = 0.9

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ValueError(f"scale must be at least 1, not {self.scale}")
        _ = self.weighting
        super().__post_init__()

    @property
    def weighting(self) -> TermWeighting:
        """How a new collection weighs the counts."""
        return TermWeighting(k1=self.k1, b=self.b)

    @property
    def heads(self) -> Mapping[str, Head]:
        space = f"{self._recipe.space}:{SPACE}:{self._rule}"
        return {"terms": Head(Kind.SPARSE, 0, space, idf=True, weighting=self.weighting)}

    @property
    def fingerprint(self) -> str:
        """Of the weights and the rule of the counts, which are another index each."""
        return f"{super().fingerprint}-{self._rule}"

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        texts = [content.text or "" for content in contents]
        if side is Side.QUERY:
            made = [counted(words(text)) for text in texts]
        else:
            made = [weighed(deepct_counts(own, self.scale)) for own in self._weights(texts)]
        return [Encoding(there(terms)) for terms in made]

    @property
    def _rule(self) -> str:
        return f"linear-{self.scale}"

    def _weights(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """What each text's words weigh."""
        if not texts:
            return []
        tokens, spans = self._tokenizer.encode_with_offsets(texts)
        made = run_texts(self._sessions["text"], tokens)
        rows = zip(texts, spans, made, strict=True)
        return [
            word_weights(text, own, np.asarray(one["weights"])[: len(own)])
            for text, own, one in rows
        ]


def there(terms: Sparse) -> dict[str, Sparse]:
    """The head, where a text has any term."""
    return {"terms": terms} if len(terms.indices) else {}
