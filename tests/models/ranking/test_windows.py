"""RankGPT's windows, against those of its own code and of rank_llm."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from golden import golden_cases
from oracle import Oracle

from tamis.models.blocks.permutations import after_reasoning, parse_numbers
from tamis.models.ranking import Job, Step, carry_out
from tamis.models.ranking.windows import sliding_windows, windows

CASES = pytest.mark.parametrize("case", golden_cases("listwise_windows"))
ENGINES = {"rankgpt": False, "rank_llm": True}


@CASES
@pytest.mark.parametrize(("engine", "clamped"), ENGINES.items())
def test_the_windows_are_those_of_the_reference(case: Path, engine: str, clamped: bool) -> None:
    for plan in json.loads((case / "outputs.json").read_text())["plans"]:
        found = windows(plan["n"], size=plan["window"], step=plan["step"], clamped=clamped)
        assert [list(window) for window in found] == plan[engine]


@CASES
@pytest.mark.parametrize(("engine", "clamped"), ENGINES.items())
def test_whole_runs_are_those_of_the_reference(case: Path, engine: str, clamped: bool) -> None:
    asked = json.loads((case / "inputs.json").read_text())["runs"]
    expected = json.loads((case / "outputs.json").read_text())["runs"]
    for given, run in zip(asked, expected, strict=True):
        trace = [one for one in run[engine]["trace"] if len(one["before"]) > 1]
        seen: list[list[int]] = []

        def answer(jobs: Sequence[Job]) -> list[Sequence[int]]:
            one = trace[len(seen)]  # noqa: B023 - used at once
            seen.append(list(jobs[0]))  # noqa: B023
            text = one["response"] if engine == "rankgpt" else after_reasoning(one["response"])
            return [parse_numbers(text, len(jobs[0]))]

        plan = sliding_windows(
            given["n"], size=given["window"], step=given["step"], clamped=clamped
        )
        steps = list(carry_out(plan, answer))
        assert seen == [one["before"] for one in trace]
        assert [f"d{place}" for place in steps[-1].order] == run[engine]["final"]


def test_a_pass_carries_the_best_of_all_to_the_top() -> None:
    """What fits into the windows' overlap rises as far as it should."""
    relevance = list(range(100))
    steps = list(carry_out(sliding_windows(100), Oracle(relevance).orders))
    assert len(steps) == 9
    assert steps[-1].order[:10] == Oracle(relevance).best[:10]


def test_what_the_window_has_left_is_settled() -> None:
    steps: list[Step] = list(carry_out(sliding_windows(100), Oracle(range(100)).orders))
    assert [step.settled.start for step in steps] == [90, 80, 70, 60, 50, 40, 30, 20, 0]


@pytest.mark.parametrize(("size", "step"), [(1, 1), (4, 0), (4, 5)])
def test_windows_must_overlap_or_touch(size: int, step: int) -> None:
    with pytest.raises(ValueError, match="needs 1 <= step <= size"):
        next(sliding_windows(9, size=size, step=step))
