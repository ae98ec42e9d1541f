"""What the asyncio client does with collections' other names and snapshots."""

import math
from abc import abstractmethod
from typing import TypeVar, Unpack

from tamis.client import collection_calls
from tamis.client.collection_surface import CollectionSurface
from tamis.client.options import CALL_TIMEOUT_S
from tamis.client.types import CallOptions, Collection, Snapshot
from tamis.client.unary import Unary

T = TypeVar("T")


class AsyncUpkeep(CollectionSurface):
    """Other names and snapshots."""

    @abstractmethod
    async def _ask(
        self, unary: Unary[T], options: CallOptions, timeout: float = CALL_TIMEOUT_S
    ) -> T: ...

    async def set_alias(self, alias: str, collection: str, **options: Unpack[CallOptions]) -> str:
        return await self._ask(collection_calls.set_alias(alias, collection), options)

    async def delete_alias(self, alias: str, **options: Unpack[CallOptions]) -> None:
        await self._ask(collection_calls.delete_alias(alias), options)

    async def create_snapshot(self, collection: str, **options: Unpack[CallOptions]) -> Snapshot:
        return await self._ask(collection_calls.create_snapshot(collection), options, math.inf)

    async def snapshots(self, collection: str, **options: Unpack[CallOptions]) -> list[Snapshot]:
        return await self._ask(collection_calls.snapshots(collection), options)

    async def delete_snapshot(
        self, collection: str, snapshot: str, **options: Unpack[CallOptions]
    ) -> None:
        await self._ask(collection_calls.delete_snapshot(collection, snapshot), options)

    async def restore_snapshot(
        self, collection: str, snapshot: str, name: str, **options: Unpack[CallOptions]
    ) -> Collection:
        restored = collection_calls.restore_snapshot(collection, snapshot, name)
        return await self._ask(restored, options, math.inf)
