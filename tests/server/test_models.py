"""Models are loaded, switched to and unloaded while serving, or stay as they were."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from tiny_tower import tiny_tower

from tamis.models.errors import InputError, ModelError
from tamis.models.refiners import TextRefiner
from tamis.models.refiners.uniform import Uniform
from tamis.models.rerankers.identity import Identity
from tamis.models.retrievers.dense import Dense
from tamis.models.types import Query
from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.embeddings import EmbeddingCache
from tamis.server.collections import Collections
from tamis.server.config import MethodSettings, PipelineSettings, RetrieveSettings, ServerSettings
from tamis.server.encoders import CurrentTokens, Encoders
from tamis.server.errors import MismatchError, NotFoundError
from tamis.server.loading import below, cores, open_encoder, threads_each
from tamis.server.models import Models, State, encoders_of
from tamis.server.pipeline import Pipeline
from tamis.server.refining import Refine
from tamis.server.retrieving import Retrieve
from tamis.server.revision import Revision
from tamis.server.stages import Rerank
from tamis.server.store import CollectionSchema, VectorStore
from tamis.server.store_settings import StoreSettings


@dataclass(frozen=True, kw_only=True)
class Reading(TextRefiner):
    """Has an encoder, and does nothing with it."""

    checked: ClassVar = "by definition"

    encoder: Any

    def refine(self, query: Query, text: str) -> str:
        return text

    def count(self, text: str) -> int:
        return len(text)


class MemoryStore:
    """As much of a `VectorStore` as collections without documents need."""

    def __init__(self) -> None:
        self._schemas: dict[str, CollectionSchema] = {}

    async def create(self, collection: str, schema: CollectionSchema) -> None:
        self._schemas[collection] = schema

    async def drop(self, collection: str) -> None:
        del self._schemas[collection]

    async def names(self) -> list[str]:
        return sorted(self._schemas)

    async def schema(self, collection: str) -> CollectionSchema:
        return self._schemas[collection]

    async def aliases(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True)
class Served:
    """The models, and what they change."""

    models: Models
    encoders: Encoders
    collections: Collections
    pipeline: Pipeline


@asynccontextmanager
async def serving(settings: ServerSettings) -> AsyncIterator[Served]:
    """The settings' encoders, in a pipeline that needs `eye`."""
    cache = EmbeddingCache(settings.cache)
    opened = {n: await asyncio.to_thread(open_encoder, settings, n) for n in settings.encoders}
    async with Encoders(opened, cache, settings.batch) as encoders:
        folder = Path(settings.store.folder)
        collections = Collections(
            cast(VectorStore, MemoryStore()),
            folder,
            heads=encoders.heads,
            fingerprints=encoders.fingerprints,
            revision=await asyncio.to_thread(Revision, folder / "revision"),
            default=settings.store.vectors,
        )
        stages: list[Any] = [
            Retrieve("dense", Dense(vector="eye.dense"), encoders, collections, 10),
            Rerank("identity", Identity(), collections, 10),
            Refine(
                visual=Uniform(),
                visual_name="uniform",
                text=None,
                text_name="",
                encoder="eye",
                encoders=encoders,
                collections=collections,
                depth=1,
                contexts=ContextCache(settings.cache),
                ttl_s=60,
            ),
        ]
        pipeline = Pipeline(stages)
        models = Models(settings, encoders, collections, {"default": pipeline})
        yield Served(models, encoders, collections, pipeline)
    await cache.close()


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """Two towers; nobody needs `spare`. Beside the present folder there are others."""
    models = tmp_path / "models"
    one = str(tiny_tower(models / "one"))
    tiny_tower(models / "same")
    tiny_tower(models / "two", seed=7)
    (tiny_tower(models / "damaged") / "vision.onnx").write_bytes(b"x")
    toml = tiny_tower(models / "elsewhere") / "model.toml"
    toml.write_text(toml.read_text().replace('"all-MiniLM-L6-v2"', '"another"'))
    (models / "link").symlink_to(tmp_path)
    tower = MethodSettings(method="tamis_mini", settings={"folder": one})
    return ServerSettings(
        encoders={"eye": tower, "spare": tower, "words": MethodSettings(method="bm25")},
        pipelines={
            "default": PipelineSettings(
                retrieve=RetrieveSettings(method="dense", settings={"vector": "eye.dense"})
            )
        },
        models_folder=str(models),
        warm_up_s=0.0,
        store=StoreSettings(folder=str(tmp_path / "data")),
    )


@pytest.fixture
async def app(settings: ServerSettings) -> AsyncIterator[Served]:
    async with serving(settings) as served:
        yield served


def listed(app: Served, name: str) -> list[tuple[int, State, str]]:
    return [(one.version, one.state, one.reason) for one in app.models.versions(name)]


async def test_every_model_is_listed_with_its_family(app: Served) -> None:
    assert [(m.name, m.family, m.method, m.version, m.state) for m in app.models] == [
        ("default.refine.visual", "refiner", "uniform", 1, State.READY),
        ("default.rerank", "reranker", "identity", 1, State.READY),
        ("eye", "encoder", "tamis_mini", 1, State.READY),
        ("spare", "encoder", "tamis_mini", 1, State.READY),
        ("words", "encoder", "bm25", 1, State.READY),
    ]


