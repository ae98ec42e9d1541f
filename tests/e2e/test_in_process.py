"""The whole server inside the test's own loop, so that blockbuster sees what blocks it."""

import asyncio
from dataclasses import replace
from pathlib import Path

from drawings import documents, drawing
from serving import ROOT

from tamis.client import AsyncClient, StageResult
from tamis.server.app import open_app
from tamis.server.config import MethodSettings, default_settings, read
from tamis.server.serve import Server

SETTINGS = read(default_settings())


async def test_no_stage_blocks_the_event_loop(tmp_path: Path) -> None:
    minilm = MethodSettings(
        method="minilm", settings={"folder": str(ROOT / "artifacts" / "minilm")}
    )
    settings = replace(
        SETTINGS,
        listen="127.0.0.1:0",
        encoders=SETTINGS.encoders | {"minilm": minilm},
        store=replace(SETTINGS.store, folder=str(tmp_path)),
    )
    searches: list[dict[str, object]] = [
        {"text": "a red circle"},
        {"image": drawing("circle", "red")},
        {"text": "x" * 60_000, "image": drawing("square", "blue")},
    ]
    async with (
        open_app(settings) as app,
        Server(app) as server,
        AsyncClient(f"127.0.0.1:{server.port}") as client,
    ):
        progress = await client.upsert("c", documents()).final()
        assert progress.upserted == 12
        for found in await asyncio.gather(*(collect(client, search) for search in searches)):
            assert [str(result.stage) for result in found] == ["retrieve", "rerank", "refine"]


async def collect(client: AsyncClient, search: dict[str, object]) -> list[StageResult]:
    async with client.search(**search, collection="c") as events:  # type: ignore[arg-type]
        return [event async for event in events if isinstance(event, StageResult)]
