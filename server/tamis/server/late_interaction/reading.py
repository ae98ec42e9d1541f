"""Reads a multi-vector field out of the index, page by page."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from qdrant_client import models

from tamis.server.store import VectorStore

PAGE = 256  # documents that are read, and written, together


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What the index has of one field of one collection.

    Attributes:
        store: The index.
        collection: Its name there.
        vector: The multi-vector field.
        dim: The length of one vector.
    """

    store: VectorStore
    collection: str
    vector: str
    dim: int

    async def pages(self, where: models.Filter) -> AsyncIterator[dict[str, np.ndarray]]:
        """Vectors by id, of the documents that pass, some at a time."""
        async for page in self._scrolled(where, [self.vector]):
            yield self._arrays(page)

    async def ids(self, where: models.Filter) -> AsyncIterator[list[str]]:
        """The documents that pass, some at a time."""
        async for page in self._scrolled(where, []):
            yield [str(record.id) for record in page]

    async def versions(self, ids: list[str]) -> dict[str, int]:
        """What the index calls these points' last change; only a query tells."""
        query = np.ones((1, self.dim), dtype=np.float32)
        found = await self.store.query(
            self.collection,
            models.NearestQuery.model_construct(nearest=query),
            using=self.vector,
            limit=len(ids),
            where=models.Filter(must=[models.HasIdCondition(has_id=[*ids])]),
            exact=True,
            payload=False,
        )
        return {str(point.id): point.version for point in found}

    async def vectors(self, ids: list[str]) -> dict[str, np.ndarray]:
        """These documents' vectors, but of those that are gone or have none."""
        records = await self.store.retrieve(
            self.collection, ids, vectors=[self.vector], payload=False
        )
        return self._arrays(records)

    async def _scrolled(
        self, where: models.Filter, vectors: list[str]
    ) -> AsyncIterator[list[models.Record]]:
        after: str | None = None
        while page := await self.store.scroll(
            self.collection,
            limit=PAGE,
            after=after,
            where=where,
            vectors=vectors,
            payload=False,
        ):
            after = str(page[-1].id)
            yield page

    def _arrays(self, records: list[models.Record]) -> dict[str, np.ndarray]:
        vectors: dict[str, Any] = {str(one.id): one.vector or {} for one in records}
        return {
            name: np.asarray(own[self.vector], dtype=np.float32)
            for name, own in vectors.items()
            if self.vector in own
        }
