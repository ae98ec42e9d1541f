"""Words of texts, however long these are."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tamis.models.blocks import words as module
from tamis.models.blocks.words import WORD, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A tamis, a drum-sieve.", ["a", "tamis", "a", "drum", "sieve"]),
        ("Straße ﬁne", ["strasse", "fine"]),
        ("snake_case 12\u00bd", ["snake_case", "121", "2"]),
        ("今天 のsieve", ["今", "天", "の", "sieve"]),
        (" \n", []),
    ],
)
def test_words_are_folded_runs_of_letters_or_single_han_and_kana(
    text: str, expected: list[str]
) -> None:
    assert words(text) == expected


def test_a_text_in_steps_has_the_words_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)

    @given(some.text("ab Éé今あ_1'. \n\t\xa0ßΣ", max_size=60))
    def same(text: str) -> None:
        folded = unicodedata.normalize("NFKC", text).casefold()
        assert words(text) == WORD.findall(folded)

    same()
