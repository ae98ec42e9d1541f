"""CREAM's rounds, with a model that orders every group rightly, or not at all."""

import re

import pytest
from candidates import QUERY, candidates
from hypothesis import given, settings
from hypothesis import strategies as st
from language import Parrot

from tamis.models.ranking.screening import screening
from tamis.models.rerankers.cream import CREAM

NUMBERED = re.compile(r"^\[(\d+)\] worth (\d+)$", re.MULTILINE)


def truthful(text: str) -> str:
    """The order of the pieces that a prompt shows, by what they are worth."""
    pieces = sorted(NUMBERED.findall(text), key=lambda found: -int(found[1]))
    return " > ".join(f"[{number}]" for number, _ in pieces)


@settings(max_examples=15)
@given(worths=st.permutations(range(30)))
def test_the_best_win_in_three_rounds(worths: list[int]) -> None:
    """4 groups of 8, 5 of each, 3 groups of 8, 3 of each, 2 groups, 1 of each, one last group."""
    parrot = Parrot(answers=truthful)
    reranker = CREAM(model=parrot)
    ranked = reranker.rerank(QUERY, candidates([f"worth {worth}" for worth in worths]))
    found = [int(str(one.content.text).split()[1]) for one in ranked]
    assert sorted(found) == list(range(30))
    assert found[0] == 29
    assert len(parrot.read) == 4 + 3 + 2 + 1


@settings(max_examples=30)
@given(count=st.integers(0, 40), said=st.text(max_size=30))
def test_any_answer_gives_every_candidate_once(count: int, said: str) -> None:
    parrot = Parrot(answers=lambda text: said)
    ranked = CREAM(model=parrot).rerank(QUERY, candidates([str(i) for i in range(count)]))
    assert sorted(int(one.document_id) for one in ranked) == list(range(count))
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)


def test_what_was_dropped_is_settled() -> None:
    plan = screening(20)
    step = next(plan)
    assert [len(job) for job in step.jobs] == [8, 8, 4]
    assert list(step.settled) == []
    second = plan.send([(), (), ()])
    assert list(second.settled) == list(range(14, 20))  # 5, 5 and 4 go on
    assert second.order[14:] == (5, 13, 6, 14, 7, 15)


@pytest.mark.parametrize(("size", "keep"), [(1, 1), (4, 4), (4, 0)])
def test_a_group_must_shrink(size: int, keep: int) -> None:
    with pytest.raises(ValueError, match="needs"):
        next(screening(9, size=size, keep=keep))
