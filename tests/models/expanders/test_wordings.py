"""What language models are asked for, and what becomes of their answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from language import Parrot

from tamis.models.expanders.query2doc import Query2Doc
from tamis.models.expanders.rag_fusion import RagFusion


def test_the_passage_follows_the_query() -> None:
    model = Parrot(answers=lambda _: "  A drum sieve for fine flour. ")
    expanded = Query2Doc(model=model, repeats=2, chat=False).expand("what is a tamis")
    assert expanded == ["what is a tamis what is a tamis A drum sieve for fine flour."]
    (asked,) = model.read
    assert "Query: what is a tamis\n" in asked


@pytest.mark.parametrize(
    "answer",
    [
        "1. a drum sieve\n2) sieve for cooks\n\n3: fine strainer\n4. too many",
        "- a drum sieve\n* sieve for cooks\n\u2022 fine strainer\n",
        "a drum sieve\ntamis\nsieve for cooks\na drum sieve\nfine strainer",
    ],
)
def test_each_line_is_a_wording(answer: str) -> None:
    expander = RagFusion(model=Parrot(answers=lambda _: answer), wordings=3, chat=False)
    assert expander.expand("tamis") == ["tamis", "a drum sieve", "sieve for cooks", "fine strainer"]


@given(st.text())
def test_any_answer_leaves_the_query_first_and_every_wording_once(answer: str) -> None:
    expander = RagFusion(model=Parrot(answers=lambda _: answer), wordings=4, chat=False)
    first, *others = expander.expand("tamis")
    assert first == "tamis"
    assert len(others) <= 4
    assert len({first, *others}) == 1 + len(others)
    assert all(other.strip() for other in others)
