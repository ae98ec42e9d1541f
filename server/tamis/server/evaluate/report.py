"""What an evaluation found: a table, lines of JSON, and a line for each topic in a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.server.cli.tables import print_json, print_table
from tamis.server.evaluate.asking import Answer
from tamis.server.evaluate.dataset import Topic
from tamis.server.evaluate.measures import means

ALL = "mean of tasks"


@dataclass(frozen=True, slots=True)
class Judged:
    """One topic's outcome.

    Attributes:
        topic: What was asked.
        instructed: Whether with its instruction.
        answer: What was found.
        measures: How good that is, by name.
    """

    topic: Topic
    instructed: bool
    answer: Answer
    measures: Mapping[str, float]


def print_report(judged: Sequence[Judged], *, as_json: bool) -> None:
    """Prints the measures of each group of topics, and their mean over the groups.

    Args:
        judged: The topics, each once or, with and without its instruction, twice.
        as_json: One JSON object for each group, instead of a table.
    """
    groups = list(dict.fromkeys(one.topic.group for one in judged))
    modes = sorted({one.instructed for one in judged})
    found: dict[tuple[str, bool], dict[str, float]] = {
        (group, mode): means([one.measures for one in _of(judged, group, mode)])
        for group in groups
        for mode in modes
    }
    if len(groups) > 1:
        for mode in modes:
            found[ALL, mode] = means([found[group, mode] for group in groups])
        groups.append(ALL)
    if as_json:
        for (group, mode), values in found.items():
            some = [one for one in judged if one.instructed == mode]
            of = some if group == ALL else _of(some, group, mode)
            print_json(_summary(group, mode, values, of))
        return
    columns = [">without instructions", ">with"] if len(modes) > 1 else [">value"]
    rows = [
        [group, name, *(_shown(found[group, mode].get(name)) for mode in modes)]
        for group in groups
        for name in found[group, modes[0]]
    ]
    print_table(["task", "measure", *columns], rows)


def write_topics(path: Path, judged: Sequence[Judged]) -> None:
    """Writes one JSON object for each topic, as `Judged` has it."""
    with path.open("w", encoding="utf-8") as file:
        for one in judged:
            line = {
                "task": one.topic.group,
                "query_id": one.topic.id,
                "instructed": one.instructed,
                "measures": dict(one.measures),
                "hits": list(one.answer.ids),
                "failure": one.answer.failure,
            }
            file.write(json.dumps(line) + "\n")


def _of(judged: Sequence[Judged], group: str, instructed: bool) -> list[Judged]:
    return [one for one in judged if (one.topic.group, one.instructed) == (group, instructed)]


def _summary(
    group: str, instructed: bool, values: Mapping[str, float], judged: Sequence[Judged]
) -> dict[str, Any]:
    return {
        "task": group,
        "instructed": instructed,
        "queries": len(judged),
        "failed": sum(one.answer.failure is not None for one in judged),
        "measures": dict(values),
    }


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
