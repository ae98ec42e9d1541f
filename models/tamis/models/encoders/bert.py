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
from tamis.models.encoders import Encoder, TokenStates
from tamis.models.runtimes import Session
from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.folder import EncoderRecipe, ModelFolder
from tamis.models.runtimes.tokenizer import SPECIAL, Tokenizer, estimate
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Paper, Representation, Side

__all__ = ("Bert",)


@dataclass(frozen=True, kw_only=True)
class BertRecipe(EncoderRecipe):
    """A sentence encoder's `model.toml`.

    Attributes:
        max_tokens: Tokens of one text that are read, the two special ones included.
        width: The length of a token's vector; `dim` is that of the embedding.
        query_prefix: What is put before a query.
        document_prefix: What is put before a document.
    """

    max_tokens: int
    width: int
    query_prefix: str = ""
    document_prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class Bert(Encoder):
    """A BERT, RoBERTa or XLM-R whose pooled states are a text's embedding.

    Attributes:
        folder: As `tamis export` makes it.
        threads: Threads that one batch may use; 0 for one a core.
    """

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
    modalities: ClassVar = frozenset({Modality.TEXT})
    method: ClassVar = "bert"

    folder: str
    threads: int = 0

    def __post_init__(self) -> None:
        _ = self._tokenizer, self._session  # a missing file is found now, not by a query

    @cached_property
    def _model(self) -> ModelFolder[BertRecipe]:
        return ModelFolder.open(self.folder, BertRecipe, self.method)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._model.tokenizer(max_length=self._model.recipe.max_tokens)

    @cached_property
    def _session(self) -> Session:
        return self._model.session("text", threads=self.threads)

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._model.recipe
        return {
            "dense": Head(Kind.DENSE, recipe.dim, recipe.space),
            "tokens": Head(Kind.MULTI, recipe.width, recipe.space),
        }

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    @property
    def runtime(self) -> str:
        return self._session.runtime

    @property
    def max_tokens(self) -> int:
        """How many tokens of one text it reads, special ones not counted."""
        return self._model.recipe.max_tokens - SPECIAL

    @cached_property
    def _room(self) -> int:
        """How many tokens of a content's text it reads, after the longer prefix."""
        recipe = self._model.recipe
        return self.max_tokens - max(self.counts([recipe.query_prefix, recipe.document_prefix]))

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, which costs no tokenizing."""
        return estimate(content.text, self._model.recipe.max_tokens)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read."""
        return self._tokenizer.exceeds(content.text or "", self._room)

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, special ones not counted, however long it is."""
        return self._tokenizer.counts(texts)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content. A text without any token has no `tokens`."""
        recipe = self._model.recipe
        prefix = recipe.query_prefix if side is Side.QUERY else recipe.document_prefix
        texts = [(prefix + (content.text or "")).strip() for content in contents]
        tokens = self._tokenizer.encode(texts)
        made = run_texts(self._session, tokens)
        return [
            Encoding(_heads(one["embedding"].copy(), one["states"][1 : length - 1]))
            for one, length in zip(made, tokens.lengths, strict=True)
        ]

    def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
        """The states of each text's tokens; those beyond `max_tokens` are left out."""
        tokens, offsets = self._tokenizer.encode_with_offsets(texts)
        made = run_texts(self._session, tokens)
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
