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
        indexes: Mapping[str, str] = MappingProxyType({}),
        **options: Unpack[CallOptions],
    ) -> Any:
        """Makes an empty collection.

        Args:
            name: Its name.
            vectors: What it indexes; empty for all that the encoders make.
            weightings: How it weighs fields that are counts of terms, such as `bm25.terms`.
            indexes: Metadata fields that filters will test, and what they hold; see `FieldType`.
                Filters on others work too, and look at every document.
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

    @abstractmethod
    def set_alias(self, alias: str, collection: str, **options: Unpack[CallOptions]) -> Any:
        """Lets another name stand for a collection, at once; returns what it stood for before.

        So documents can be indexed anew in another collection, while searches go on in the old one.
        """

    @abstractmethod
    def delete_alias(self, alias: str, **options: Unpack[CallOptions]) -> Any:
        """Takes another name away; the collection stays."""

    @abstractmethod
    def create_snapshot(self, collection: str, **options: Unpack[CallOptions]) -> Any:
        """Writes a collection to one file on the server, and returns its `Snapshot`.

        Searches and writes go on. It has no timeout unless one is given.
        """

    @abstractmethod
    def snapshots(self, collection: str, **options: Unpack[CallOptions]) -> Any:
        """Returns the snapshots of a collection, which may be gone, the newest first."""

    @abstractmethod
    def delete_snapshot(
        self, collection: str, snapshot: str, **options: Unpack[CallOptions]
    ) -> Any:
        """Deletes a snapshot of a collection."""

    @abstractmethod
    def restore_snapshot(
        self, collection: str, snapshot: str, name: str, **options: Unpack[CallOptions]
    ) -> Any:
        """Makes the collection `name` of a snapshot, and returns what it holds.

        It has no timeout unless one is given.
        """
