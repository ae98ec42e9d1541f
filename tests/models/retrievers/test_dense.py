"""The plan of a dense search, and what becomes of a query in parts."""

import numpy as np
import pytest

from tamis.models.retrievers import Nearest
from tamis.models.retrievers.dense import Dense
from tamis.models.types import Content, Query

BOTH = Dense(vector="images.dense", query=("texts.dense", "images.dense"))


def searched(query: dict[str, np.ndarray]) -> np.ndarray:
    plan = BOTH.plan(Query(Content(), query), 7)
    assert plan is not None
    assert isinstance(plan.order, Nearest)
    assert (plan.limit, plan.order.vector, plan.order.exact) == (7, "images.dense", False)
    assert isinstance(plan.order.query, np.ndarray)
    return plan.order.query


def test_a_document_scores_as_the_sum_of_the_parts(rng: np.random.Generator) -> None:
    """UniIR's score fusion: one search by the sum gives the order of the summed scores."""
    text, image = (part / np.linalg.norm(part) for part in rng.normal(size=(2, 6)))
    documents = rng.normal(size=(20, 6))
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    summed = documents @ text + documents @ image
    fused = documents @ searched({"texts.dense": text, "images.dense": image})
    assert np.argsort(fused).tolist() == np.argsort(summed).tolist()
    assert np.allclose(fused, summed / np.linalg.norm(text + image))


def test_no_part_outweighs_another() -> None:
    fused = searched({"texts.dense": np.array([100.0, 0.0]), "images.dense": np.array([0.0, 1.0])})
    assert np.allclose(fused, np.sqrt([0.5, 0.5]))


def test_one_part_is_enough() -> None:
    assert searched({"texts.dense": np.array([3.0, 4.0])}).tolist() == [0.6, 0.8]


def test_a_query_without_any_part_has_no_plan() -> None:
    assert BOTH.plan(Query(Content(), {"bm25.terms": np.ones(2)}), 7) is None


@pytest.mark.parametrize(
    ("retriever", "needs"),
    [(BOTH, ("texts.dense", "images.dense")), (Dense(vector="a.dense"), ("a.dense",))],
)
def test_it_needs_what_it_is_told_and_by_default_the_vector(
    retriever: Dense, needs: tuple[str, ...]
) -> None:
    assert retriever.needs == needs
    assert retriever.vectors == (retriever.vector,)
