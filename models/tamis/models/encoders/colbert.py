"""ColBERT embeds a text as one small vector a token, for late interaction.

A query is filled up with [MASK] tokens, whose vectors stand for terms that it does not name; a
document's punctuation is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.batches import MOST
from tamis.models.runtimes.batched import ROOM, run_texts
from tamis.models.runtimes.late_interaction import MarkedEncoder, MarkedRecipe, filled
from tamis.models.runtimes.tokenizer import Tokens
from tamis.models.types import Content, Encoding, Modality, Paper, Side

__all__ = ("ColBERT",)


@dataclass(frozen=True, kw_only=True)
class ColBERTRecipe(MarkedRecipe):
    """ColBERT's `model.toml`.

    Attributes:
        attend_to_mask_tokens: Whether a query's tokens see those that it was filled up with.
        mask_punctuation: Whether the vectors of a document's punctuation are left out.
    """

    attend_to_mask_tokens: bool = False
    mask_punctuation: bool = True


@dataclass(frozen=True, kw_only=True)
class ColBERT(MarkedEncoder[ColBERTRecipe]):
    """A BERT whose token states are projected and kept."""

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
    method: ClassVar = "colbert"
    recipe: ClassVar = ColBERTRecipe
    graphs: ClassVar = ("text",)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        tokens = self._tokenizers[side].encode([content.text or "" for content in contents])
        if side is Side.QUERY:
            made = self._queries(tokens.marked(self._recipe.query_marker))
        else:
            made = self._documents(tokens.marked(self._recipe.document_marker))
        return [Encoding({"tokens": vectors}) for vectors in made]

    def _queries(self, tokens: Tokens) -> list[Float[np.ndarray, "tokens dim"]]:
        """The vectors of all tokens, those that a query is filled up with too."""
        recipe = self._recipe
        ids, mask = filled(tokens, recipe)
        if recipe.attend_to_mask_tokens:
            mask[:] = 1
        made: list[Float[np.ndarray, "tokens dim"]] = []
        each = max(1, min(MOST, ROOM // recipe.query_tokens))
        for first in range(0, len(ids), each):
            some = slice(first, first + each)
            run = self._sessions["text"].run({"input_ids": ids[some], "attention_mask": mask[some]})
            made += [vectors.copy() for vectors in run["tokens"]]
        return made

    def _documents(self, tokens: Tokens) -> list[Float[np.ndarray, "tokens dim"]]:
        """The vectors of all tokens but punctuation."""
        masked = self._recipe.mask_punctuation
        kept = self._words(tokens) if masked else tokens.attention_mask == 1
        made = [one["tokens"] for one in run_texts(self._sessions["text"], tokens)]
        return [vectors[own[: len(vectors)]] for vectors, own in zip(made, kept, strict=True)]
