"""Pairs of texts, token by token."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
from transformers import AutoTokenizer

from tamis.models.errors import ModelError
from tamis.models.runtimes.pairs import PairTokenizer

PAIRS = [("the fox", "a lazy dog " * 30), ("the fox", ""), ("", "two kites"), ("fox " * 90, "dog")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.bert_classifier(tmp_path_factory.mktemp("models") / "bert")


def test_pairs_are_those_of_transformers_and_a_document_loses_its_end(folder: Path) -> None:
    pairs = PairTokenizer.open(folder, max_tokens=64, query_tokens=16)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    encodings = pairs.encode(PAIRS)
    # Of an empty document transformers makes no pair at all.
    for encoding, (query, document) in zip(encodings[:3:2], PAIRS[:3:2], strict=True):
        expected = tokenizer(
            query, document, truncation="only_second", max_length=64, return_token_type_ids=True
        )
        assert encoding.ids == expected.input_ids
        assert encoding.type_ids == expected.token_type_ids


def test_a_document_of_a_million_tokens_is_read_as_its_beginning(folder: Path) -> None:
    pairs = PairTokenizer.open(folder, max_tokens=64, query_tokens=16)
    long, short = (("the fox", "a lazy dog " * count) for count in (300_000, 100))
    one, other = pairs.encode([long, short])
    assert one.ids == other.ids
    assert len(one) == 64


def test_a_long_query_leaves_the_document_its_room(folder: Path) -> None:
    pairs = PairTokenizer.open(folder, max_tokens=64, query_tokens=16)
    encoding = pairs.encode(PAIRS)[3]
    assert encoding.type_ids.count(0) == 16 + 2
    assert encoding.type_ids.count(1) > 1
    with pytest.raises(ModelError, match="leave a document no room in 18"):
        PairTokenizer.open(folder, max_tokens=18, query_tokens=16)


def test_special_tokens_are_text(folder: Path) -> None:
    pairs = PairTokenizer.open(folder, max_tokens=64, query_tokens=16)
    (encoding,) = pairs.encode([("[SEP]", "[CLS] dog")])
    assert (encoding.ids.count(2), encoding.ids.count(3)) == (1, 2)


def test_a_batch_is_padded_on_the_right(folder: Path) -> None:
    pairs = PairTokenizer.open(folder, max_tokens=64, query_tokens=16)
    encodings = pairs.encode(PAIRS)
    batch = pairs.batch(encodings)
    assert batch.lengths.tolist() == [len(encoding) for encoding in encodings]
    for row, encoding in zip(batch.input_ids, encodings, strict=True):
        assert row[: len(encoding)].tolist() == encoding.ids
        assert (row[len(encoding) :] == pairs.padding_id).all()
