"""Turns a query and documents into the pairs that a cross-encoder reads.

A pair that is too long loses the end of its document, never of its query; a query has a bound of
its own, so that a document always has room.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
import tokenizers

from tamis.models.errors import ModelError
from tamis.models.runtimes.tokenizer import Tokens, encode_beginnings


@dataclass(frozen=True, slots=True)
class PairTokenizer:
    """A cross-encoder's tokenizer. Several threads may use it at once.

    Attributes:
        rules: Those of its `tokenizer.json`.
        max_tokens: Of a pair, special ones included.
        query_tokens: Of a query, special ones not counted.
        padding_id: What fills rows.
    """

    rules: tokenizers.Tokenizer
    max_tokens: int
    query_tokens: int
    padding_id: int

    @classmethod
    def open(
        cls, folder: str | PathLike[str], *, max_tokens: int, query_tokens: int
    ) -> "PairTokenizer":
        """Reads a folder's `tokenizer.json`.

        Raises:
            ModelError: The file is missing or damaged, or has no room for a document.
        """
        path = Path(folder) / "tokenizer.json"
        try:
            rules = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ModelError(f"{path}: no such file") from error
        except Exception as error:  # tokenizers raises bare Exceptions
            raise ModelError(f"{path}: not a tokenizer: {error}") from error
        padding = (rules.padding or {}).get("pad_id")
        if padding is None:
            known = (rules.token_to_id(mark) for mark in ("[PAD]", "<pad>"))
            padding = next((found for found in known if found is not None), 0)
        rules.no_padding()
        rules.no_truncation()
        rules.encode_special_tokens = True  # what a caller writes is text
        added = rules.num_special_tokens_to_add(is_pair=True)
        if query_tokens + added >= max_tokens:
            raise ModelError(
                f"{path}: {query_tokens} tokens of a query and {added} special ones leave a "
                f"document no room in {max_tokens}"
            )
        return cls(rules, max_tokens, query_tokens, padding)

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[tokenizers.Encoding]:
        """Each pair's tokens with those that the model's rules put around them."""
        queries: dict[str, tokenizers.Encoding] = {}
        for query in {query for query, _ in pairs}:
            queries[query] = self.rules.encode(query, add_special_tokens=False)
            queries[query].truncate(self.query_tokens)
        documents = encode_beginnings(
            partial(self.rules.encode_batch_fast, add_special_tokens=False),
            [document for _, document in pairs],
            self.max_tokens,
        )
        added = self.rules.num_special_tokens_to_add(is_pair=True)
        for (query, _), document in zip(pairs, documents, strict=True):
            document.truncate(self.max_tokens - added - len(queries[query]))
        return [
            self.rules.post_process(queries[query], document)
            for (query, _), document in zip(pairs, documents, strict=True)
        ]

    def batch(self, encodings: Sequence[tokenizers.Encoding]) -> Tokens:
        """Some pairs as one batch, padded on the right to the longest of them."""
        shape = (len(encodings), max(map(len, encodings)))
        ids, mask, types = (
            np.full(shape, self.padding_id),
            np.zeros(shape, int),
            np.zeros(shape, int),
        )
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
            types[row, : len(encoding)] = encoding.type_ids
        return Tokens(ids, mask, types)
