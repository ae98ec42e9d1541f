"""RM3, against its formula and by what must hold of any expansion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models import catalog
from tamis.models.errors import SettingsError
from tamis.models.expanders import Expander
from tamis.models.expanders.rm3 import Rm3
from tamis.models.types import Sparse

WEIGHTS = st.dictionaries(st.integers(0, 30), st.floats(0.125, 8, width=32), min_size=1, max_size=8)


def sparse(weights: dict[int, float]) -> Sparse:
    indices = sorted(weights)
    values = np.array([weights[i] for i in indices], np.float32)
    return Sparse(np.array(indices, np.int64), values)


def table(terms: Sparse) -> dict[int, float]:
    return dict(zip(terms.indices.tolist(), terms.values.tolist(), strict=True))


def test_documents_speak_for_their_terms_in_proportion_to_their_scores() -> None:
    """Scores 3 and 1; term 2 has half of the first document and all of the second."""
    found = [(3.0, sparse({1: 2.0, 2: 2.0})), (1.0, sparse({2: 5.0}))]
    expanded = Rm3(terms=2, share=0.4).expand(sparse({1: 1.0, 9: 1.0}), found)
    model = {1: 3 * 0.5, 2: 3 * 0.5 + 1.0}
    whole = sum(model.values())
    expected = {
        1: 0.4 * 0.5 + 0.6 * model[1] / whole,
        2: 0.6 * model[2] / whole,
        9: 0.4 * 0.5,
    }
    assert table(expanded) == pytest.approx(expected, rel=1e-6)


@given(WEIGHTS, st.lists(st.tuples(st.floats(0.125, 9), WEIGHTS), max_size=5), st.floats(0, 1))
def test_it_is_a_mixture_of_the_query_and_a_few_terms(
    query: dict[int, float], found: list[tuple[float, dict[int, float]]], share: float
) -> None:
    rm3 = Rm3(terms=3, share=share)
    expanded = rm3.expand(sparse(query), [(score, sparse(own)) for score, own in found])
    assert (np.diff(expanded.indices) > 0).all()
    if not found:
        assert table(expanded) == table(sparse(query))
        return
    assert expanded.values.sum() == pytest.approx(1, rel=1e-5)
    assert len(set(table(expanded)) - set(query)) <= 3


def test_documents_that_score_nothing_say_nothing() -> None:
    query = sparse({1: 1.0})
    assert Rm3().expand(query, [(0.0, sparse({2: 1.0})), (-1.0, sparse({3: 1.0}))]) is query


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"terms": 0}, "terms must be at least 1, not 0"),
        ({"share": 1.5}, "share must be from 0 to 1"),
        ({"documents": 0}, "documents must be at least 1, not 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(Expander, "rm3", settings)
