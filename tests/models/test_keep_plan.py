import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.keep_plan import KeepPlan
from tamis.models.types import VisualTokens


def image(rng: np.random.Generator, count: int = 12) -> VisualTokens:
    return VisualTokens(
        rng.normal(size=(count, 4)).astype(np.float32),
        rng.dirichlet(np.ones(count)),
        np.arange(count),
        (3, count // 3),
        rng.normal(size=(count, 2)).astype(np.float32),
    )


def some_plan(rng: np.random.Generator, count: int) -> KeepPlan:
    """Some tokens stay, each of the others joins one of them or goes."""
    kept = rng.choice(count, size=rng.integers(1, count + 1), replace=False)
    groups = rng.choice([*kept, -1], size=count)
    groups[kept] = kept
    return KeepPlan.of_groups(groups, rng.random(count))


@given(seed=st.integers(0, 500))
def test_a_plan_is_its_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens, plan = image(rng), some_plan(rng, 12)
    made = plan.apply(tokens)
    assert made.embeddings == pytest.approx(plan.matrix(12) @ tokens.embeddings, abs=1e-5)
    assert made.embeddings.dtype == np.float32
    assert made.positions.tolist() == plan.kept.tolist() == sorted(set(plan.kept.tolist()))
    assert made.attention == pytest.approx((plan.matrix(12) > 0) @ tokens.attention)
    assert tokens.keys is not None
    assert made.keys is not None
    assert np.array_equal(made.keys, tokens.keys[plan.kept])


@given(seed=st.integers(0, 500))
def test_two_plans_are_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens, first = image(rng), some_plan(rng, 12)
    second = some_plan(rng, len(first))
    one = first.then(second).apply(tokens)
    after_another = second.apply(first.apply(tokens))
    assert one.embeddings == pytest.approx(after_another.embeddings, abs=1e-5)
    assert one.positions.tolist() == after_another.positions.tolist()


def test_selected_tokens_are_not_computed_with(rng: np.random.Generator) -> None:
    tokens = image(rng)
    made = KeepPlan.of_selected(np.array([7, 2, 5])).apply(tokens)
    assert made.positions.tolist() == [2, 5, 7]
    assert np.array_equal(made.embeddings, tokens.embeddings[[2, 5, 7]])


def test_a_plan_is_four_arrays(rng: np.random.Generator) -> None:
    tokens, plan = image(rng), some_plan(rng, 12)
    again = KeepPlan(plan.kept.copy(), plan.rows.copy(), plan.columns.copy(), plan.weights.copy())
    assert np.array_equal(again.apply(tokens).embeddings, plan.apply(tokens).embeddings)


def test_each_token_has_one_that_stands_for_it() -> None:
    """Token 1 is in two sums and weighs more in the second; 2 is in both alike; 4 is in none."""
    plan = KeepPlan(
        kept=np.array([0, 3]),
        rows=np.array([0, 0, 0, 1, 1, 1, 1]),
        columns=np.array([0, 1, 2, 3, 1, 2, 0]),
        weights=np.array([1, 0.2, 0.3, 1, 0.4, 0.3, 2], dtype=np.float32),
    )
    assert plan.owners(5).tolist() == [0, 3, 0, 3, -1]


@given(seed=st.integers(0, 500))
def test_kept_tokens_stand_for_themselves_and_dropped_ones_have_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = some_plan(rng, 12)
    owners = plan.owners(12)
    assert np.flatnonzero(owners == np.arange(12)).tolist() == plan.kept.tolist()
    assert np.flatnonzero(owners >= 0).tolist() == sorted(set(plan.columns.tolist()))
