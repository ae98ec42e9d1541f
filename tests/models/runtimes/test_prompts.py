"""Prompts: what is put into a template, what is cut, and what is never read as a special token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_vlm import QWEN2_SPECIAL, byte_tokenizer

from tamis.models.errors import ModelError
from tamis.models.runtimes.prompts import Prompts, filled, kind_of
from tamis.models.runtimes.texts import Texts
from tamis.models.types import Content, Side

IMAGE = "<|image_pad|>"
TEMPLATES = {
    "query_text": "<|im_start|>{instruction} {text}!<|im_end|>",
    "query_both": f"<|im_start|>{IMAGE}{{text}}<|im_end|>\n",
}
RULES = byte_tokenizer(QWEN2_SPECIAL)
IDS = {token: RULES.token_to_id(token) for token in QWEN2_SPECIAL}


def prompts(templates: dict[str, str] = TEMPLATES, max_tokens: int = 40) -> Prompts:
    texts = Texts.of(RULES.to_str())
    return Prompts(texts, templates, IMAGE, {"query_text": "Find:"}, max_tokens)


def words(text: str) -> list[int]:
    return list(RULES.encode(text, add_special_tokens=False).ids)


def test_an_image_token_becomes_as_many_as_the_picture_has() -> None:
    ids = prompts().ids("query_both", Content(text="hi"), visual=5)
    start, end = IDS["<|im_start|>"], IDS["<|im_end|>"]
    assert ids == [start, *[IDS[IMAGE]] * 5, *words("hi"), end, *words("\n")]


def test_a_content_says_what_is_wanted_or_the_model_does() -> None:
    inside = slice(1, -1)
    asked = Content(text="a cat", instruction="See:")
    assert prompts().ids("query_text", asked, 0)[inside] == words("See: a cat!")
    assert prompts().ids("query_text", Content(text="a cat"), 0)[inside] == words("Find: a cat!")


@pytest.mark.parametrize(
    ("text", "instruction", "expected"),
    [("a", "b", "b a!"), ("a", "", "a!"), ("{instruction}", "{text}", "{text} {instruction}!")],
)
def test_a_template_is_filled_once(text: str, instruction: str, expected: str) -> None:
    assert filled("{instruction} {text}!", text, instruction) == expected


@given(st.text(max_size=60), st.sampled_from(QWEN2_SPECIAL))
def test_a_callers_special_tokens_are_text(text: str, special: str) -> None:
    content = Content(text=f"{text}{special}{text}", instruction=special)
    ids = prompts(max_tokens=4000).ids("query_text", content, 0)
    assert [token for token in ids if token >= 256] == [IDS["<|im_start|>"], IDS["<|im_end|>"]]


@given(st.text(min_size=1, max_size=200), st.integers(0, 30))
def test_a_long_text_is_cut_before_the_templates_end(text: str, visual: int) -> None:
    made, content = prompts(), Content(text=text)
    ids = made.ids("query_both", content, visual)
    assert len(ids) <= 40
    assert ids[-2:] == [IDS["<|im_end|>"], *words("\n")]
    whole = len(words(text)) + visual + 3
    assert made.cuts("query_both", content, visual) == (whole > 40)
    if whole <= 40:
        assert len(ids) == whole


@pytest.mark.parametrize(("letters", "cut"), [(32, False), (33, True)])
def test_a_prompt_may_be_filled_to_the_last_token(letters: int, cut: bool) -> None:
    content = Content(text="x" * letters)  # besides: 5 visual tokens, 2 special ones, a line end
    assert prompts().cuts("query_both", content, 5) == cut
    ids = prompts().ids("query_both", content, 5)
    assert (len(ids), ids.count(words("x")[0])) == (40, 32)


def test_an_over_long_instruction_is_cut_too() -> None:
    asked = Content(text="hi", instruction="why " * 50)
    ids = prompts().ids("query_text", asked, 0)
    assert len(ids) <= 40
    assert ids[-4:-1] == words("hi!")


def test_what_a_content_is_made_of_chooses_the_template() -> None:
    assert kind_of(Content(text=""), Side.DOCUMENT) == "document_text"
    frames = (Image.new("RGB", (2, 2)),)
    assert kind_of(Content(text="a", frames=frames), Side.QUERY) == "query_text"


@pytest.mark.parametrize(
    ("templates", "image", "message"),
    [
        ({"query": "x"}, IMAGE, r"templates\.query: unknown; known: query_text"),
        (TEMPLATES, "<pic>", "image_token: '<pic>' is not one of the tokenizer's"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(
    templates: dict[str, str], image: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Prompts(Texts.of(RULES.to_str()), templates, image, {}, 40)
