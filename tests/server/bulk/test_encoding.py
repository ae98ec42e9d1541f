"""Workers that encode: what they send is what the server would have made."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import COLOURS, drawing
from tiny_tower import tiny_tower

from tamis.client import Client, VectorField, VectorKind
from tamis.models.errors import SettingsError
from tamis.server.app import App, open_app
from tamis.server.bulk import command
from tamis.server.bulk.corpus import corpus
from tamis.server.bulk.encoding import DocumentEncoders
from tamis.server.bulk.reporting import Meter
from tamis.server.config import read
from tamis.server.metrics import Metrics
from tamis.server.serve import Server

ENCODED = "tamis_batch_size_sum"
SETTINGS = """
listen = "127.0.0.1:0"

[encoders.bm25]
method = "bm25"

[encoders.tower]
method = "tamis_mini"
settings = {{ folder = "{tower}" }}

[pipelines.default.retrieve]
method = "bm25"
settings = {{ vector = "bm25.terms" }}

[store]
folder = "{data}"
"""


@dataclass(frozen=True)
class Place:
    """A server in this process, and pictures with captions.

    Attributes:
        app: The server.
        metrics: What it counts.
        target: Where it listens.
        settings: Its settings' file.
        pictures: A folder.
    """

    app: App
    metrics: Metrics
    target: str
    settings: Path
    pictures: Path

    async def index(self, name: str, settings: Path | None = None, processes: int = 1) -> Meter:
        def run() -> Meter:
            plan = command.Plan(
                settings=settings,
                processes=processes,
                batch=2,
                shard=3,
                ledger=self.settings.with_name(f"{name}.ledger"),
            )
            with Client(self.target) as client:
                return command.index(client, corpus(self.pictures), name, plan)

        return await asyncio.to_thread(run)

    async def held(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        ids = [f"{colour}.png" for colour in COLOURS]
        collections, vectors = self.app.collections, ["tower.dense", "tower.tokens"]
        schema = await collections.schema(name)
        return await collections.documents.representations(name, schema, ids, vectors)

    def encoded(self) -> float:
        """Pictures that the server's own tower has encoded."""
        return self.metrics.registry.get_sample_value(ENCODED, {"model": "tower"}) or 0.0


def written(tmp_path: Path, tower: Path) -> Path:
    path = tmp_path / f"{tower.name}.toml"
    path.write_text(SETTINGS.format(tower=tower, data=tmp_path / "data"))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return written(tmp_path, tiny_tower(tmp_path / "tower"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(drawing("circle", colour))
        (folder / f"{colour}.txt").write_text(f"A {colour} circle.")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
async def place(settings: Path, pictures: Path) -> AsyncIterator[Place]:
    metrics = Metrics()
    async with (
        open_app(await asyncio.to_thread(read, settings), metrics) as app,
        Server(app) as server,
    ):
        yield Place(app, metrics, f"127.0.0.1:{server.port}", settings, pictures)


async def test_workers_make_what_the_server_would(place: Place) -> None:
    by_server = await place.index("by-server")
    assert place.encoded() == len(COLOURS)
    by_workers = await place.index("by-workers", place.settings)
    assert place.encoded() == len(COLOURS) + 1  # of the batch that made the collection
    for meter in (by_server, by_workers):
        assert meter.upserted == len(COLOURS)
        assert [name for name, _ in meter.failures] == ["broken.png"]
    assert by_server.failures == by_workers.failures
    one, other = await place.held("by-server"), await place.held("by-workers")
    assert one.keys() == other.keys() == {f"{colour}.png" for colour in COLOURS}
    for name, there in one.items():
        assert there.keys() == other[name].keys() == {"tower.dense", "tower.tokens"}
        for vector, values in there.items():
            np.testing.assert_allclose(values, other[name][vector], atol=1e-3)  # kept as float16


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ("tower.dense", r"encoders.tower has fingerprint \w+; the collection holds what f makes"),
        ("mini.dense", "the collection indexes mini.dense; no encoder is mini"),
    ],
)
async def test_other_encoders_than_the_server_s_are_refused(
    settings: Path, vector: str, said: str
) -> None:
    fields = [VectorField(vector, VectorKind.DENSE, 384, "f")]
    with pytest.raises(SettingsError, match=said):
        await DocumentEncoders.open(settings, fields, 1)
