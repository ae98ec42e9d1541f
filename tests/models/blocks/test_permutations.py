"""Orders from any text."""

import json
from pathlib import Path

import pytest
from golden import golden_cases
from hypothesis import example, given
from hypothesis import strategies as st

from tamis.models.blocks.permutations import (
    after_reasoning,
    parse_letters,
    parse_numbers,
    repaired,
)

COUNTS = st.integers(0, 30)


@given(st.lists(st.integers(-5, 40)), COUNTS)
def test_repaired_names_each_place_once_and_keeps_what_was_said(
    places: list[int], count: int
) -> None:
    order = repaired(places, count)
    assert sorted(order) == list(range(count))
    said = [place for place in dict.fromkeys(places) if 0 <= place < count]
    assert list(order[: len(said)]) == said
    assert list(order[len(said) :]) == sorted(order[len(said) :])


@given(st.binary() | st.text(), COUNTS)
@example("9" * 10_000, 3)
@example("\N{ARABIC-INDIC DIGIT THREE} \N{CIRCLED DIGIT THREE} \N{SUPERSCRIPT THREE}", 3)
@example("[0001]", 3)
def test_any_text_is_an_order(given_text: bytes | str, count: int) -> None:
    text = given_text if isinstance(given_text, str) else given_text.decode(errors="replace")
    for parse in (parse_numbers, parse_letters):
        assert sorted(parse(text, count)) == list(range(count))


def test_numbers_and_letters_are_read_wherever_they_stand() -> None:
    assert parse_numbers("[2] > [3] > [1]", 3) == (1, 2, 0)
    assert parse_letters("I'd say [B] > C > (A).", 3) == (1, 2, 0)
    assert parse_letters("BA is a word, and so is A1", 3) == (0, 1, 2)
    assert parse_letters("AB", 20) == (11, *range(11), *range(12, 20))  # 12, as rank_llm reads it


def test_what_was_thought_before_the_answer_does_not_count() -> None:
    assert after_reasoning("<think>[1]</think> [2]</think>[3]") == "[3]"
    assert after_reasoning("[1]") == "[1]"


@pytest.mark.parametrize("case", golden_cases("listwise_windows"))
def test_malformed_answers_are_read_as_the_references_read_them(case: Path) -> None:
    """But for what crashes the one, and for words, which the other takes for large numbers."""
    found = json.loads((case / "outputs.json").read_text())
    for one in found["parsing"]:
        if isinstance(one["rankgpt"], list):
            assert list(parse_numbers(one["text"], one["n"])) == one["rankgpt"], one
        answer = after_reasoning(one["text"])
        assert list(parse_numbers(answer, one["n"])) == one["rank_llm"], one
    for one in found["parsing_alpha"]:
        answer = after_reasoning(one["text"])
        assert list(parse_letters(answer, one["n"])) == one["rank_llm"], one
