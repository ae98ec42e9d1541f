"""What an evaluation prints and writes."""

import json
from pathlib import Path

import pytest

from tamis.models.errors import InputError
from tamis.server.evaluate.asking import Answer, Search
from tamis.server.evaluate.command import numbers
from tamis.server.evaluate.dataset import Topic
from tamis.server.evaluate.report import Judged, print_report, write_topics


def outcome(group: str, value: float, *, instructed: bool = False) -> Judged:
    answer = Answer(("a", "b")) if value else Answer(failure="overloaded: later")
    return Judged(Topic(id="q", group=group, relevant={"a": 1}), instructed, answer, {"R": value})


def test_tasks_count_alike_in_their_mean(capsys: pytest.CaptureFixture[str]) -> None:
    """However many queries each has, as M-BEIR averages."""
    judged = [outcome("one", 1), outcome("one", 0), outcome("one", 0.5), outcome("two", 1)]
    print_report(judged, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "task           measure   value",
        "one            R        0.5000",
        "two            R        1.0000",
        "mean of tasks  R        0.7500",
    ]


def test_instructions_have_a_column_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_report([outcome("one", 0.25), outcome("one", 0.75, instructed=True)], as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "task  measure  without instructions    with",
        "one   R                      0.2500  0.7500",
    ]


def test_json_has_a_line_for_each_task_and_way(capsys: pytest.CaptureFixture[str]) -> None:
    judged = [outcome("one", 0), outcome("two", 1), outcome("two", 1)]
    print_report(judged, as_json=True)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["task"], one["queries"], one["failed"]) for one in found] == [
        ("one", 1, 1),
        ("two", 2, 0),
        ("mean of tasks", 3, 1),
    ]
    assert found[2]["measures"] == {"R": 0.5}


def test_single_queries_are_lines_of_a_file(tmp_path: Path) -> None:
    write_topics(tmp_path / "q.jsonl", [outcome("one", 1), outcome("one", 0)])
    lines = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "task": "one",
        "query_id": "q",
        "instructed": False,
        "measures": {"R": 1},
        "hits": ["a", "b"],
        "failure": None,
    }
    assert lines[1]["failure"] == "overloaded: later"


def test_a_query_is_asked_as_it_is_or_with_its_instruction_or_with_all_queries_own() -> None:
    topic = Topic(id="q", group="g", text="a", relevant={}, task="m2kr/wit")
    worded = Topic(id="q", group="g", text="a", relevant={}, instruction="Find:")
    plain, own = Search().query(topic, instructed=False), Search().query(topic, instructed=True)
    assert (plain.task, plain.instruction) == (None, None)
    assert (own.task, own.instruction) == ("m2kr/wit", None)
    assert Search().query(worded, instructed=True).instruction == "Find:"
    every = Search(instruction="Seek.").query(topic, instructed=True)
    assert (every.task, every.instruction) == (None, "Seek.")
    assert Search(task="m2kr/oven").query(worded, instructed=True).instruction is None


@pytest.mark.parametrize("cutoffs", ["", "0", "1,,5", "-1", "ten", "1.5", "²"])
def test_cutoffs_are_numbers_from_1(cutoffs: str) -> None:
    with pytest.raises(InputError, match="--cutoffs: expected numbers from 1"):
        numbers(cutoffs)
    assert numbers("10, 1,5,1") == (1, 5, 10)


def test_a_task_or_an_instruction_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InputError, match="not both"):
        Search(task="m2kr/wit", instruction="Find:")
    with pytest.raises(InputError, match=r"near: .*m2kr/wit"):
        Search(task="m2kr/wut")
