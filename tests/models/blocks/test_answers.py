"""JSON out of what models write."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.answers import first_object, score, texts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(said=st.dictionaries(st.text(max_size=5), JSON), before=st.text(alphabet="ab \n`[}"))
def test_an_object_is_found_in_prose(said: dict[str, Any], before: str) -> None:
    assert first_object(f"{before}{json.dumps(said)} and more }}") == said


@given(text=st.text() | st.text(alphabet='{}[]":,1'))
def test_no_text_raises(text: str) -> None:
    assert isinstance(first_object(text), dict)
    found = score(text, low=0.0, high=10.0)
    assert found is None or 0 <= found <= 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"score": 7}', 7.0),
        ('{"score": "8.5/10"}', 8.5),
        ("Score: 3", 3.0),
        ("-4", 0.0),
        ('{"score": 999999999999}', 10.0),
        ('{"score": true}', None),
        ('{"score": null}', None),
        ("none", None),
    ],
)
def test_a_score_is_read_and_clamped(text: str, expected: float | None) -> None:
    assert score(text, low=0.0, high=10.0) == expected


def test_texts_of_lists_and_objects() -> None:
    assert texts([" a ", {"criterion": "b", "weight": 1}, ""]) == ["a", "b: 1"]
    assert texts({"a": 1}) == []
