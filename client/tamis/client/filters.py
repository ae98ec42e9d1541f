"""Which documents may be found: filters from plain dicts.

A dict names metadata fields; all of its tests must hold:

    {"author": "Bo"}                    the text is "Bo", or a list has it
    {"pages": 12}  {"public": True}     the whole number, the truth value
    {"author": ["Bo", "Li"]}            one of these texts, at most 10,000
    {"year": {"gte": 1990, "lt": 2000}} a number in a range: gt, gte, lt, lte
    {"author": {"exists": True}}        the document has the field, or (False) does not
    {"author": {"not": "Bo"}}           none of the simple forms above
    {"author.name": "Bo"}               dots step into objects

`any_of({...}, ...)` needs one of its tests to hold, `none_of` none, `all_of` is the plain dict;
`&` joins them: ``all_of({"year": {"gte": 1990}}) & any_of({"tag": "red"}, {"tag": "blue"})``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tamis.v1 import document_pb2 as wire

BOUNDS = ("gt", "gte", "lt", "lte")
FORMS = (
    "a text, a whole number, a bool, a list of texts, or a dict of gt, gte, lt, lte, exists, not"
)
INT64 = 1 << 63


@dataclass(frozen=True)
class Filter:
    """Tests of metadata fields. Made by `all_of`, `any_of` and `none_of`, joined by `&`.

    Attributes:
        must: All of these hold.
        must_not: None of these holds.
        should: At least one of these holds, where there are any.
    """

    must: tuple[wire.Condition, ...] = ()
    must_not: tuple[wire.Condition, ...] = ()
    should: tuple[wire.Condition, ...] = ()

    def __and__(self, other: "Filter") -> "Filter":
        if self.should and other.should:
            raise ValueError("a filter has room for one any_of: put its tests into one call")
        return Filter(
            self.must + other.must, self.must_not + other.must_not, self.should + other.should
        )


Filterable = Filter | Mapping[str, Any]


def all_of(*tests: Mapping[str, Any]) -> Filter:
    """Every test of every dict holds.

    Raises:
        ValueError: A test has none of the forms that this module's page lists.
    """
    must: list[wire.Condition] = []
    must_not: list[wire.Condition] = []
    for field, test in _fields(tests):
        for negative, condition in _conditions(field, test):
            (must_not if negative else must).append(condition)
    return Filter(tuple(must), tuple(must_not))


def any_of(*tests: Mapping[str, Any]) -> Filter:
    """At least one test holds, of all that the dicts have.

    Raises:
        ValueError: A test has an unknown form, or is a `not` or an `exists: False`.
    """
    return Filter(should=_positive("any_of", tests))


def none_of(*tests: Mapping[str, Any]) -> Filter:
    """None of the tests holds.

    Raises:
        ValueError: A test has an unknown form, or is a `not` or an `exists: False`.
    """
    return Filter(must_not=_positive("none_of", tests))


def message(tests: Filterable) -> wire.Filter:
    """The filter as it is sent."""
    if isinstance(tests, Mapping):
        tests = all_of(tests)
    if not isinstance(tests, Filter):
        raise ValueError(  # noqa: TRY004 - one kind of error for every bad filter
            f"a filter is a dict or made by all_of, any_of and none_of, not {_kind(tests)}"
        )
    return wire.Filter(must=tests.must, must_not=tests.must_not, should=tests.should)


def _fields(tests: tuple[Any, ...]) -> list[tuple[str, Any]]:
    for test in tests:
        if not isinstance(test, Mapping):
            raise ValueError(f"tests are dicts of a field and its test, not {_kind(test)}")  # noqa: TRY004
    fields = [pair for test in tests for pair in test.items()]
    for field, _ in fields:
        if not isinstance(field, str) or not field:
            raise ValueError(f"a field's name is a text, not {field!r}")
    return fields


def _positive(name: str, tests: tuple[Mapping[str, Any], ...]) -> tuple[wire.Condition, ...]:
    found: list[wire.Condition] = []
    for field, test in _fields(tests):
        conditions = _conditions(field, test)
        if len(conditions) > 1:
            raise ValueError(f"{name}: {field}: one test a field, not {len(conditions)}")
        for negative, condition in conditions:
            if negative:
                raise ValueError(f"{name}: {field}: has no room for a negative test")
            found.append(condition)
    if not found:
        raise ValueError(f"{name} needs a test")
    return tuple(found)


def _conditions(field: str, test: Any) -> list[tuple[bool, wire.Condition]]:
    """The conditions of one field, each with whether it must fail."""
    if not isinstance(test, Mapping):
        return [(False, _simple(field, test))]
    if not test or (unknown := test.keys() - {*BOUNDS, "exists", "not"}):
        found = f"not {', '.join(map(repr, sorted(map(str, unknown))))}" if test else "not {}"
        raise ValueError(f"filter on {field!r}: a test is {FORMS}; {found}")
    conditions = []
    if bounds := {name: _bound(field, test[name]) for name in BOUNDS if name in test}:
        conditions.append((False, wire.Condition(field=field, range=wire.Range(**bounds))))
    if "exists" in test:
        if not isinstance(test["exists"], bool):
            raise ValueError(f"filter on {field!r}: exists is True or False")
        conditions.append((not test["exists"], wire.Condition(field=field, exists=True)))
    if "not" in test:
        conditions.append((True, _simple(field, test["not"])))
    return conditions


def _simple(field: str, test: Any) -> wire.Condition:
    match test:
        case bool():
            return wire.Condition(field=field, equals_bool=test)
        case int() if -INT64 <= test < INT64:
            return wire.Condition(field=field, equals_integer=test)
        case str():
            return wire.Condition(field=field, equals_text=test)
        case list() | tuple() | set() | frozenset() if test:
            if all(isinstance(value, str) for value in test):
                values = sorted(test) if isinstance(test, set | frozenset) else test
                return wire.Condition(field=field, any_of=wire.TextSet(values=values))
        case float():
            raise ValueError(
                f"filter on {field!r}: a number with a fraction equals nothing reliably: "
                "give a range of gte and lte"
            )
    raise ValueError(f"filter on {field!r}: a test is {FORMS}; not {test!r}")


def _bound(field: str, bound: Any) -> float:
    if isinstance(bound, bool) or not isinstance(bound, int | float) or math.isnan(bound):
        raise ValueError(f"filter on {field!r}: a bound is a number, not {bound!r}")
    return float(bound)


def _kind(value: Any) -> str:
    return type(value).__name__
