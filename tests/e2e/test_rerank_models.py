"""Rerankers with models of their own, opened from settings, in a whole server."""

from pathlib import Path

import tiny_models
from drawings import documents

from tamis.client import AsyncClient, StageResult
from tamis.models.rerankers.ragvl import RagVL
from tamis.models.rerankers.tiger import TIGeR
from tamis.server.app import open_app
from tamis.server.config import (
    MethodSettings,
    PipelineSettings,
    RerankSettings,
    RetrieveSettings,
    ServerSettings,
)
from tamis.server.serve import Server
from tamis.server.stages import Rerank
from tamis.server.store_settings import StoreSettings


def settings(model: Path, data: Path) -> ServerSettings:
    """Words find documents; a tiny model with eyes, and with random weights, orders them."""
    retrieve = RetrieveSettings(method="bm25", settings={"vector": "bm25.terms"})
    said = {"checkpoint": {"model": str(model), "device": "cpu"}}
    return ServerSettings(
        listen="127.0.0.1:0",
        encoders={"bm25": MethodSettings(method="bm25")},
        pipelines={
            name: PipelineSettings(
                retrieve=retrieve, rerank=RerankSettings(method=method, settings={"model": said})
            )
            for name, method in (("default", "ragvl"), ("reverse", "tiger"))
        },
        store=StoreSettings(folder=str(data)),
    )


async def test_pipelines_share_a_model_that_sees_the_documents(tmp_path: Path) -> None:
    model = tiny_models.llava(tmp_path / "llava")
    async with (
        open_app(settings(model, tmp_path / "data")) as app,
        Server(app) as server,
        AsyncClient(f"127.0.0.1:{server.port}") as client,
    ):
        first, second = (app.pipelines[n].stage(Rerank).reranker for n in ("default", "reverse"))
        assert isinstance(first, RagVL)
        assert isinstance(second, TIGeR)
        assert first.model is second.model
        await client.upsert("c", documents()).final()
        for pipeline in ("default", "reverse"):
            async with client.search(
                "a red circle", collection="c", pipeline=pipeline, k=12
            ) as events:
                results = [event async for event in events if isinstance(event, StageResult)]
            found, ranked = results[0], results[-1]
            assert str(ranked.stage) == "rerank"
            assert {hit.document_id for hit in ranked.hits} == {h.document_id for h in found.hits}
            scores = [hit.score for hit in ranked.hits]
            assert scores == sorted(scores, reverse=True)
            assert all(score > float("-inf") for score in scores)  # every picture was seen