async def test_versions_count_and_a_failed_one_leaves_the_old_in_service(
    app: Served,
) -> None:
    before = app.encoders["eye"]
    assert (await app.models.load("eye")).version == 2
    assert app.encoders["eye"] is not before
    serving = app.encoders["eye"]
    with pytest.raises(ModelError, match="damaged"):
        await app.models.load("eye", "damaged")
    assert app.encoders["eye"] is serving
    (ready, failed) = listed(app, "eye")
    assert ready == (2, State.READY, "")
    assert failed[:2] == (3, State.UNAVAILABLE)
    assert "damaged" in failed[2]
    assert (await app.models.load("eye")).version == 4
    assert listed(app, "eye") == [(4, State.READY, "")]


async def test_the_old_one_serves_while_the_new_one_loads(app: Served) -> None:
    loading = asyncio.create_task(app.models.load("eye"))
    await asyncio.sleep(0)
    assert listed(app, "eye") == [(1, State.READY, ""), (2, State.LOADING, "")]
    assert app.models["eye"].version == 1
    await loading


async def test_a_load_that_is_broken_off_changes_nothing(app: Served) -> None:
    loading = asyncio.create_task(app.models.load("eye"))
    await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert listed(app, "eye")[1] == (2, State.UNAVAILABLE, "its loading was broken off")
    assert (await app.models.load("eye")).version == 3


async def test_loads_of_one_name_take_turns(app: Served) -> None:
    done = await asyncio.gather(*(app.models.load("eye") for _ in range(4)))
    assert sorted(model.version for model in done) == [2, 3, 4, 5]
    assert listed(app, "eye") == [(5, State.READY, "")]


async def test_other_weights_are_refused_where_collections_hold_the_old(
    app: Served,
) -> None:
    await app.collections.create("pictures", ["eye.dense"])
    old = app.encoders["eye"].fingerprint
    with pytest.raises(MismatchError, match="collections hold what fingerprint") as refused:
        await app.models.load("eye", "two")
    assert old in str(refused.value)
    assert "pictures" in str(refused.value)
    assert app.encoders["eye"].fingerprint == old
    assert (await app.models.load("eye", "same")).version == 3
    await app.collections.drop("pictures")
    model = await app.models.load("eye", "two")
    assert model.encoder is not None
    new = model.encoder.fingerprint
    assert new in str(refused.value)
    await app.collections.create("pictures")
    assert {field.fingerprint for field in await app.collections.fields("pictures")} >= {new}
    assert (await app.models.load("eye")).encoder is not model.encoder  # from where it was


async def test_other_heads_are_refused(app: Served) -> None:
    with pytest.raises(MismatchError, match=r"space another.* must make .*space all-MiniLM"):
        await app.models.load("eye", "elsewhere")


async def test_what_a_pipeline_needs_is_not_unloaded(app: Served) -> None:
    with pytest.raises(MismatchError, match="eye: needed by pipelines: default"):
        await app.models.unload("eye")
    for part in ("default.rerank", "default.refine.visual"):
        with pytest.raises(MismatchError, match="part of pipeline default, which needs it"):
            await app.models.unload(part)
    with pytest.raises(NotFoundError, match="model 'nobody' is not one of: default"):
        await app.models.unload("nobody")


async def test_a_refiner_s_encoder_is_needed_too(app: Served) -> None:
    reader = Reading(encoder=CurrentTokens(app.encoders, "reader"))
    stages = [
        replace(stage, text=reader, text_name="reading") if isinstance(stage, Refine) else stage
        for stage in app.pipeline.stages
    ]
    assert encoders_of(app.pipeline) == {"eye"}
    assert encoders_of(Pipeline(stages)) == {"eye", "reader"}


async def test_what_nobody_needs_leaves_and_comes_back(app: Served) -> None:
    await app.models.unload("spare")
    await app.models.unload("spare")  # as often as one likes
    assert listed(app, "spare") == [(1, State.UNAVAILABLE, "unloaded")]
    assert app.models.serving("spare") is None
    await app.collections.create("c")
    assert {field.name for field in await app.collections.fields("c")} == {
        "eye.dense",
        "eye.tokens",
        "words.terms",
    }
    assert (await app.models.load("spare")).version == 2
    assert "spare.dense" in app.encoders.heads


async def test_new_collections_keep_their_encoders(settings: ServerSettings) -> None:
    store = replace(settings.store, vectors=("eye.dense", "spare.dense"))
    async with serving(replace(settings, store=store)) as app:
        with pytest.raises(MismatchError, match=r"spare: needed by store\.vectors"):
            await app.models.unload("spare")


async def test_one_of_several_workers_changes_nothing(settings: ServerSettings) -> None:
    async with serving(replace(settings, workers=2)) as app:
        with pytest.raises(MismatchError, match="workers: 2, of which a call reaches one"):
            await app.models.load("eye")


async def test_no_folder_outside_is_ever_opened(app: Served) -> None:
    for folder in ("..", ".", "", "../data", "one/../..", "link", "a\0b", "/etc"):
        with pytest.raises(InputError, match="is not below models_folder"):
            await app.models.load("eye", folder)
    assert listed(app, "eye") == [(1, State.READY, "")]


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "current").symlink_to("real")
    assert below(str(tmp_path), "current") == str((tmp_path / "real").resolve())


async def test_a_method_without_a_folder_has_none(app: Served) -> None:
    with pytest.raises(InputError, match="bm25 is not read from a folder"):
        await app.models.load("words", "one")
    assert (await app.models.load("words")).version == 2


def test_cores_are_shared_among_what_has_threads(settings: ServerSettings) -> None:
    assert threads_each(settings) == max(1, cores() // 2)  # bm25 has none
    assert threads_each(replace(settings, workers=cores())) == 1
    assert threads_each(replace(settings, threads=3)) == 3
