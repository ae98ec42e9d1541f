"""What a store does with collections as a whole: other names, indexes, and files out and in."""

import asyncio
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.server.store import (
    AliasChange,
    CollectionExistsError,
    CollectionSchema,
    UnknownCollectionError,
    UnsupportedByIndexError,
    VectorStore,
    point,
)
from tamis.server.store.connection import channel_to
from tamis.server.store.qdrant import QdrantStore
from tamis.server.store.supervisor import Supervisor

SCHEMA = CollectionSchema(
    vectors={"dense": models.VectorParams(size=4, distance=models.Distance.DOT)},
    sparse={},
    metadata={"fingerprint": "abc"},
    indexes={
        "metadata.word": models.PayloadSchemaType.KEYWORD,
        "metadata.deep.year": models.PayloadSchemaType.INTEGER,
        "metadata.score": models.PayloadSchemaType.FLOAT,
        "metadata.open": models.PayloadSchemaType.BOOL,
    },
)


def named(alias: str, collection: str) -> AliasChange:
    return models.CreateAliasOperation(
        create_alias=models.CreateAlias(alias_name=alias, collection_name=collection)
    )


def unnamed(alias: str) -> AliasChange:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))


def points(count: int, text: str = "") -> list[models.PointStruct]:
    return [
        point(
            str(UUID(int=n + 1)),
            vectors={"dense": np.full(4, n)},
            payload={"text": text, "metadata": {"word": f"w{n % 3}", "deep": {"year": n}}},
        )
        for n in range(count)
    ]


async def test_another_name_stands_for_a_collection_in_every_call(store: VectorStore) -> None:
    for name in ("old", "new"):
        await store.create(name, SCHEMA)
    await store.update_aliases([named("docs", "old")])
    await store.upsert("docs", points(3))
    assert await store.aliases() == {"docs": "old"}
    assert await store.count("docs") == await store.count("old") == 3
    query = models.NearestQuery(nearest=[1.0] * 4)
    (found,) = await store.query("docs", query, using="dense", limit=1)
    assert found.id == str(UUID(int=3))
    await store.update_aliases([unnamed("docs"), named("docs", "new")])
    assert await store.count("docs") == 0
    assert await store.names() == ["new", "old"]


async def test_names_do_not_collide_and_half_a_change_is_none(store: VectorStore) -> None:
    for name in ("old", "new"):
        await store.create(name, SCHEMA)
    await store.update_aliases([named("docs", "old")])
    with pytest.raises(CollectionExistsError):
        await store.update_aliases([named("docs", "new"), named("new", "old")])
    with pytest.raises(UnknownCollectionError):
        await store.update_aliases([named("docs", "new"), named("more", "nowhere")])
    with pytest.raises(CollectionExistsError):
        await store.create("docs", SCHEMA)
    assert await store.aliases() == {"docs": "old"}
    await store.drop("old")
    assert await store.aliases() == {}


async def test_fields_with_an_index_are_filtered_alike(store: VectorStore) -> None:
    await store.create("docs", SCHEMA)
    await store.upsert("docs", points(30))
    assert (await store.schema("docs")).indexes == SCHEMA.indexes
    word = models.FieldCondition(key="metadata.word", match=models.MatchValue(value="w1"))
    years = models.FieldCondition(key="metadata.deep.year", range=models.Range(gte=10, lt=20))
    assert await store.count("docs", models.Filter(must=[word, years])) == 4


async def test_an_index_of_an_unknown_kind_is_refused(engine: str) -> None:
    store = QdrantStore(channel_to(engine), timeout_s=30)
    odd = CollectionSchema(SCHEMA.vectors, {}, {}, {"metadata.x": models.PayloadSchemaType.GEO})
    with pytest.raises(InputError, match="Geo"):
        await store.create("odd", odd)
    await store.drop("odd")
    await store.close()


async def test_files_go_out_while_points_come_and_go_and_in_under_another_name(
    tmp_path: Path,
) -> None:
    async with Supervisor(tmp_path / "engine") as engine:
        store = QdrantStore(channel_to(engine.target), timeout_s=30)
        await store.create("docs", SCHEMA)
        await store.upsert("docs", points(500, "before"))
        writing = asyncio.create_task(written(store, 40))
        assert await store.copy_files("docs", tmp_path / "out") >= 500
        await writing
        await store.update_aliases([named("taken", "docs")])
        for name in ("docs", "taken"):
            with pytest.raises(CollectionExistsError):
                await store.adopt_files(name, tmp_path / "out")
        await store.adopt_files("copy", tmp_path / "out")
        assert await store.count("copy") == 500
        assert (await store.schema("copy")).metadata == {"fingerprint": "abc"}
        assert (await store.schema("copy")).indexes == SCHEMA.indexes
        await store.upsert("copy", points(1, "own"))
        assert await store.count("docs") == 500
        for nonsense in (tmp_path / "out", tmp_path / "nowhere"):
            with pytest.raises(InputError, match="no collection's files"):
                await store.adopt_files("more", nonsense)
        await store.close()
    async with Supervisor(tmp_path / "engine") as engine:  # all of it is on disk
        store = QdrantStore(channel_to(engine.target), timeout_s=30)
        assert await store.names() == ["copy", "docs"]
        assert await store.aliases() == {"taken": "docs"}
        (record,) = await store.retrieve("copy", [str(UUID(int=1))])
        assert (record.payload or {})["text"] == "own"
        await store.close()


async def written(store: VectorStore, times: int) -> None:
    for n in range(times):
        await store.upsert("docs", points(5, f"after {n}"))


async def test_only_an_engine_of_this_machine_gives_its_files(
    store: VectorStore, tmp_path: Path
) -> None:
    if isinstance(store, QdrantStore):
        pytest.skip("it is one")
    with pytest.raises(UnsupportedByIndexError):
        await store.copy_files("docs", tmp_path)
