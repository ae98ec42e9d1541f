"""Turns texts into the token ids that a model reads, by the rules of its `tokenizer.json`."""

from collections.abc import Sequence
from dataclasses import dataclass
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


def estimate(text: str | None, max_tokens: int) -> int:
    """About how many tokens of a text are read, special ones included; costs no tokenizing."""
    return min(SPECIAL + len((text or "").encode()) // BYTES_A_TOKEN, max_tokens)


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
        return cls(whole, cut)

    def encode(self, texts: Sequence[str | tuple[str, str]]) -> Tokens:
        """The texts, or pairs of them, as one batch."""
        return _batch(self.cut.encode_batch_fast(list(texts)))

    def encode_with_offsets(
        self, texts: Sequence[str]
    ) -> tuple[Tokens, list[Int[np.ndarray, "tokens 2"]]]:
        """The texts as one batch, and for each where its tokens begin and end, in characters.

        Special tokens stand for no characters: theirs are 0 and 0.
        """
        encodings = self.cut.encode_batch(list(texts))
        batch = _batch(encodings)
        spans = [np.array(encoding.offsets, dtype=np.int64) for encoding in encodings]
        return batch, [own[:length] for own, length in zip(spans, batch.lengths, strict=True)]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, without special ones; none is cut."""
        encodings = self.whole.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def exceeds(self, text: str, tokens: int) -> bool:
        """Whether a text is longer than so many tokens, special ones not counted."""
        short = TOKENS_A_BYTE * len(text.encode()) <= tokens
        return not short and self.counts([text])[0] > tokens


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
