"""PE-Rank: passages as vectors, and those that have none."""

from dataclasses import replace

import numpy as np
import pytest
from orderers import LastAxisFirst

from tamis.models.rerankers.pe_rank import PERank
from tamis.models.runtimes.ordering import PLACEHOLDER
from tamis.models.types import Candidate, Content, Query

QUERY = Query(Content(text=f"largest {PLACEHOLDER}"))
CANDIDATES = [
    Candidate(
        f"d{n}", 1 - i / 99, representations={"a.dense": np.array([3.0, n], dtype=np.float32)}
    )
    for i, n in enumerate([(7 * i) % 12 for i in range(12)])
]


@pytest.mark.parametrize("chat", [False, True])
def test_the_best_rise_to_the_top(chat: bool) -> None:
    model = LastAxisFirst()
    method = PERank(model=model, vector="a.dense", window=4, step=2, chat=chat)
    ranked = method.rerank(QUERY, CANDIDATES)
    assert [candidate.document_id for candidate in ranked][:2] == ["d11", "d10"]
    assert len(model.prompts) == 5
    for prompt in model.prompts:
        text = prompt.text + "".join(turn.text for turn in prompt.messages)
        assert text.count(PLACEHOLDER) == 4, "the query's own is none"
        assert "largest" in text


def test_who_has_no_vector_follows() -> None:
    bare = [replace(c, representations={}) if i in (0, 2) else c for i, c in enumerate(CANDIDATES)]
    model = LastAxisFirst()
    ranked = PERank(model=model, vector="a.dense").rerank(QUERY, bare)
    found = [candidate.document_id for candidate in ranked]
    assert found[-2:] == ["d0", "d2"]
    assert found[:2] == ["d11", "d10"]


def test_too_few_vectors_or_no_words_are_not_asked_about() -> None:
    model = LastAxisFirst()
    method = PERank(model=model, vector="b.dense")
    assert method.needs == ("b.dense",)
    assert method.rerank(QUERY, CANDIDATES) == CANDIDATES
    assert PERank(model=model, vector="a.dense").rerank(Query(Content()), CANDIDATES) == CANDIDATES
    assert model.prompts == []


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="needs 1 <= step <= window"):
        PERank(model=LastAxisFirst(), vector="a.dense", window=4, step=5)
