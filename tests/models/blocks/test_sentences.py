"""Where sentences begin and end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.sentences import sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    "expected",
    [
        ["One.", "Two!", "Three?", "Four"],
        ["Mr. Smith met Dr. Jones at 3.14 p.m. on the U.S. border.", "They left."],
        ["Use e.g. tamis.models, i.e. this package.", "It works."],
        ["Fig. 3 shows J. R. R. Tolkien vs. C. S. Lewis.", "The end."],
        ['"Stop!"', "She ran.", "(He did not.)", "Later..."],
        ["Wait... what happened next?", "Nobody knows."],
        ["Версия 2.0 готова.", "Скачайте её."],
        ["¿Qué hora es?", "Son las tres."],
        ["He got 5 of 6.", "Good."],
    ],
)
def test_sentences_end_where_a_reader_would_end_them(expected: list[str]) -> None:
    assert split(" ".join(expected)) == expected


def test_east_asian_marks_need_no_space() -> None:
    expected = ["東京へ行く。", "明日帰る！", "本当？", "はい"]  # noqa: RUF001 - they are meant
    assert split("".join(expected)) == expected


def test_a_line_break_ends_a_sentence() -> None:
    assert split("A heading\n\nthen text\nand a list") == ["A heading", "then text", "and a list"]


@given(st.text(alphabet="aB .!?\n。\"')é\u00a0\u20093"))
def test_no_character_but_white_space_is_lost(text: str) -> None:
    spans = sentences(text)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    parts = split(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part == part.strip() and part for part in parts)


@given(st.text())
def test_any_text_can_be_split(text: str) -> None:
    assert "".join("".join(split(text)).split()) == "".join(text.split())
