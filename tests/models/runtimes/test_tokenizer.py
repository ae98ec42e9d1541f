"""Texts to batches of token ids."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from tokenizers import Tokenizer as Rules
from tokenizers import normalizers, pre_tokenizers
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from tamis.models.errors import ModelError
from tamis.models.runtimes import tokenizer as tokenizer_module
from tamis.models.runtimes.tokenizer import Tokenizer

PIECES = [
    "a",
    "b",
    "ab",
    "Äb",
    "e\u0301",
    "\u0308",
    "fi",
    "ﬁ",
    "1",
    "23",
    "_",
    "'s",
    ".",
    "今",
    "天",
]
PIECES += [" ", "  ", "\n", " \n ", "\t", "\xa0", "\x1f", "\u200b", "▁", "Σ", "[SEP]"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "bicycle", "##s", "apfel", "."]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small WordPiece, whose file asks for a length and a padding of its own."""
    rules = Rules(WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    rules.normalizer = BertNormalizer(lowercase=True)
    rules.pre_tokenizer = BertPreTokenizer()
    rules.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    rules.enable_truncation(4)
    rules.enable_padding(length=16)
    rules.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_batch_is_padded_to_its_longest(folder: Path) -> None:
    batch = Tokenizer.open(folder, max_length=32).encode(["red", "A red bicycles.", ""])
    assert batch.input_ids.tolist() == [
        [2, 5, 3, 0, 0, 0, 0],
        [2, 4, 5, 6, 7, 9, 3],
        [2, 3, 0, 0, 0, 0, 0],
    ]
    assert batch.attention_mask.tolist() == (batch.input_ids != 0).astype(int).tolist()
    assert batch.lengths.tolist() == [3, 7, 2]
    assert all(array.dtype == np.int64 for array in batch.inputs(types=True).values())


def test_what_is_beyond_the_length_is_cut_and_the_end_is_kept(folder: Path) -> None:
    batch = Tokenizer.open(folder, max_length=4).encode(["a red bicycle"])
    assert batch.input_ids.tolist() == [[2, 4, 5, 3]]


def test_a_count_is_of_the_whole_text_without_special_tokens(folder: Path) -> None:
    tokenizer = Tokenizer.open(folder, max_length=4)
    assert tokenizer.counts(["a red bicycles", "", "red " * 100]) == [4, 0, 100]


def test_offsets_are_characters_of_the_text_as_it_was(folder: Path) -> None:
    text = "Ein  Äpfel: red"
    batch, (offsets,) = Tokenizer.open(folder, max_length=32).encode_with_offsets([text])
    assert [text[start:end] for start, end in offsets] == ["", "Ein", "Äpfel", ":", "red", ""]
    assert len(offsets) == batch.lengths[0]


def test_some_texts_of_a_batch_are_padded_to_their_own_longest(folder: Path) -> None:
    tokenizer = Tokenizer.open(folder, max_length=32)
    some = tokenizer.encode(["red", "a red bicycle", ""]).take(np.array([2, 0]))
    assert some.input_ids.tolist() == tokenizer.encode(["", "red"]).input_ids.tolist()


def test_no_texts_are_an_empty_batch(folder: Path) -> None:
    assert Tokenizer.open(folder, max_length=8).encode([]).input_ids.shape == (0, 0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json: no such file"):
        Tokenizer.open(tmp_path, max_length=8)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json: not a tokenizer: "):
        Tokenizer.open(tmp_path, max_length=8)


def test_a_pair_is_one_text(folder: Path) -> None:
    pair = Tokenizer.open(folder, max_length=8).encode([("red", "a bicycle")])
    assert pair.input_ids.tolist() == [[2, 5, 3, 4, 6, 3]]
    assert pair.token_type_ids.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_a_marker_follows_the_first_token(folder: Path) -> None:
    plain = Tokenizer.open(folder, max_length=8).encode(["red", ""])
    marked = plain.marked(8)
    assert marked.input_ids.tolist() == [[2, 8, 5, 3], [2, 8, 3, 0]]
    assert marked.lengths.tolist() == (plain.lengths + 1).tolist()


@pytest.mark.parametrize(("words", "exceeds"), [(0, False), (3, False), (4, True), (500, True)])
def test_a_text_that_is_too_long_is_known(folder: Path, words: int, exceeds: bool) -> None:
    assert Tokenizer.open(folder, max_length=5).exceeds("red " * words, 3) is exceeds


def word_piece() -> Rules:
    """As BERT's."""
    vocabulary = ["[UNK]", "[PAD]", *"abe1f_.今天", "##a", "##b", "##1", "ab", "fi"]
    rules = Rules(WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    rules.normalizer = BertNormalizer(lowercase=True)
    rules.pre_tokenizer = BertPreTokenizer()
    rules.add_special_tokens(["[SEP]"])
    return rules


def byte_level() -> Rules:
    """As GPT-2's, RoBERTa's and Qwen's."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("a", "b"), ("Ġ", "a"), ("Ġ", "ab"), ("Ġ", "Ġ"), ("2", "3")]
    vocabulary = [*letters, *("".join(pair) for pair in merges)]
    rules = Rules(BPE({w: i for i, w in enumerate(vocabulary)}, merges))
    rules.normalizer = normalizers.NFC()
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return rules


def unigram() -> Rules:
    """As XLM-R's and T5's. Which of a word's tokenizations is best depends on all of the word."""
    scores = {"<unk>": -9.0, "▁": -2.0, "ab": -1.5, "aba": -1.6, "bab": -1.7, "▁a": -2.5}
    scores |= dict.fromkeys("abefi123._", -3.0)
    rules = Rules(Unigram([*scores.items()], unk_id=0, byte_fallback=False))
    rules.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    rules.pre_tokenizer = pre_tokenizers.Metaspace()
    return rules


def one_word() -> Rules:
    """As Gemma's, which reads a whole text as one word."""
    merges = [("a", "b"), ("▁", "a"), ("▁", "ab"), ("▁", "▁"), ("▁▁", "▁▁")]
    vocabulary = ["<unk>", *"▁abef123._", *("".join(pair) for pair in merges)]
    rules = Rules(BPE({w: i for i, w in enumerate(vocabulary)}, merges, unk_token="<unk>"))
    rules.normalizer = normalizers.Replace(" ", "▁")
    return rules


@pytest.mark.parametrize("made", [word_piece, byte_level, unigram, one_word])
def test_a_long_text_is_read_as_it_would_be_whole(
    made: Callable[[], Rules], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With so few characters a token, the last that is read is often the last before a cut."""
    monkeypatch.setattr(tokenizer_module, "CHARACTERS_A_TOKEN", 1)
    whole = made()
    whole.save(str(tmp_path / "tokenizer.json"))
    whole.no_truncation()
    tokenizer = Tokenizer.open(tmp_path, max_length=5)

    @given(some.lists(some.sampled_from(PIECES), min_size=10, max_size=60).map("".join))
    def same(text: str) -> None:
        ids = whole.encode(text).ids
        batch = tokenizer.encode([text, "a"])
        assert batch.input_ids[0, : batch.lengths[0]].tolist() == ids[:5]
        _, (spans, _) = tokenizer.encode_with_offsets([text, "a"])
        assert spans.tolist() == [[*span] for span in whole.encode(text).offsets[:5]]
        for length in (3, len(ids) - 1, len(ids)):
            assert tokenizer.exceeds(text, length) is (len(ids) > length)

    same()


def test_of_a_text_of_a_million_tokens_little_is_tokenized(folder: Path) -> None:
    tokenizer, text = Tokenizer.open(folder, max_length=32), "a red bicycle " * 400_000
    started = time.perf_counter()
    assert tokenizer.encode([text]).lengths.tolist() == [32]
    assert tokenizer.exceeds(text, 30)
    beginning = time.perf_counter() - started
    started = time.perf_counter()
    assert tokenizer.counts([text[: len(text) // 20]]) == [60_000]
    assert beginning < time.perf_counter() - started


def test_white_space_alone_is_read_to_its_end(folder: Path) -> None:
    text = "red" + " " * 10_000 + "bicycle"
    assert Tokenizer.open(folder, max_length=8).encode([text]).input_ids.tolist() == [[2, 5, 6, 3]]


def test_padding_is_the_vocabularys_own(tmp_path: Path) -> None:
    rules = Rules(WordPiece({"<s>": 0, "<pad>": 1, "a": 2, "<unk>": 3}, unk_token="<unk>"))
    rules.pre_tokenizer = BertPreTokenizer()
    rules.save(str(tmp_path / "tokenizer.json"))
    batch = Tokenizer.open(tmp_path, max_length=8).encode(["a", "a a"])
    assert batch.input_ids.tolist() == [[2, 1], [2, 2]]
