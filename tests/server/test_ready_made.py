"""Representations that callers bring: those that no encoder here could have made are refused."""

import numpy as np
import pytest

from tamis.models.errors import InputError
from tamis.models.types import Head, Kind, Sparse
from tamis.server.ready_made import check, check_fingerprints

HEADS = {
    "a.dense": Head(Kind.DENSE, 3, "a"),
    "a.tokens": Head(Kind.MULTI, 3, "a"),
    "a.terms": Head(Kind.SPARSE, 0, "a"),
}
TERMS = Sparse(np.array([1]), np.array([1.0], np.float32))


def test_what_fits_passes() -> None:
    check({"a.dense": np.ones(3), "a.tokens": np.ones((2, 3)), "a.terms": TERMS}, HEADS)
    check_fingerprints({"a.dense": "1"}, {"a.dense": "1", "a.terms": "2"}, "'c'")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("b.dense", np.ones(3), r"'b\.dense'\]: not one of a\.dense, a\.terms, a\.tokens"),
        ("a.dense", np.ones(4), r"has shape \[4\]; needs 1 axes, the last one of 3"),
        ("a.tokens", np.ones(3), r"has shape \[3\]; needs 2 axes"),
        ("a.terms", np.ones(3), "needs to be sparse"),
        ("a.dense", TERMS, "needs to be dense"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: np.ndarray | Sparse, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check({name: value}, HEADS)


def test_another_fingerprint_is_shown_beside_the_one_that_is_wanted() -> None:
    with pytest.raises(InputError, match=r"is of fingerprint 9; 'c' has 1"):
        check_fingerprints({"a.dense": "9"}, {"a.dense": "1"}, "'c'")
