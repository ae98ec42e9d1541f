"""Texts as training cleaned them."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.blocks.text_cleaning import openai, sentence, siglip


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # of open_clip's `basic_clean`, then `whitespace_clean`, then lower case
        ("  A\tRed\r\n bicycle ", "a red bicycle"),
        ("It’s “quoted” &amp;amp; naïve", 'it\'s "quoted" & naïve'),  # noqa: RUF001
        ("ﬁne ＡＢＣ　wide ĳ Ǆ", "fine abc wide ij dž"),  # noqa: RUF001
        ("a&lt;b&gt;c &#39;x&#39;", "a<b>c 'x'"),
        ("A\u030angstro\u0308m", "ångström"),
        ("a\x00b\x07c\ufeff", "abc"),
        ("\u00a0", ""),
    ],
)
def test_clips_texts_are_those_of_its_training(text: str, expected: str) -> None:
    assert openai(text) == expected


@given(st.text())
def test_siglips_texts_are_as_big_vision_says(text: str) -> None:
    """Lower case, then no ASCII punctuation, then any white space as one space, then none outside.

    transformers has the same in its SigLIP tokenizer, which needs sentencepiece.
    """
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    assert siglip(text) == re.sub(r"\s+", " ", kept).strip()


@given(st.text())
def test_a_sentence_stays_one(text: str) -> None:
    made = sentence(text)
    assert made == "" or made.endswith((".", "?", "!"))
    if made and not made[0].isspace() and '"' not in made:
        assert sentence(made) == made
