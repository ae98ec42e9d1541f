"""The instructions that encoders were trained with, as data: one TOML file for each benchmark.

A task is named after its file and its table: `find("mbeir/cirr_task7")`. A file's comment states
where its wordings are from.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tamis.models.errors import InputError
from tamis.models.types import Modality

FOLDER = Path(__file__).parent
NEAR = 3  # names that an error suggests


@dataclass(frozen=True, slots=True)
class Task:
    """What is sought by what, and how a query says so.

    Attributes:
        name: Such as ``mbeir/cirr_task7``.
        query: What its queries are made of.
        document: What it seeks among the documents.
        instructions: Wordings that mean the same; training drew one of them for each query.
        dataset: The number that its data set has in the benchmark's ids; None where ids have none.
    """

    name: str
    query: frozenset[Modality]
    document: frozenset[Modality]
    instructions: tuple[str, ...]
    dataset: int | None = None

    @property
    def instruction(self) -> str:
        """The wording that is used: the first."""
        return self.instructions[0]


@cache
def tasks() -> Mapping[str, Task]:
    """All tasks by name, in the order of their files."""
    return MappingProxyType(
        {task.name: task for path in sorted(FOLDER.glob("*.toml")) for task in _tasks(path)}
    )


def find(name: str) -> Task:
    """The task of that name.

    Raises:
        InputError: There is none; the message has the names that are near.
    """
    known = tasks()
    if name not in known:
        benchmarks = sorted({task.partition("/")[0] for task in known})
        near = get_close_matches(name, known, NEAR)
        known_as = f"near: {', '.join(near)}" if near else f"known: {'/..., '.join(benchmarks)}/..."
        raise InputError(f"there is no task {name!r}; {known_as}")
    return known[name]


def task_of(dataset: int, query: frozenset[Modality], document: frozenset[Modality]) -> Task | None:
    """The task of a benchmark whose ids number its data sets; None where it has no such task."""
    sought = (dataset, query, document)
    found = (t for t in tasks().values() if (t.dataset, t.query, t.document) == sought)
    return next(found, None)


def _tasks(path: Path) -> list[Task]:
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [_task(f"{path.stem}/{name}", table, tables) for name, table in tables.items()]


def _task(name: str, table: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> Task:
    worded = tables[table["same_as"]] if "same_as" in table else table
    return Task(
        name,
        frozenset(map(Modality, table["query"])),
        frozenset(map(Modality, table["document"])),
        tuple(worded["instructions"]),
        table.get("dataset"),
    )
