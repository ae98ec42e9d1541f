"""duoT5's sums over all pairs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from candidates import QUERY, candidates, order
from golden import golden_cases
from language import Parrot

from tamis.models.rerankers.duot5 import DuoT5

PLACES = re.compile(r"Document[01]: d(\d+)")
STRENGTH = {"one": 0.3, "two": 2.0, "three": 1.1, "four": -1.0}


def prefers(text: str, word: str) -> float:
    """True is likelier the stronger the first document is than the second."""
    first, _, second = text.partition("Document0: ")[2].partition(" Document1: ")
    own, other = STRENGTH[first], STRENGTH[second.removesuffix(" Relevant:")]
    return own - other if word == "true" else 0.0


def test_a_score_is_the_sum_of_the_probabilities_of_being_better() -> None:
    parrot = Parrot(logits=prefers)
    ranked = DuoT5(model=parrot).rerank(QUERY, candidates(list(STRENGTH)))
    assert order(ranked) == "1203"
    assert len(parrot.read) == 6  # each pair once
    strengths = list(STRENGTH.values())
    for one in ranked:
        own = strengths[int(one.document_id)]
        expected = sum(1 / (1 + np.exp(other - own)) for other in strengths) - 0.5
        assert one.score == pytest.approx(expected, abs=1e-9)


def test_both_orders_can_be_asked() -> None:
    parrot = Parrot(logits=prefers)
    ranked = DuoT5(model=parrot, both_ways=True).rerank(QUERY, candidates(list(STRENGTH)))
    assert order(ranked) == "1203"
    assert [one.score for one in ranked] == [3, 2, 1, 0]
    assert len(parrot.read) == 12


def test_documents_share_the_room() -> None:
    parrot = Parrot(logits=lambda text, word: 0.0)
    DuoT5(model=parrot, max_tokens=22).rerank(QUERY, candidates(["a " * 50, "b"]))
    (prompt,) = parrot.read
    assert prompt == "Query: what does a fox do Document0: a a a a Document1: b Relevant:"
    assert len(prompt.split()) < 22


@pytest.mark.parametrize("case", golden_cases("prp_aggregation"))
def test_the_sums_are_those_of_rank_llm(case: Path) -> None:
    """From the same probabilities, pair by pair."""
    inputs, outputs = (json.loads((case / f"{n}.json").read_text()) for n in ("inputs", "outputs"))
    for given, expected in zip(inputs["cases"], outputs, strict=True):
        shares = given["prob_first"]

        def odds(text: str, word: str, shares: Any = shares) -> float:
            first, second = map(int, PLACES.findall(text))
            share = shares[first][second]
            return float(np.log(share / (1 - share))) if word == "true" else 0.0

        texts = [f"d{place}" for place in range(len(shares))]
        ranked = DuoT5(model=Parrot(logits=odds)).rerank(QUERY, candidates(texts))
        told = expected["rank_llm_pairwise"]
        assert [int(one.document_id) for one in ranked] == told["order"]
        scores = {int(one.document_id): one.score for one in ranked}
        assert [scores[i] for i in range(len(texts))] == pytest.approx(
            [told["scores"][text] for text in texts], abs=1e-9
        )
