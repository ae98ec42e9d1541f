"""A language model's tokenizer: what is cut, and what is read as a mark."""

import pytest
import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.models.errors import ModelError
from tamis.models.runtimes.texts import Texts, up_to

RULES = tiny_models.tokenizer().backend_tokenizer.to_str()
TEXTS = Texts.of(RULES, start_token="<s>")


@settings(max_examples=50)
@given(text=st.text(max_size=40), tokens=st.integers(0, 12))
def test_a_text_is_cut_to_its_beginning(text: str, tokens: int) -> None:
    """Of at most so many tokens, whatever characters they are parts of."""
    (kept,) = TEXTS.cut([text], tokens)
    assert text.startswith(kept)
    assert TEXTS.counts([kept])[0] <= tokens
    if TEXTS.counts([text])[0] <= tokens:
        assert kept == text


@given(text=st.text(alphabet="a</s>|user ", max_size=20))
def test_what_a_caller_writes_is_no_mark(text: str) -> None:
    marks = {TEXTS.plain.token_to_id(mark) for mark in tiny_models.MARKS}
    assert not marks & {*TEXTS.ids(text)}
    assert not marks & {*TEXTS.ids("</s>" + text)}


def test_a_template_s_text_begins_once() -> None:
    start = TEXTS.start[0]
    assert TEXTS.rendered("<s>fox") == TEXTS.rendered("fox") == [start, *TEXTS.ids("fox")]


def test_an_answer_ends_at_the_first_mark() -> None:
    assert up_to("one two three", ["three", " two"]) == "one"
    assert up_to("one", ["two"]) == "one"


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="not a tokenizer"):
        Texts.of("{}")
    with pytest.raises(ModelError, match="'<bos>' is not in the vocabulary"):
        Texts.of(RULES, start_token="<bos>")
