"""ListT5: fives, names from the least to the most relevant one, and a tournament."""

from pathlib import Path

import pytest
from orderers import SmallestFirst
from tiny_models import t5

from tamis.models import catalog
from tamis.models.rerankers import Reranker
from tamis.models.rerankers.listt5 import ListT5
from tamis.models.runtimes.opening import ModelOpener
from tamis.models.types import Candidate, Content, Query

QUERY = Query(Content(text="largest"))
CANDIDATES = [
    Candidate(f"d{n}", 1 - i / 99, Content(text=f"number {n}"))
    for i, n in enumerate([(7 * i) % 23 for i in range(23)])
]


def test_the_best_are_found_in_order_and_the_others_keep_theirs() -> None:
    model = SmallestFirst()
    ranked = ListT5(model=model, top=4).rerank(QUERY, CANDIDATES)
    found = [candidate.document_id for candidate in ranked]
    assert found[:4] == ["d22", "d21", "d20", "d19"]
    assert found[4:] == [c.document_id for c in CANDIDATES if c.document_id not in found[:4]]
    assert {len(group) for group in model.groups} == {5}


def test_each_passage_is_read_with_the_query_and_its_name() -> None:
    model = SmallestFirst()
    ListT5(model=model, passage_tokens=2).rerank(QUERY, CANDIDATES[:5])
    assert model.groups[0] == [
        f"Query: largest, Index: {i}, Context: {c.content.text}"
        for i, c in enumerate(CANDIDATES[:5], 1)
    ]


def test_a_query_without_words_changes_nothing() -> None:
    assert ListT5(model=SmallestFirst()).rerank(Query(Content()), CANDIDATES) == CANDIDATES


def test_a_group_must_be_larger_than_what_goes_on() -> None:
    with pytest.raises(ValueError, match="needs 1 <= keep < window, not 5 and 5"):
        ListT5(model=SmallestFirst(), keep=5)


def test_settings_open_a_checkpoint(tmp_path: Path) -> None:
    settings = {"model": str(t5(tmp_path)), "passage_tokens": 8}
    method = catalog.load(Reranker, "listt5", settings, open_as=ModelOpener().openers)
    ranked = method.rerank(QUERY, CANDIDATES[:7])
    assert {c.document_id for c in ranked} == {c.document_id for c in CANDIDATES[:7]}
