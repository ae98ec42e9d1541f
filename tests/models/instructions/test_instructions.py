"""Instructions as data."""

from itertools import chain

import pytest

from tamis.models import instructions
from tamis.models.errors import InputError
from tamis.models.types import Modality

TEXT, IMAGE = frozenset({Modality.TEXT}), frozenset({Modality.IMAGE})
BOTH = TEXT | IMAGE
# What M-BEIR's numbers of tasks say: what queries are made of, and what is sought.
NUMBERED = {
    "task0": (TEXT, IMAGE),
    "task1": (TEXT, TEXT),
    "task2": (TEXT, BOTH),
    "task3": (IMAGE, TEXT),
    "task4": (IMAGE, IMAGE),
    "task6": (BOTH, TEXT),
    "task7": (BOTH, IMAGE),
    "task8": (BOTH, BOTH),
}
ALL = instructions.tasks()
MBEIR = [task for name, task in ALL.items() if name.startswith("mbeir/")]
M2KR = [task for name, task in ALL.items() if name.startswith("m2kr/")]


def test_m_beir_has_its_sixteen_tasks_of_ten_data_sets() -> None:
    assert len(MBEIR) == 16
    assert {task.dataset for task in MBEIR} == set(range(10))


@pytest.mark.parametrize("task", MBEIR, ids=lambda task: task.name)
def test_a_task_s_number_says_what_it_seeks_by_what(task: instructions.Task) -> None:
    assert (task.query, task.document) == NUMBERED[task.name.rpartition("_")[2]]
    assert task.dataset is not None
    assert instructions.task_of(task.dataset, task.query, task.document) is task


def test_one_data_set_has_one_number() -> None:
    named = {(task.name.partition("_")[0], task.dataset) for task in MBEIR}
    assert len(named) == 10


@pytest.mark.parametrize("task", ALL.values(), ids=lambda task: task.name)
def test_wordings_differ_and_are_whole_sentences(task: instructions.Task) -> None:
    assert len(set(task.instructions)) == len(task.instructions) > 0
    for wording in task.instructions:
        assert wording == wording.strip()
        assert wording[0].isupper()
        assert wording[-1] in ".?:"


def test_an_instruction_of_m2kr_has_one_colon_and_ends_with_it() -> None:
    """PreFLMR leaves out what is before the first colon."""
    for wording in chain.from_iterable(task.instructions for task in M2KR):
        assert wording.index(":") == len(wording) - 1


def test_tasks_that_share_wordings_say_so() -> None:
    assert instructions.find("m2kr/evqa").instructions == ALL["m2kr/okvqa"].instructions


def test_an_unknown_task_names_those_that_are_near() -> None:
    with pytest.raises(InputError, match=r"no task 'mbeir/oven_task7'; near: .*mbeir/oven_task6"):
        instructions.find("mbeir/oven_task7")
    with pytest.raises(InputError, match=r"known: m2kr/\.\.\., mbeir/\.\.\.$"):
        instructions.find("")


def test_a_task_that_the_benchmark_has_not_is_none() -> None:
    assert instructions.task_of(4, TEXT, TEXT) is None
