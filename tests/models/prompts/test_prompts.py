"""Prompts as data."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from language import Parrot

from tamis.models.errors import SettingsError
from tamis.models.prompts import FOLDER, Template, load
from tamis.models.runtimes.language import Message


@given(value=st.text(), other=st.text())
def test_what_is_put_in_a_place_is_never_read_as_a_template(value: str, other: str) -> None:
    template = Template("a {first} b {second} c {first}")
    filled = template.fill(first=value + "{second}", second=other)
    assert filled == f"a {value}{{second}} b {other} c {value}{{second}}"


def test_a_place_without_a_value_is_named() -> None:
    with pytest.raises(SettingsError, match=r"has a place \{sceond\}; known: first"):
        Template("{first} {sceond}").fill(first="x")


def test_only_the_chosen_value_is_cut() -> None:
    fitted = Template("q {query} d {document}").fit(
        Parrot(), 6, ["one two three four", "one"], "document", query="a b"
    )
    assert fitted == ["q a b d one two", "q a b d one"]


def test_texts_that_grow_where_they_meet_still_fit() -> None:
    """A tokenizer for which the place's neighbours cost a token more than alone."""

    class Sticky(Parrot):
        def counts(self, texts: Sequence[str]) -> list[int]:
            return [len(text.split()) + 2 * text.count("four <") for text in texts]

    (fitted,) = Template("> {document} <").fit(
        Sticky(), 6, ["one two three four five six"], "document"
    )
    assert fitted == "> one two <"


def test_a_query_that_fills_the_room_leaves_no_document() -> None:
    (fitted,) = Template("{query} {document}").fit(
        Parrot(), 2, ["one two"], "document", query="a b c"
    )
    assert fitted == "a b c "


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_every_file_can_be_read_and_says_what_depends_on_it(name: str) -> None:
    assert load(name).table
    assert (FOLDER / f"{name}.toml").read_text().startswith("# ")


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('prompt = "{x}?"\n[[turns]]\nrole = "user"\ntext = "hi {x}"\n')
    prompts = load(str(path))
    assert prompts.template("prompt").fill(x=1) == "1?"
    assert prompts.conversation("turns", x=2) == (Message("user", "hi 2"),)
    with pytest.raises(SettingsError, match="promtp: expected a text, got None"):
        prompts.text("promtp")
    with pytest.raises(SettingsError, match="prompt: expected messages"):
        prompts.conversation("prompt")
    with pytest.raises(SettingsError, match=r"no such file; known: .*monot5"):
        load("monot6")
