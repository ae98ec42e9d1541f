"""`tamis evaluate` against a real server: what is measured is what a client of it gets.

The commands as processes are two; the encoder's own server is what takes most of this file's time.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pytest
from drawings import COLOURS
from serving import ROOT, Served

from tamis.client import Client
from tamis.models.errors import ModelError
from tamis.server.evaluate import command

PATH = os.pathsep.join(str(ROOT / root) for root in ("protos", "client", "models", "server"))


class Said(NamedTuple):
    """What an evaluation printed: its JSON, and what it said on stderr."""

    out: list[dict[str, Any]]
    err: str


Evaluate = Callable[..., Said]


@pytest.fixture
def evaluate(client: Client, capsys: pytest.CaptureFixture[str]) -> Evaluate:
    def run(folder: Path, *cutoffs: int, pipeline: str | None = None, **options: Any) -> Said:
        choice = command.Choice(split="test", only="", pool="", images=folder)
        search = command.Search(pipeline=pipeline)
        command.main(client, command.read(folder, choice), search, cutoffs, as_json=True, **options)
        out, err = capsys.readouterr()
        return Said([json.loads(line) for line in out.splitlines()], err)

    return run


def tamis(served: Served, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tamis.server.cli", "evaluate", *arguments],
        env=os.environ | {"PYTHONPATH": PATH, "TAMIS_TARGET": served.target},
        capture_output=True,
        text=True,
        check=False,
    )


def left(client: Client) -> list[str]:
    return [one.name for one in client.collections() if one.name.startswith("evaluate-")]


def test_each_query_s_measures_are_those_of_its_hits(
    evaluate: Evaluate, client: Client, tmp_path: Path
) -> None:
    """Worked out again from the same searches, whose collection is gone afterwards."""
    folder, single = datasets.beir(tmp_path / "shapes"), tmp_path / "single.jsonl"
    (summary,) = evaluate(folder, 1, 3, per_query=single).out
    assert (summary["task"], summary["queries"], summary["failed"]) == ("shapes", 4, 0)
    lines = [json.loads(line) for line in single.read_text().splitlines()]
    for colour, line in zip(COLOURS, lines, strict=True):
        right = [name.startswith(f"{colour}-") for name in line["hits"]]
        assert line["measures"]["Recall@3"] == pytest.approx(sum(right[:3]) / 3)
        assert line["measures"]["hit@1"] == right[0]
    recalls = [line["measures"]["Recall@3"] for line in lines]
    assert summary["measures"]["Recall@3"] == pytest.approx(sum(recalls) / 4)
    assert summary["measures"]["Recall@3"] > 0.5  # a caption names its colour
    assert not left(client)


def test_pictures_and_captions_share_a_pool_with_and_without_instructions(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    """The server's own encoders take no instructions: both ways find the same."""
    said = evaluate(datasets.mbeir(tmp_path), 24, pipeline="pictures")
    assert "indexed 24 documents" in said.err
    assert [(one["task"], one["instructed"]) for one in said.out] == [
        ("mbeir_mscoco_task0_test", False),
        ("mbeir_mscoco_task0_test", True),
        ("mbeir_mscoco_task3_test", False),
        ("mbeir_mscoco_task3_test", True),
        ("mean of tasks", False),
        ("mean of tasks", True),
    ]
    assert said.out[0]["measures"] == said.out[1]["measures"]
    hits = [one["measures"]["hit@24"] for one in said.out]
    assert hits == [1, 1, 0, 0, 0.5, 0.5]  # this pipeline finds pictures alone


def test_answers_are_looked_for_in_the_passages(evaluate: Evaluate, tmp_path: Path) -> None:
    plain, _ = evaluate(datasets.m2kr(tmp_path), 1, 12).out
    assert plain["measures"]["pseudo-recall@12"] == plain["measures"]["hit@12"] == 1
    assert plain["measures"]["Recall@1"] <= plain["measures"]["pseudo-recall@1"]


def test_a_kept_collection_is_searched_as_it_is(
    evaluate: Evaluate, client: Client, collection: str, tmp_path: Path
) -> None:
    folder = datasets.beir(tmp_path)
    first, again = (evaluate(folder, 3, collection=collection) for _ in range(2))
    assert first.out == again.out
    assert "indexed 12 documents" in first.err
    assert again.err == f"{collection} has 12 documents already; it is searched as it is\n"
    assert client.collection(collection).documents == 12


def test_a_query_that_fails_counts_nought_and_is_named(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = datasets.m2kr(tmp_path)
    (folder / "red-circle.png").write_bytes(b"no picture")
    said = evaluate(folder, 12)
    assert (said.out[0]["failed"], said.out[0]["measures"]["hit@12"]) == (1, 0.75)
    assert "q-red: invalid_request: not a picture" in said.err
    assert "1 of 4 queries failed and count as found nothing" in said.err


def test_a_mistake_is_one_line(served: Served, client: Client, tmp_path: Path) -> None:
    done = tamis(served, str(datasets.beir(tmp_path)), "--pipeline", "none")
    assert (done.returncode, done.stdout) == (1, "")
    said = done.stderr.splitlines()[-1]
    assert said.startswith("tamis: no query was answered: not_found: pipeline 'none'")
    assert not left(client)


def test_an_exported_encoder_is_evaluated_alone(served: Served, tmp_path: Path) -> None:
    """On a server of its own: the one at the target is not asked."""
    folder, encoder = datasets.beir(tmp_path), str(ROOT / "artifacts" / "minilm")
    done = tamis(served, str(folder), "--json", "-k", "3", "--encoder-folder", encoder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measures"]["Recall@3"] > 0.5


def test_a_folder_that_is_no_encoder_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.toml: .*No such file"):
        command.served(tmp_path, "", 1).__enter__()
    (tmp_path / "model.toml").write_text('method = "max_sim"')
    with pytest.raises(ModelError, match="'max_sim' is no encoder's"):
        command.served(tmp_path, "", 1).__enter__()
