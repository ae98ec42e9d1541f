"""Late interaction by centroids, over a port: optimized on request, and searched meanwhile."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ROOT, Served, serving

from tamis.client import Client, Document, OptimizeStep

SETTINGS = """
[encoders.minilm]
method = "minilm"
settings = { folder = "artifacts/minilm" }

[pipelines.default.retrieve]
method = "plaid"
depth = 10
settings = { vector = "minilm.tokens", candidates = 40 }

[pipelines.exact.retrieve]
method = "max_sim"
depth = 10
settings = { vector = "minilm.tokens" }

[late_interaction]
train_after = 100
look_after_s = 0
"""
KINDS = ("bird", "fish", "tree", "stone", "river", "house", "child", "song", "road", "lamp")
LOOKS = ("red", "blue", "old", "small", "quiet", "broken", "golden", "heavy", "bright", "cold")
PLACES = ("in the snow", "by the sea", "near the market")
TEXTS = [f"a {look} {kind} {place}" for kind in KINDS for look in LOOKS for place in PLACES]
ASKED = ("golden fish by the sea", "old house in the snow", "quiet song near the market")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("late_interaction")
    settings = folder / "tamis.toml"
    settings.write_text(SETTINGS)
    with serving(folder / "data", settings=settings) as served:
        yield served


def found(client: Client, text: str, pipeline: str = "default") -> list[str]:
    return [hit.document_id for hit in client.hits(text, collection="things", pipeline=pipeline)]


def agreement(client: Client) -> float:
    """The share of exact MaxSim's ten best that PLAID finds."""
    both = [({*found(client, text)}, {*found(client, text, "exact")}) for text in ASKED]
    return sum(len(one & other) for one, other in both) / (10 * len(both))


def test_a_collection_is_optimized_searched_changed_and_optimized_again(server: Served) -> None:
    with Client(server.target, timeout=60) as client:
        client.upsert("things", [Document(id=text, text=text) for text in TEXTS]).final()
        assert agreement(client) == 1  # all are compared
        names = [vector.name for vector in client.collection("things").vectors]
        assert names == ["minilm.dense", "minilm.tokens"]

        steps = [one.step for one in client.optimize_collection("things")]
        assert [*dict.fromkeys(steps)] == [one for one in OptimizeStep if one != "unknown"]
        assert agreement(client) >= 0.9

        new = "a purple submarine under the ice"
        client.upsert("things", [Document(id="new", text=new)]).final()
        assert found(client, new)[0] == "new"
        client.delete("things", ["new"])
        assert "new" not in found(client, new)

        answers: list[float] = []
        over = threading.Event()

        def search() -> None:
            while not over.is_set():
                answers.append(agreement(client))

        searching = threading.Thread(target=search)
        searching.start()
        for _ in client.optimize_collection("things", retrain=True):
            pass
        over.set()
        searching.join()
        assert min(answers) >= 0.9
        assert agreement(client) >= 0.9
    # A child in which gRPC's handlers run crashes now and then, before it is a program of its own.
    assert "fork() handlers" not in server.log.read_text()


def test_the_command_says_what_it_has_done(server: Served, tmp_path: Path) -> None:
    with Client(server.target, timeout=60) as client:
        client.upsert("few", [Document(id="1", text="one")]).final()
    command = [sys.executable, "-m", "tamis.server.cli", "collections", "optimize", "few"]
    said = subprocess.run(
        [*command, "--target", server.target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout == "few: small enough to be compared whole; there was nothing to do\n"
