"""What encoders share that keep a vector a token and tell queries from documents by a marker."""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Bool, Int

from tamis.models.runtimes.folder import EncoderRecipe
from tamis.models.runtimes.folder_encoder import FolderEncoder
from tamis.models.runtimes.tokenizer import SPECIAL, Tokenizer, Tokens, estimate
from tamis.models.types import Content, Head, Kind, Side


@dataclass(frozen=True, kw_only=True)
class MarkedRecipe(EncoderRecipe):
    """The `model.toml` of such an encoder.

    Attributes:
        query_tokens: Tokens of a query, all special ones included: shorter ones are filled up to
            it with the mask token, whose vectors count, and longer ones cut.
        document_tokens: Tokens of a document that are read, all special ones included.
        query_marker: The id of the token that follows a query's first one.
        document_marker: The same of a document.
        mask_token: The id that queries are filled up with.
    """

    query_tokens: int
    document_tokens: int
    query_marker: int
    document_marker: int
    mask_token: int


M = TypeVar("M", bound=MarkedRecipe)


@dataclass(frozen=True, kw_only=True)
class MarkedEncoder(FolderEncoder[M], Generic[M]):
    """An encoder of a vector a token, whose texts begin with the marker of their side."""

    def __post_init__(self) -> None:
        _ = self._tokenizers
        super().__post_init__()

    @cached_property
    def _tokenizers(self) -> dict[Side, Tokenizer]:
        recipe = self._recipe  # the marker comes on top of what the tokenizer makes
        lengths = {Side.QUERY: recipe.query_tokens, Side.DOCUMENT: recipe.document_tokens}
        return {side: self._model.tokenizer(max_length=n - 1) for side, n in lengths.items()}

    @cached_property
    def _punctuation(self) -> Int[np.ndarray, " ids"]:
        marks = self._tokenizers[Side.DOCUMENT].encode(list(string.punctuation)).input_ids
        return np.unique(marks[:, 1])

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._recipe
        return {"tokens": Head(Kind.MULTI, recipe.dim, recipe.space)}

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, which costs no tokenizing."""
        return estimate(content.text, self._recipe.document_tokens)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read, if it is a document's."""
        room = self._recipe.document_tokens - SPECIAL - 1
        return self._tokenizers[Side.DOCUMENT].exceeds(content.text or "", room)

    def _words(self, tokens: Tokens) -> Bool[np.ndarray, "texts length"]:
        """Which tokens are neither padding nor punctuation."""
        return (tokens.attention_mask == 1) & ~np.isin(tokens.input_ids, self._punctuation)


def filled(
    tokens: Tokens, recipe: MarkedRecipe
) -> tuple[Int[np.ndarray, "texts length"], Int[np.ndarray, "texts length"]]:
    """Queries' ids, filled up with the mask token, and what is attended to."""
    missing = ((0, 0), (0, recipe.query_tokens - tokens.input_ids.shape[1]))
    mask = np.pad(tokens.attention_mask, missing)
    ids = np.where(mask == 1, np.pad(tokens.input_ids, missing), recipe.mask_token)
    return ids, mask
