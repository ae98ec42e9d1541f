"""`--filter 'year>=1990'`: one test of a metadata field, written as people write it."""

import re
from collections.abc import Sequence

from tamis.client import Filter, all_of

TEST = re.compile(r"([^=<>!]+?)\s*(>=|<=|!=|=|>|<)\s*(.*)", re.DOTALL)
BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
FORMS = "field=value, field!=value, field>=number, field<=number, field>number, field<number"


def parse(tests: Sequence[str]) -> Filter:
    """The filter that lets through what passes all tests.

    Whole numbers, `true` and `false` are what they look like; quotes make a text of anything:
    `year="1990"`.

    Raises:
        ValueError: A test is none of these forms.
    """
    found = Filter()
    for test in tests:
        found &= _one(test)
    return found


def _one(test: str) -> Filter:
    match = TEST.fullmatch(test.strip())
    if match is None:
        raise ValueError(f"--filter {test!r}: give {FORMS}")
    field, sign, value = match.groups()
    if sign in BOUNDS:
        try:
            return all_of({field: {BOUNDS[sign]: float(value)}})
        except ValueError as error:
            raise ValueError(f"--filter {test!r}: {value!r} is not a number") from error
    return all_of({field: {"not": _value(value)} if sign == "!=" else _value(value)})


def _value(text: str) -> str | int | bool:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else text
