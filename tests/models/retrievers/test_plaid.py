"""The plan of late interaction by centroids."""

import numpy as np
import pytest

from tamis.models import catalog
from tamis.models.errors import SettingsError
from tamis.models.retrievers import NearCentroids, Nearest, Retriever
from tamis.models.retrievers.plaid import PLAID
from tamis.models.types import Content, Query


def test_what_the_centroids_promise_is_scored_exactly(rng: np.random.Generator) -> None:
    text, image = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    both = PLAID(vector="i.tokens", query=("t.tokens", "i.tokens"), nprobe=6, candidates=50)
    plan = both.plan(Query(Content(), {"i.tokens": image, "t.tokens": text}), 9)
    assert plan is not None
    assert isinstance(plan.order, Nearest)
    assert (plan.limit, plan.order.vector, plan.order.exact) == (9, "i.tokens", True)
    (promising,) = plan.prefetch
    assert isinstance(promising.order, NearCentroids)
    assert (promising.limit, promising.order.vector, promising.order.probes) == (50, "i.tokens", 6)
    for order in (plan.order, promising.order):
        assert np.array_equal(np.asarray(order.query), np.concatenate([text, image]))


def test_no_fewer_candidates_than_are_asked_for(rng: np.random.Generator) -> None:
    query = Query(Content(), {"a.tokens": rng.normal(size=(3, 4))})
    plan = PLAID(vector="a.tokens", candidates=20).plan(query, 100)
    assert plan is not None
    assert plan.prefetch[0].limit == 100


@pytest.mark.parametrize("wrong", [{"nprobe": 0}, {"candidates": 0}, {"candidates": 10_001}])
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        catalog.load(Retriever, "plaid", {"vector": "a.tokens", **wrong})
