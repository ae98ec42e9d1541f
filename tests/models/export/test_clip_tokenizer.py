"""CLIP's tokenizer made of its older files, against transformers'."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import CLIPTokenizer

from tamis.models.errors import ModelError
from tamis.models.export.checkpoint import Checkpoint
from tamis.models.export.clip_tokenizer import OPENAI, of_merges, tokenizer_json

MERGES = [
    ("t", "h"),
    ("th", "e</w>"),
    ("r", "e"),
    ("re", "d</w>"),
    ("i", "n"),
    ("in", "g</w>"),
    ("'", "s</w>"),
    ("Ã", "¤"),
    ("o", "o"),
]
RULES = of_merges(MERGES)
OURS = Tokenizer.from_str(RULES)
VOCABULARY = json.loads(RULES)["model"]["vocab"]
REFERENCE = CLIPTokenizer(vocab=VOCABULARY, merges=MERGES)  # type: ignore[arg-type]


@given(st.text() | st.text(alphabet="aeiothrdngs' 'S1é\u00e4.!\n", max_size=40))
def test_any_text_is_cut_as_transformers_cuts_it(text: str) -> None:
    assert OURS.encode(text).ids == REFERENCE(text)["input_ids"]


def test_words_are_merged() -> None:
    tokens = OURS.encode("The RED thing's  moon ä").tokens
    assert " ".join(tokens[1:-1]) == "the</w> red</w> th ing</w> 's</w> m oo n</w> Ã ¤</w>"


def test_the_numbers_are_openais() -> None:
    """Of its published vocabulary: 256 bytes, the same at a word's end, merges, and two marks."""
    known = {"!": 0, "a": 64, "!</w>": 256, "a</w>": 320, "b</w>": 321, "th": 512}
    assert known.items() <= VOCABULARY.items()
    assert OURS.encode("").ids == [512 + len(MERGES), 513 + len(MERGES)]


@pytest.mark.parametrize("form", ["tokenizer.json", "vocab.json", OPENAI])
def test_it_is_made_of_whichever_file_is_there(tmp_path: Path, form: str) -> None:
    lines = "\n".join(["#version: 0.2", *(" ".join(merge) for merge in MERGES), ""])
    if form == "tokenizer.json":
        (tmp_path / form).write_text(RULES)
    elif form == "vocab.json":
        (tmp_path / form).write_text(json.dumps(VOCABULARY))
        (tmp_path / "merges.txt").write_text(lines)
    else:
        (tmp_path / form).write_bytes(gzip.compress(lines.encode()))
    made = Tokenizer.from_str(tokenizer_json(Checkpoint.open(tmp_path)))
    assert made.encode("the red thing").ids == OURS.encode("the red thing").ids


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has no tokenizer\.json, no vocab\.json with merges\.txt, and no bpe_simple"),
        ({OPENAI: b"not gzip"}, r"bpe_simple_vocab_16e6\.txt\.gz: cannot be read: Not a gzipped"),
        ({OPENAI: gzip.compress(b"#\na b c\n")}, 'a merge of 3 parts, not 2: "a b c"'),
        (
            {"vocab.json": b'{"a": 0}', "merges.txt": b"#\na b\n"},
            r"vocab\.json and merges\.txt do not agree",
        ),
        ({"vocab.json": b'{"a": 0}', "merges.txt": b"#\n"}, r"<\|startoftext\|>: missing"),
    ],
)
def test_files_that_make_no_tokenizer_are_named(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        tokenizer_json(Checkpoint.open(tmp_path))
