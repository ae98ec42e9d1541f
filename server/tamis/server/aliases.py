"""Other names of collections, as calls use them."""

import time
from collections.abc import Mapping

from qdrant_client import models

from tamis.server.errors import NotFoundError
from tamis.server.revision import Revision
from tamis.server.store import AliasChange, VectorStore

TTL_S = 5.0  # how long another machine's change of a name may go unnoticed


class Aliases:
    """Which collection a name stands for, remembered for a few seconds while none is changed.

    Args:
        store: The index, which keeps them.
        revision: Changes with every name that is changed, here or by another process.
    """

    def __init__(self, store: VectorStore, revision: Revision) -> None:
        self._store = store
        self._revision = revision
        self._known: Mapping[str, str] = {}
        self._mark, self._asked_s = b"", float("-inf")

    async def all(self) -> Mapping[str, str]:
        """The names, and what each stands for."""
        now_s, mark = time.monotonic(), self._revision.now()
        if mark != self._mark or now_s - self._asked_s >= TTL_S:
            self._known = await self._store.aliases()
            self._mark, self._asked_s = mark, now_s
        return self._known

    async def resolve(self, name: str) -> str:
        """The collection that a name stands for: its own, unless it is another's."""
        return (await self.all()).get(name, name)

    async def of(self, collection: str) -> list[str]:
        """The other names of a collection, sorted."""
        return sorted(alias for alias, name in (await self.all()).items() if name == collection)

    async def set(self, alias: str, collection: str) -> str:
        """Lets a name stand for a collection, at once, and says what it stood for before.

        Raises:
            CollectionExistsError: A collection has that name.
            UnknownCollectionError: There is no such collection.
        """
        previous = (await self._store.aliases()).get(alias, "")
        changes: list[AliasChange] = [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(alias_name=alias, collection_name=collection)
            )
        ]
        if previous:
            changes.insert(0, _without(alias))
        await self._store.update_aliases(changes)
        self._revision.change()
        return previous

    async def drop(self, alias: str) -> None:
        """Takes a name away.

        Raises:
            NotFoundError: There is none.
        """
        if alias not in await self._store.aliases():
            raise NotFoundError(f"no alias {alias!r}")
        await self._store.update_aliases([_without(alias)])
        self._revision.change()


def _without(alias: str) -> AliasChange:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
