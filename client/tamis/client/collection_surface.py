"""What both clients offer on collections and on single documents. See `surface.py`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Unpack

from tamis.client.enums import View
from tamis.client.filters import Filterable
from tamis.client.types import CallOptions, TermWeighting


class CollectionSurface(ABC):
    """What a client does with collections."""

    @abstractmethod
    def delete(
        self,
        collection: str,
        ids: Sequence[str] = (),
        *,
        filter: Filterable | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Deletes documents by id or by filter; returns how many there were."""

    @abstractmethod
    def get(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        view: str = View.PAYLOAD,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Returns the documents of these ids, in their order; unknown ones are left out."""

    @abstractmethod
    def create_collection(
        self,
        name: str,
        vectors: Sequence[str] = (),
        *,
        weightings: Mapping[str, TermWeighting] = MappingProxyType({}),
        **options: Unpack[CallOptions],
    ) -> Any:
        """Makes an empty collection.

        Args:
            name: Its name.
            vectors: What it indexes; empty for all that the encoders make.
            weightings: How it weighs fields that are counts of terms, such as `bm25.terms`.
            options: As every call has.
        """

    @abstractmethod
    def collection(self, name: str, **options: Unpack[CallOptions]) -> Any:
        """Returns what a collection holds."""

    @abstractmethod
    def collections(self, **options: Unpack[CallOptions]) -> Any:
        """Returns what every collection holds, by name."""

    @abstractmethod
    def optimize_collection(
        self, name: str, *, retrain: bool = False, **options: Unpack[CallOptions]
    ) -> Any:
        """Makes late interaction over a large collection fast: yields `OptimizeProgress`.

        The server does this by itself now and then. What is half done when the loop is left, the
        next call goes on with. It has no timeout unless one is given.

        Args:
            name: The collection's.
            retrain: Train centroids again even if they still fit.
            options: As every call has.
        """

    @abstractmethod
    def drop_collection(self, name: str, **options: Unpack[CallOptions]) -> Any:
        """Deletes a collection with all that it holds."""
