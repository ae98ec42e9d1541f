"""MiniLM embeds sentences: a six-layer BERT, distilled, then trained to put like ones together.

One pass gives the sentence's embedding, the mean of its tokens' states, and the states themselves
for late interaction. Queries and documents are treated alike, and instructions are not read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.batches import alike
from tamis.models.blocks.similarity import unit
from tamis.models.encoders import Encoder, TokenStates
from tamis.models.runtimes.folder import ModelFolder, Recipe
from tamis.models.runtimes.onnx import OnnxSession
from tamis.models.runtimes.tokenizer import Tokenizer, Tokens
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Paper, Representation, Side

__all__ = ("MiniLM",)

SPECIAL = 2  # [CLS] before a text and [SEP] after it
ROOM = 8192  # tokens that one run reads, which bounds its memory
BYTES_A_TOKEN = 4  # of English in WordPiece, and near enough elsewhere to size a batch


@dataclass(frozen=True, kw_only=True)
class MiniLMRecipe(Recipe):
    """A sentence encoder's `model.toml`.

    Attributes:
        max_tokens: Tokens of one text that are read, the two special ones included.
    """

    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class MiniLM(Encoder):
    """A BERT whose sentence embedding is the mean of its tokens' states.

    Attributes:
        folder: As `python -m tamis.models.export.minilm` makes it.
        threads: Threads that one batch may use; 0 for one a core.
    """

    paper: ClassVar = Paper(
        "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained "
        "Transformers",
        2020,
        "https://arxiv.org/abs/2002.10957",
    )
    checked: ClassVar = "transformers' BertModel on the published weights of all-MiniLM-L6-v2"
    departs: ClassVar = (
        "the weights are sentence-transformers' all-MiniLM-L6-v2; its token vectors were trained "
        "for their mean, not for late interaction"
    )
    modalities: ClassVar = frozenset({Modality.TEXT})

    folder: str = "artifacts/minilm"
    threads: int = 0

    def __post_init__(self) -> None:
        _ = self._tokenizer, self._session  # a missing file is found now, not by a query

    @cached_property
    def _model(self) -> ModelFolder[MiniLMRecipe]:
        return ModelFolder.open(self.folder, MiniLMRecipe, "minilm", also=("tokenizer.json",))

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.open(self.folder, max_length=self._model.recipe.max_tokens)

    @cached_property
    def _session(self) -> OnnxSession:
        return OnnxSession.open(self._model.graph, threads=self.threads)

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._model.recipe
        return {
            "dense": Head(Kind.DENSE, recipe.dim, recipe.space),
            "tokens": Head(Kind.MULTI, recipe.dim, recipe.space),
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

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, which costs no tokenizing."""
        size = len((content.text or "").encode())
        return min(SPECIAL + size // BYTES_A_TOKEN, self._model.recipe.max_tokens)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read."""
        text = content.text or ""
        # A token is at least one byte, so a short text need not be counted.
        return len(text.encode()) > self.max_tokens and self.counts([text])[0] > self.max_tokens

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, special ones not counted, however long it is."""
        return self._tokenizer.counts(texts)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content. A text without any token has no `tokens`."""
        tokens = self._tokenizer.encode([content.text or "" for content in contents])
        return [Encoding(_heads(states)) for states in self._states(tokens)]

    def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
        """The states of each text's tokens; those beyond `max_tokens` are left out."""
        tokens, offsets = self._tokenizer.encode_with_offsets(texts)
        pairs = zip(self._states(tokens), offsets, strict=True)
        return [TokenStates(states[1:-1], spans[1:-1]) for states, spans in pairs]

    def _states(self, tokens: Tokens) -> list[Float[np.ndarray, "length dim"]]:
        """Each text's states, special tokens included, padding left out."""
        lengths = tokens.lengths
        states: dict[int, Float[np.ndarray, "length dim"]] = {}
        for group in alike(lengths, room=ROOM):
            made = self._session.run(tokens.take(group).inputs())["states"]
            states |= {int(i): own[: lengths[i]] for i, own in zip(group, made, strict=True)}
        return [states[i] for i in range(len(lengths))]


def _heads(states: Float[np.ndarray, "length dim"]) -> dict[str, Representation]:
    heads: dict[str, Representation] = {"dense": unit(states.mean(axis=0))}
    if len(states) > SPECIAL:
        heads["tokens"] = unit(states[1:-1])
    return heads
