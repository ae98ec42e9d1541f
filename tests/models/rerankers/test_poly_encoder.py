"""The order of candidates by a soft maximum."""

from pathlib import Path

import numpy as np
import pytest
from golden import golden_cases
from safetensors.numpy import load_file

from tamis.models import catalog
from tamis.models.errors import SettingsError
from tamis.models.rerankers import Reranker
from tamis.models.rerankers.poly_encoder import PolyEncoder
from tamis.models.types import Candidate, Content, Query


def candidate(name: str, vectors: np.ndarray | None) -> Candidate:
    return Candidate(name, 0.5, representations={} if vectors is None else {"p.poly": vectors})


@pytest.mark.parametrize("case", golden_cases("poly_encoder"))
@pytest.mark.parametrize("attention", ["basic", "sqrt"])
def test_golden_ranking(case: Path, attention: str) -> None:
    told = load_file(case / "outputs.safetensors")
    held = load_file(case / "inputs.safetensors")["candidate_vectors"]
    candidates = [candidate(str(i), vector[None]) for i, vector in enumerate(held)]
    vectors, scores = told[f"codes.{attention}.poly_vectors"], told[f"codes.{attention}.scores"]
    for own, expected in zip(vectors, scores, strict=True):
        query = Query(Content(text="q"), {"p.poly": own})
        ranked = PolyEncoder(vector="p.poly", attention=attention).rerank(query, candidates)
        assert [one.document_id for one in ranked] == [str(i) for i in np.argsort(-expected)]
        assert [one.score for one in ranked] == pytest.approx(sorted(expected)[::-1], abs=1e-5)


def test_a_candidate_with_several_vectors_is_as_good_as_its_best() -> None:
    query = Query(Content(), {"p.poly": np.array([[1.0, 0.0], [0.0, 1.0]])})
    one, other = np.array([[2.0, 0.0]]), np.array([[0.0, 0.1]])
    both = candidate("both", np.concatenate([other, one]))
    scores = PolyEncoder(vector="p.poly").score(query, [both, candidate("one", one)])
    assert scores[0] == scores[1]


def test_a_candidate_without_a_vector_is_last() -> None:
    query = Query(Content(), {"p.poly": np.ones((2, 2))})
    rows = [("none", None), ("empty", np.empty((0, 2))), ("far", -np.ones((1, 2)))]
    ranked = PolyEncoder(vector="p.poly").rerank(query, [candidate(n, v) for n, v in rows])
    assert [one.document_id for one in ranked] == ["far", "none", "empty"]


def test_a_query_without_vectors_changes_no_order() -> None:
    candidates = [candidate(name, np.ones((1, 2))) for name in "ba"]
    ranked = PolyEncoder(vector="p.poly").rerank(Query(Content()), candidates)
    assert [one.document_id for one in ranked] == ["b", "a"]


def test_an_unknown_attention_is_refused() -> None:
    with pytest.raises(SettingsError, match="attention must be basic or sqrt, not 'multihead'"):
        catalog.load(Reranker, "poly_encoder", {"vector": "p.poly", "attention": "multihead"})
