"""MCRanker with a model of given answers: what is asked, how often, and what becomes of it."""

import json
import re

import pytest
from candidates import QUERY, candidates, order
from language import Parrot

from tamis.models.rerankers.mcranker import MCRanker

SCORES = {"ant": [2, 3, 4], "bee": [9, 8, 7], "cat": [5, 5, 5]}
WHO = ["a baker", "a pilot", "an NLP scientist who judges whether a text answers a question"]


def answer(text: str) -> str:
    if "Which two professions" in text:
        return 'Sure: {"identities": ["a baker", "a pilot", "a third"]} and so on'
    if "By which weighted criteria" in text:
        return json.dumps({"criteria": [{"criterion": "on topic", "weight": 1}]})
    (document,) = re.findall(r"Passage: (\w+)", text)
    if "final score" in text:
        return f'{{"score": {max(SCORES[document])}}}'
    (place,) = (i for i, who in enumerate(WHO) if f"You are {who}." in text)
    return f'{{"score": {SCORES[document][place]}}}'


def test_the_sum_of_the_annotators_scores() -> None:
    parrot = Parrot(answers=answer)
    reranker = MCRanker(model=parrot, assessor=False)
    ranked = reranker.rerank(QUERY, candidates(list(SCORES)))
    assert order(ranked) == "120"
    assert [one.score for one in ranked] == [24, 15, 9]
    assert len(parrot.read) == 1 + 3 + 3 * 3
    assert any("on topic: 1" in text for text in parrot.read)
    reranker.rerank(QUERY, candidates(list(SCORES)))
    assert len(parrot.read) == 1 + 3 + 2 * (3 * 3)  # annotators and criteria are remembered


def test_the_assessor_s_score() -> None:
    parrot = Parrot(answers=answer)
    ranked = MCRanker(model=parrot).rerank(QUERY, candidates(list(SCORES)))
    assert [one.score for one in ranked] == [9, 5, 4]
    assert len(parrot.read) == 1 + 3 + 4 * 3
    assert any("Their scores: 9, 8, 7" in text for text in parrot.read)


@pytest.mark.parametrize("said", ["", "no idea", "{", '{"score": null}', "[1, 2", "\x00" * 9])
def test_what_cannot_be_read_is_the_middle_and_ties_keep_the_old_order(said: str) -> None:
    parrot = Parrot(answers=lambda text: said)
    ranked = MCRanker(model=parrot, assessor=False).rerank(QUERY, candidates())
    assert order(ranked) == "012"
