"""Topics as they are asked, against a small server on a real port."""

import asyncio
from pathlib import Path
from typing import Any

import datasets
import pytest
from fake_server import Retrieval, Server, ranking, serving

from tamis.client import Client
from tamis.models.errors import TamisError
from tamis.server.evaluate.asking import Search
from tamis.server.evaluate.dataset import Choice
from tamis.server.evaluate.reading import read
from tamis.server.evaluate.report import Judged
from tamis.server.evaluate.running import evaluate
from tamis.v1 import failure_pb2, stage_pb2
from tamis.v1 import retrieval_service_pb2 as pb

RIGHT, WRONG = "9:0", "9:1"


class Obedient(Retrieval):
    """Finds the right document first if the query says its task, second if not."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[pb.SearchRequest]] = []

    async def BatchSearch(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls.append(list(request.requests))
        return pb.BatchSearchResponse(results=map(self.result, request.requests))

    def result(self, request: pb.SearchRequest) -> pb.BatchSearchResult:
        found = (RIGHT, WRONG) if request.query.task else (WRONG, RIGHT)
        result = ranking(stage_pb2.STAGE_RERANK, *found).result
        result.shortened = not request.query.task
        return pb.BatchSearchResult(result=result, stage=stage_pb2.STAGE_RERANK)


class Failing(Obedient):
    """Refuses every query."""

    def result(self, request: pb.SearchRequest) -> pb.BatchSearchResult:
        why = failure_pb2.Failure(reason=failure_pb2.REASON_OVERLOADED, message="later")
        return pb.BatchSearchResult(failure=why)


def one_topic(folder: Path) -> Path:
    datasets.mbeir(folder)
    path = folder / "query" / "test" / "mbeir_mscoco_task0_test.jsonl"
    datasets.put(path, [datasets.asked(0, [RIGHT], query_txt="a red circle")])
    return folder


def asked(target: str, folder: Path, only: str, *cutoffs: int) -> list[Judged]:
    dataset = read(folder, Choice(split="test", only=only, pool="", images=folder))
    with Client(target) as client:
        return evaluate(client, "c", dataset, Search(pipeline="fast"), cutoffs)


async def test_each_topic_is_asked_without_its_task_and_then_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servicer, folder = Obedient(), one_topic(tmp_path)
    async with serving(servicer, Server()) as target:
        plain, instructed = await asyncio.to_thread(asked, target, folder, "task0", 1, 2)
    assert (plain.instructed, plain.measures["MRR@2"]) == (False, 0.5)
    assert (instructed.instructed, instructed.measures["MRR@2"]) == (True, 1)
    (first,), (second,) = servicer.calls
    assert (first.query.task, second.query.task) == ("", "mbeir/mscoco_task0")
    assert (first.k, first.pipeline, first.collection) == (2, "fast", "c")
    assert first.options.stop_after == stage_pb2.STAGE_RERANK
    assert first.options.priority == pb.PRIORITY_BULK
    said = "1 of 1 rankings are what a stage had when its time was up\n"
    assert capsys.readouterr().err == said  # of the first way alone


async def test_many_hits_are_asked_for_in_small_calls(tmp_path: Path) -> None:
    """So that an answer with the texts of all hits stays small."""
    servicer, folder = Obedient(), datasets.mbeir(tmp_path)
    async with serving(servicer, Server(max_message_bytes=1 << 20)) as target:
        await asyncio.to_thread(asked, target, folder, "task0", 1000)
    assert [len(call) for call in servicer.calls] == [3, 3, 3, 3] * 2


async def test_pictures_of_one_call_fit_in_a_message(tmp_path: Path) -> None:
    servicer, folder = Obedient(), datasets.mbeir(tmp_path)
    for path in (folder / "images").iterdir():
        path.write_bytes(b"x" * 1000)
    async with serving(servicer, Server(max_message_bytes=10_000)) as target:
        await asyncio.to_thread(asked, target, folder, "task3", 1)
    assert [len(call) for call in servicer.calls] == [5, 5, 2] * 2


async def test_a_server_that_answers_nothing_ends_the_evaluation(tmp_path: Path) -> None:
    async with serving(Failing(), Server()) as target:
        with pytest.raises(TamisError, match="no query was answered: overloaded: later"):
            await asyncio.to_thread(asked, target, one_topic(tmp_path), "task0", 1)
