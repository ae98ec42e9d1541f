"""Filters from plain dicts."""

from typing import Any

import pytest

from tamis.client import all_of, any_of, none_of
from tamis.client.filters import message
from tamis.v1.document_pb2 import Condition, Filter, Range, TextSet


@pytest.mark.parametrize(
    ("test", "condition"),
    [
        ("Bo", Condition(field="f", equals_text="Bo")),
        ("", Condition(field="f", equals_text="")),
        (12, Condition(field="f", equals_integer=12)),
        (0, Condition(field="f", equals_integer=0)),
        (True, Condition(field="f", equals_bool=True)),
        (False, Condition(field="f", equals_bool=False)),
        (["Bo", "Li"], Condition(field="f", any_of=TextSet(values=["Bo", "Li"]))),
        ({"Li", "Bo"}, Condition(field="f", any_of=TextSet(values=["Bo", "Li"]))),
        ({"gte": 1990}, Condition(field="f", range=Range(gte=1990))),
        ({"gt": 0.5, "lt": 0}, Condition(field="f", range=Range(gt=0.5, lt=0))),
        ({"exists": True}, Condition(field="f", exists=True)),
    ],
)
def test_each_form_is_one_condition(test: Any, condition: Condition) -> None:
    assert message({"f": test}) == Filter(must=[condition])


@pytest.mark.parametrize(
    ("test", "condition"),
    [
        ({"not": "Bo"}, Condition(field="f", equals_text="Bo")),
        ({"not": ["Bo"]}, Condition(field="f", any_of=TextSet(values=["Bo"]))),
        ({"exists": False}, Condition(field="f", exists=True)),
    ],
)
def test_a_negative_form_is_a_condition_that_must_fail(test: Any, condition: Condition) -> None:
    assert message({"f": test}) == Filter(must_not=[condition])


def test_all_of_a_dict_must_hold() -> None:
    found = message({"author": "Bo", "year": {"gte": 1990, "not": 1995}})
    assert [one.field for one in found.must] == ["author", "year"]
    assert found.must_not == [Condition(field="year", equals_integer=1995)]


def test_filters_join() -> None:
    found = message(
        all_of({"year": {"lt": 2000}})
        & any_of({"tag": "red"}, {"tag": "blue"})
        & none_of({"author": "Bo"})
    )
    assert [one.field for one in found.must] == ["year"]
    assert [one.equals_text for one in found.should] == ["red", "blue"]
    assert [one.equals_text for one in found.must_not] == ["Bo"]


def test_two_any_ofs_have_no_room() -> None:
    with pytest.raises(ValueError, match="room for one any_of"):
        any_of({"a": "b"}) & any_of({"c": "d"})


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"f": None}, "filter on 'f': a test is a text, .*; not None"),
        ({"f": []}, "not \\[\\]"),
        ({"f": [1, 2]}, "not \\[1, 2\\]"),
        ({"f": 1.5}, "give a range of gte and lte"),
        ({"f": 1 << 63}, "not 9223372036854775808"),
        ({"f": {}}, "not {}"),
        ({"f": {"ge": 1}}, "not 'ge'"),
        ({"f": {"gte": "1990"}}, "a bound is a number, not '1990'"),
        ({"f": {"gte": True}}, "a bound is a number, not True"),
        ({"f": {"lt": float("nan")}}, "a bound is a number, not nan"),
        ({"f": {"exists": 1}}, "exists is True or False"),
        ({"f": {"not": {"gte": 1}}}, "a test is"),
        ({"": "x"}, "a field's name is a text, not ''"),
        ({3: "x"}, "a field's name is a text, not 3"),
        ("f=x", "a filter is a dict or made by .*, not str"),
    ],
)
def test_an_unknown_form_is_refused(test: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        message(test)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ([], "needs a test"),
        ([{"f": {"not": "x"}}], "no room for a negative test"),
        ([{"f": {"exists": False}}], "no room for a negative test"),
        ([{"f": {"gte": 1, "exists": True}}], "one test a field, not 2"),
        (["f"], "tests are dicts"),
    ],
)
def test_any_of_and_none_of_take_plain_tests_only(tests: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        any_of(*tests)
    with pytest.raises(ValueError, match=said):
        none_of(*tests)
