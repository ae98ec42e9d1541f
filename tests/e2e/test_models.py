"""A model is switched under load, and nobody notices."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest
from drawings import drawing
from tiny_tower import tiny_tower

from tamis.client import AsyncClient, Document, StageResult
from tamis.server.app import open_app
from tamis.server.config import MethodSettings, default_settings, read
from tamis.server.serve import Server
from tamis.v1 import model_service_pb2 as pb
from tamis.v1.model_service_pb2_grpc import ModelServiceStub

SHIPPED = read(default_settings())
SEARCHERS, LOADS = 8, 3


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Models: two that are alike, and one that is not."""
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        tiny_tower(tmp_path / "models" / name, seed=seed)
    yield tmp_path
    # What gRPC leaves in cycles waits for a thread when it is freed: not in another test's loop.
    gc.collect()


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[Server]:
    tower = MethodSettings(method="tamis_mini", settings={"folder": str(folder / "models" / "one")})
    dense = replace(
        SHIPPED.pipelines["default"].retrieve, method="dense", settings={"vector": "eye.dense"}
    )
    pipeline = replace(
        SHIPPED.pipelines["pictures"],
        retrieve=dense,
        refine=replace(SHIPPED.pipelines["default"].refine, encoder="eye", text=None),
    )
    settings = replace(
        SHIPPED,
        listen="127.0.0.1:0",
        encoders={"eye": tower},
        pipelines={"default": pipeline},
        models_folder=str(folder / "models"),
        store=replace(SHIPPED.store, folder=str(folder / "data")),
    )
    async with open_app(settings) as app, Server(app) as server:
        yield server


async def test_no_call_fails_while_a_model_is_switched(server: Server) -> None:
    target = f"127.0.0.1:{server.port}"
    over, done = asyncio.Event(), asyncio.Queue[None]()

    async def search(client: AsyncClient, n: int) -> None:
        picture = drawing("circle", "red", side=64 + n)
        query = {"image": picture, "collection": "c", "cache_policy": "bypass"}
        while not over.is_set():
            async with client.search(**query) as events:  # type: ignore[arg-type]
                stages = [event async for event in events if isinstance(event, StageResult)]
            assert [str(stage.stage) for stage in stages] == ["retrieve", "rerank", "refine"]
            assert len(stages[0].hits) == 4
            done.put_nowait(None)

    async with AsyncClient(target) as client, grpc.aio.insecure_channel(target) as channel:
        colours = ("red", "green", "blue", "black")
        documents = [Document(c, image=drawing("circle", c)) for c in colours]
        assert (await client.upsert("c", documents).final()).failed == 0
        models, during = ModelServiceStub(channel), 0
        async with asyncio.TaskGroup() as group:
            for n in range(SEARCHERS):
                group.create_task(search(client, n))
            for number in range(LOADS):
                request = pb.LoadModelRequest(name="eye", folder=("same", "one")[number % 2])
                model = (await models.LoadModel(request)).model
                assert (model.version, model.state) == (number + 2, pb.MODEL_STATE_READY)
                during += done.qsize()
                for _ in range(done.qsize() + 2 * SEARCHERS):  # each searches with the new one
                    await done.get()
            over.set()
        assert during > 0
        with pytest.raises(grpc.aio.AioRpcError, match="hold what fingerprint") as no:
            await models.LoadModel(pb.LoadModelRequest(name="eye", folder="other"))
        assert no.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        listed = (await models.ListModels(pb.ListModelsRequest())).models
        assert [(m.name, m.family, m.version, m.state) for m in listed] == [
            ("default.refine.visual", "refiner", 1, pb.MODEL_STATE_READY),
            ("default.rerank", "reranker", 1, pb.MODEL_STATE_READY),
            ("eye", "encoder", LOADS + 1, pb.MODEL_STATE_READY),
            ("eye", "encoder", LOADS + 2, pb.MODEL_STATE_UNAVAILABLE),
        ]
        assert listed[2].fingerprint in listed[3].reason
        seen = await models.GetModel(pb.GetModelRequest(name="eye"))
        assert seen.model.runtime.startswith("onnxruntime ")
