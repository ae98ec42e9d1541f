"""ColBERT embeds a text as one small vector a token, for late interaction.

A query is filled up with [MASK] tokens, whose vectors stand for terms that it does not name; a
document's punctuation is left out.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.batches import MOST
from tamis.models.encoders import Encoder
from tamis.models.runtimes import Session
from tamis.models.runtimes.batched import ROOM, run_texts
from tamis.models.runtimes.folder import EncoderRecipe, ModelFolder
from tamis.models.runtimes.tokenizer import SPECIAL, Tokenizer, Tokens, estimate
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Paper, Side

__all__ = ("ColBERT",)


@dataclass(frozen=True, kw_only=True)
class ColBERTRecipe(EncoderRecipe):
    """ColBERT's `model.toml`.

    Attributes:
        query_tokens: Tokens of a query, all special ones included: shorter ones are filled up to
            it with the mask token, longer ones cut.
        document_tokens: Tokens of a document that are read, all special ones included.
        query_marker: The id of the token that follows a query's first one.
        document_marker: The same of a document.
        mask_token: The id that queries are filled up with.
        attend_to_mask_tokens: Whether a query's tokens see those that it was filled up with.
        mask_punctuation: Whether the vectors of a document's punctuation are left out.
    """

    query_tokens: int
    document_tokens: int
    query_marker: int
    document_marker: int
    mask_token: int
    attend_to_mask_tokens: bool = False
    mask_punctuation: bool = True


@dataclass(frozen=True, kw_only=True)
class ColBERT(Encoder):
    """A BERT whose token states are projected and kept.

    Attributes:
        folder: As `tamis export` makes it.
        threads: Threads that one batch may use; 0 for one a core.
    """

    paper: ClassVar = Paper(
        "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over "
        "BERT",
        2020,
        "https://arxiv.org/abs/2004.12832",
    )
    checked: ClassVar = (
        "transformers' BertModel in float64 with the paper's markers, masks and projection "
        "written out"
    )
    modalities: ClassVar = frozenset({Modality.TEXT})

    folder: str
    threads: int = 0

    def __post_init__(self) -> None:
        _ = self._tokenizers, self._session  # a missing file is found now, not by a query

    @cached_property
    def _model(self) -> ModelFolder[ColBERTRecipe]:
        return ModelFolder.open(self.folder, ColBERTRecipe, "colbert")

    @cached_property
    def _tokenizers(self) -> dict[Side, Tokenizer]:
        recipe = self._model.recipe  # the marker comes on top of what the tokenizer makes
        lengths = {Side.QUERY: recipe.query_tokens, Side.DOCUMENT: recipe.document_tokens}
        return {side: self._model.tokenizer(max_length=n - 1) for side, n in lengths.items()}

    @cached_property
    def _session(self) -> Session:
        return self._model.session("text", threads=self.threads)

    @cached_property
    def _punctuation(self) -> Int[np.ndarray, " ids"]:
        marks = self._tokenizers[Side.DOCUMENT].encode(list(string.punctuation)).input_ids
        return np.unique(marks[:, 1])

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._model.recipe
        return {"tokens": Head(Kind.MULTI, recipe.dim, recipe.space)}

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    @property
    def runtime(self) -> str:
        return self._session.runtime

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, which costs no tokenizing."""
        return estimate(content.text, self._model.recipe.document_tokens)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read, if it is a document's."""
        room = self._model.recipe.document_tokens - SPECIAL - 1
        return self._tokenizers[Side.DOCUMENT].exceeds(content.text or "", room)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        tokens = self._tokenizers[side].encode([content.text or "" for content in contents])
        if side is Side.QUERY:
            made = self._queries(tokens.marked(self._model.recipe.query_marker))
        else:
            made = self._documents(tokens.marked(self._model.recipe.document_marker))
        return [Encoding({"tokens": vectors}) for vectors in made]

    def _queries(self, tokens: Tokens) -> list[Float[np.ndarray, "tokens dim"]]:
        """The vectors of all tokens, those that a query is filled up with too."""
        recipe = self._model.recipe
        missing = ((0, 0), (0, recipe.query_tokens - tokens.input_ids.shape[1]))
        ids = np.pad(tokens.input_ids, missing)
        mask = np.pad(tokens.attention_mask, missing)
        ids[mask == 0] = recipe.mask_token
        if recipe.attend_to_mask_tokens:
            mask[:] = 1
        made: list[Float[np.ndarray, "tokens dim"]] = []
        each = max(1, min(MOST, ROOM // recipe.query_tokens))
        for first in range(0, len(ids), each):
            some = slice(first, first + each)
            run = self._session.run({"input_ids": ids[some], "attention_mask": mask[some]})
            made += [vectors.copy() for vectors in run["tokens"]]
        return made

    def _documents(self, tokens: Tokens) -> list[Float[np.ndarray, "tokens dim"]]:
        """The vectors of all tokens but punctuation."""
        kept = tokens.attention_mask == 1
        if self._model.recipe.mask_punctuation:
            kept &= ~np.isin(tokens.input_ids, self._punctuation)
        made = [one["tokens"] for one in run_texts(self._session, tokens)]
        return [vectors[own[: len(vectors)]] for vectors, own in zip(made, kept, strict=True)]
