"""The plan of an exhaustive late-interaction search."""

import numpy as np

from tamis.models.retrievers import Nearest
from tamis.models.retrievers.max_sim import MaxSim
from tamis.models.types import Content, Query

BOTH = MaxSim(vector="images.tokens", query=("texts.tokens", "images.tokens"))


def test_the_vectors_of_all_parts_are_searched_exactly(rng: np.random.Generator) -> None:
    text, image = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    plan = BOTH.plan(Query(Content(), {"images.tokens": image, "texts.tokens": text}), 9)
    assert plan is not None
    assert isinstance(plan.order, Nearest)
    assert (plan.limit, plan.order.vector, plan.order.exact) == (9, "images.tokens", True)
    assert np.array_equal(plan.order.query, np.concatenate([text, image]))  # type: ignore[arg-type]


def test_a_query_without_vectors_has_no_plan() -> None:
    assert BOTH.plan(Query(Content(), {"texts.dense": np.ones(4)}), 9) is None
    assert BOTH.plan(Query(Content(), {"texts.tokens": np.empty((0, 4))}), 9) is None


def test_by_default_the_query_is_of_the_vectors_own_encoder() -> None:
    assert MaxSim(vector="a.tokens").needs == ("a.tokens",)
