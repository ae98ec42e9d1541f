"""Expanders rewrite a query before it is searched, so that it meets the documents' own words.

One file a method, named after its paper; a frozen dataclass, as in `encoders`. It subclasses one of

    TextExpander.expand       by the query's text alone
    FeedbackExpander.expand   by the documents that the query finds first

What a user asked stays what rerankers and refiners read: an expansion is for retrievers only.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from tamis.models.method import Method
from tamis.models.types import Sparse


@dataclass(frozen=True, kw_only=True)
class Expander(Method):
    """Rewrites queries."""


@dataclass(frozen=True, kw_only=True)
class TextExpander(Expander):
    """Rewrites a query's text."""

    @abstractmethod
    def expand(self, text: str) -> list[str]:
        """The texts to search with instead, at least one; several are searched and fused.

        Called from worker threads.
        """


@dataclass(frozen=True, kw_only=True)
class FeedbackExpander(Expander):
    """Rewrites a query's sparse representation by the documents that it finds.

    Attributes:
        vector: The representation, as `encoder.head`.
        documents: How many documents it looks at.
    """

    vector: str = "bm25.terms"
    documents: int = 10

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise ValueError(f"documents must be at least 1, not {self.documents}")

    @abstractmethod
    def expand(self, query: Sparse, found: Sequence[tuple[float, Sparse]]) -> Sparse:
        """The query's new weights.

        Args:
            query: Its own weights.
            found: The score and the stored weights of each document that it found, best first.
        """
