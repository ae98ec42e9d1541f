"""Turns texts into the token ids that a model reads, by the rules of its `tokenizer.json`.

A long text costs no more than what is read of it: of a text of a million tokens, whose first 256 a
model reads, no more than some thousand characters are tokenized.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import Int

from tamis.models.errors import ModelError

SPECIAL = 2  # [CLS] before a text and [SEP] after it; <s> and </s> of RoBERTa
BYTES_A_TOKEN = 4  # of English in WordPiece, and near enough elsewhere to size a batch
TOKENS_A_BYTE = 8  # at most: NFKC makes 18 characters of 3 bytes, and a space may precede them
CHARACTERS_A_TOKEN = 8  # more than most languages have
# No normalizer and no token joins what is on both sides of such a space: up to there, a text's
# tokens are the same without what follows.
BETWEEN_WORDS = re.compile(r"(?<=[^\W_]) (?=[^\W_])")


def estimate(text: str | None, max_tokens: int) -> int:
    """About how many tokens of a text are read, special ones included; costs no tokenizing."""
    return min(SPECIAL + len((text or "").encode()) // BYTES_A_TOKEN, max_tokens)


Text = str | tuple[str, str]


def encode_beginnings(
    encode: Callable[[list[Text]], list[tokenizers.Encoding]], texts: Sequence[Text], tokens: int
) -> list[tokenizers.Encoding]:
    """The texts' encodings, which have their first `tokens` tokens, and all where they are fewer.

    Args:
        encode: The tokenizer, which may cut and pad.
        texts: Texts, or pairs, which are always tokenized to their end.
        tokens: As many as are of use.
    """
    characters = CHARACTERS_A_TOKEN * tokens
    while True:
        beginnings = [
            text if isinstance(text, tuple) else _beginning(text, characters) for text in texts
        ]
        encodings = encode(beginnings)
        if all(
            len(own) == len(text) or sum(encoding.attention_mask) >= tokens
            for own, text, encoding in zip(beginnings, texts, encodings, strict=True)
        ):
            return encodings
        characters *= 4  # white space, or words that are longer than the most


def _beginning(text: str, characters: int) -> str:
    """The text's first characters, so many or some more."""
    between = BETWEEN_WORDS.search(text, characters)
    return text[: between.start()] if between else text


@dataclass(frozen=True, slots=True)
class Tokens:
    """A batch of texts as a BERT reads it: padded on the right to the longest of them.

    Attributes:
        input_ids: The tokens, special ones included.
        attention_mask: 1 for tokens, 0 for padding.
        token_type_ids: Which segment a token is of; 0 for texts that are not pairs.
    """

    input_ids: Int[np.ndarray, "texts length"]
    attention_mask: Int[np.ndarray, "texts length"]
    token_type_ids: Int[np.ndarray, "texts length"]

    @property
    def lengths(self) -> Int[np.ndarray, " texts"]:
        """How many tokens each text is, special ones included."""
        return self.attention_mask.sum(axis=1)

    def take(self, texts: Int[np.ndarray, " kept"]) -> "Tokens":
        """The texts at `texts`, in that order, padded to the longest of them."""
        length = int(self.lengths[texts].max(initial=0))
        return Tokens(
            self.input_ids[texts, :length],
            self.attention_mask[texts, :length],
            self.token_type_ids[texts, :length],
        )

    def marked(self, marker: int) -> "Tokens":
        """The texts with one more token after their first."""
        columns = zip(
            (self.input_ids, self.attention_mask, self.token_type_ids), (marker, 1, 0), strict=True
        )
        return Tokens(*(np.insert(column, 1, value, axis=1) for column, value in columns))

    def inputs(self, *, types: bool = False) -> dict[str, np.ndarray]:
        """The batch under the names of a graph's inputs.

        Args:
            types: Whether the graph also reads which segment a token is of.
        """
        inputs = {"input_ids": self.input_ids, "attention_mask": self.attention_mask}
        return inputs | {"token_type_ids": self.token_type_ids} if types else inputs


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A model's tokenizer. Several threads may use it at once."""

    whole: tokenizers.Tokenizer
    cut: tokenizers.Tokenizer
    max_length: int

    @classmethod
    def open(cls, folder: str | PathLike[str], *, max_length: int) -> "Tokenizer":
        """Reads a folder's `tokenizer.json`.

        Args:
            folder: Where it is.
            max_length: Tokens of one text, special ones included; what is beyond is left out.

        Raises:
            ModelError: The file is missing or damaged.
        """
        path = Path(folder) / "tokenizer.json"
        try:
            rules = path.read_text(encoding="utf-8")
            whole, cut = tokenizers.Tokenizer.from_str(rules), tokenizers.Tokenizer.from_str(rules)
        except FileNotFoundError as error:
            raise ModelError(f"{path}: no such file") from error
        except Exception as error:  # tokenizers raises bare Exceptions
            raise ModelError(f"{path}: not a tokenizer: {error}") from error
        padding = cut.padding or _padding(cut)
        for tokenizer in (whole, cut):  # the file may bring a length of its own
            tokenizer.no_padding()
            tokenizer.no_truncation()
        cut.enable_truncation(max_length)
        cut.enable_padding(pad_id=padding["pad_id"], pad_token=padding["pad_token"])
        return cls(whole, cut, max_length)

    def encode(self, texts: Sequence[Text]) -> Tokens:
        """The texts, or pairs of them, as one batch."""
        return _batch(encode_beginnings(self.cut.encode_batch_fast, texts, self.max_length))

    def encode_with_offsets(
        self, texts: Sequence[str]
    ) -> tuple[Tokens, list[Int[np.ndarray, "tokens 2"]]]:
        """The texts as one batch, and for each where its tokens begin and end, in characters.

        Special tokens stand for no characters: theirs are 0 and 0.
        """
        encodings = encode_beginnings(self.cut.encode_batch, texts, self.max_length)
        batch = _batch(encodings)
        spans = [np.array(encoding.offsets, dtype=np.int64) for encoding in encodings]
        return batch, [own[:length] for own, length in zip(spans, batch.lengths, strict=True)]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, without special ones; none is cut."""
        encodings = self.whole.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def exceeds(self, text: str, tokens: int) -> bool:
        """Whether a text is longer than so many tokens, special ones not counted."""
        if TOKENS_A_BYTE * len(text.encode()) <= tokens:
            return False
        encode = partial(self.whole.encode_batch_fast, add_special_tokens=False)
        (encoding,) = encode_beginnings(encode, [text], tokens + 1)
        return len(encoding) > tokens


def _padding(tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
    """The padding of a tokenizer whose file does not say it: BERT's or RoBERTa's, if it has it."""
    for token in ("[PAD]", "<pad>"):
        if (known := tokenizer.token_to_id(token)) is not None:
            return {"pad_id": known, "pad_token": token}
    return {"pad_id": 0, "pad_token": "[PAD]"}


def _batch(encodings: Sequence[tokenizers.Encoding]) -> Tokens:
    shape = (len(encodings), len(encodings[0]) if encodings else 0)
    return Tokens(
        np.array([encoding.ids for encoding in encodings], dtype=np.int64).reshape(shape),
        np.array([e.attention_mask for e in encodings], dtype=np.int64).reshape(shape),
        np.array([e.type_ids for e in encodings], dtype=np.int64).reshape(shape),
    )
