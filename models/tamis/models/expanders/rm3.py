"""RM3 adds to a query the terms of the documents that it finds first.

Documents that score high speak, in proportion to their scores, for their terms; the strongest of
these are mixed into the query. No model is asked: the index is searched twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.expanders import FeedbackExpander
from tamis.models.types import Paper, Sparse

__all__ = ("Rm3",)


@dataclass(frozen=True, kw_only=True)
class Rm3(FeedbackExpander):
    """A mixture of the query and of a relevance model of its best documents.

    Attributes:
        terms: How many terms of the relevance model are kept.
        share: The query's own share of the mixture; the relevance model has the rest.
    """

    paper: ClassVar = Paper(
        "Relevance-Based Language Models", 2001, "https://doi.org/10.1145/383952.383972"
    )
    checked: ClassVar = "a plain second implementation of the formula; properties"
    departs: ClassVar = (
        "the mixture is that of UMass at TREC 2004; a document's language model is its stored "
        "weights, scaled to add up to 1, and its likelihood is its score"
    )

    terms: int = 10
    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.terms < 1:
            raise ValueError(f"terms must be at least 1, not {self.terms}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, not {self.share}")

    def expand(self, query: Sparse, found: Sequence[tuple[float, Sparse]]) -> Sparse:
        model: dict[int, float] = {}
        for score, document in found:
            total = float(np.abs(document.values).sum())
            if score <= 0 or total == 0:
                continue
            pairs = zip(document.indices.tolist(), document.values.tolist(), strict=True)
            for term, weight in pairs:
                model[term] = model.get(term, 0.0) + score * weight / total
        kept = sorted(model, key=lambda term: (-model[term], term))[: self.terms]
        whole = sum(model[term] for term in kept)
        if not whole:
            return query
        own = float(query.values.sum()) or 1.0
        asked = zip(query.indices.tolist(), query.values.tolist(), strict=True)
        mixed = {term: self.share * weight / own for term, weight in asked}
        for term in kept:
            mixed[term] = mixed.get(term, 0.0) + (1 - self.share) * model[term] / whole
        terms = sorted(term for term, weight in mixed.items() if weight > 0)
        weights = np.array([mixed[term] for term in terms], dtype=np.float32)
        return Sparse(np.array(terms, dtype=np.int64), weights)
