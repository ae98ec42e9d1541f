"""A BERT bi-encoder embeds a text alone: its tokens' states, pooled to one vector.

Serves the sentence encoders of the field (Sentence-BERT, BGE, E5 and their like, over BERT, RoBERTa
and XLM-R). Their pooling, further layers and normalisation are in the graph; what is put before a
query or a passage is in `model.toml`. One pass gives the embedding and each token's vector.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.similarity import unit
from tamis.models.encoders import TokenStates
from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.folder_encoder import TextEncoder, TextRecipe
from tamis.models.runtimes.tokenizer import SPECIAL
from tamis.models.types import Content, Encoding, Head, Kind, Paper, Representation, Side

__all__ = ("Bert",)


@dataclass(frozen=True, kw_only=True)
class BertRecipe(TextRecipe):
    """A sentence encoder's `model.toml`.

    Attributes:
        width: The length of a token's vector; `dim` is that of the embedding.
        query_prefix: What is put before a query.
        document_prefix: What is put before a document.
    """

    width: int
    query_prefix: str = ""
    document_prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class Bert(TextEncoder[BertRecipe]):
    """A BERT, RoBERTa or XLM-R whose pooled states are a text's embedding."""

    paper: ClassVar[Paper | None] = Paper(
        "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
        2019,
        "https://arxiv.org/abs/1908.10084",
    )
    checked: ClassVar = (
        "transformers' BertModel, RobertaModel and XLMRobertaModel on random weights, every "
        "pooling; sentence-transformers 6.2 on all-MiniLM-L6-v2"
    )
    departs: ClassVar = "its token vectors were trained for pooling, not for late interaction"
    method: ClassVar = "bert"
    recipe: ClassVar = BertRecipe
    graphs: ClassVar = ("text",)

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._recipe
        return {
            "dense": Head(Kind.DENSE, recipe.dim, recipe.space),
            "tokens": Head(Kind.MULTI, recipe.width, recipe.space),
        }

    @property
    def max_tokens(self) -> int:
        """How many tokens of one text it reads, special ones not counted."""
        return self._recipe.max_tokens - SPECIAL

    @cached_property
    def _room(self) -> int:
        """How many tokens of a content's text it reads, after the longer prefix."""
        recipe = self._recipe
        return self.max_tokens - max(self.counts([recipe.query_prefix, recipe.document_prefix]))

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, special ones not counted, however long it is."""
        return self._tokenizer.counts(texts)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content. A text without any token has no `tokens`."""
        recipe = self._recipe
        prefix = recipe.query_prefix if side is Side.QUERY else recipe.document_prefix
        texts = [(prefix + (content.text or "")).strip() for content in contents]
        tokens = self._tokenizer.encode(texts)
        made = run_texts(self._sessions["text"], tokens)
        return [
            Encoding(_heads(one["embedding"].copy(), one["states"][1 : length - 1]))
            for one, length in zip(made, tokens.lengths, strict=True)
        ]

    def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
        """The states of each text's tokens; those beyond `max_tokens` are left out."""
        tokens, offsets = self._tokenizer.encode_with_offsets(texts)
        made = run_texts(self._sessions["text"], tokens)
        return [
            TokenStates(one["states"][1 : len(spans) - 1], spans[1:-1])
            for one, spans in zip(made, offsets, strict=True)
        ]


def _heads(
    embedding: Float[np.ndarray, " dim"], states: Float[np.ndarray, "length width"]
) -> dict[str, Representation]:
    heads: dict[str, Representation] = {"dense": embedding}
    if len(states):
        heads["tokens"] = unit(states)
    return heads
