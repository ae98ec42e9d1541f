"""Poly-encoder embeds a query as a few vectors and a document as one.

Each of a query's vectors looks at its tokens in its own way. How well a document answers is a soft
maximum of its products with them: see the reranker of the same name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tamis.models.encoders import Encoder
from tamis.models.runtimes import Session
from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.folder import EncoderRecipe, ModelFolder
from tamis.models.runtimes.tokenizer import SPECIAL, Tokenizer, estimate
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Paper, Side

__all__ = ("PolyEncoder",)


@dataclass(frozen=True, kw_only=True)
class PolyEncoderRecipe(EncoderRecipe):
    """Poly-encoder's `model.toml`.

    Attributes:
        max_tokens: Tokens of one text that are read, special ones included.
        n_first: How many of a query's first states are its vectors; 0 where learned codes are.
    """

    max_tokens: int
    n_first: int = 0


@dataclass(frozen=True, kw_only=True)
class PolyEncoder(Encoder):
    """Two BERTs: the graph `query` makes a few vectors, the graph `document` one.

    Attributes:
        folder: As `tamis export` makes it.
        threads: Threads that one batch may use; 0 for one a core.
    """

    paper: ClassVar = Paper(
        "Poly-encoders: Transformer Architectures and Pre-training Strategies for Fast and "
        "Accurate Multi-sentence Scoring",
        2020,
        "https://arxiv.org/abs/1905.01969",
    )
    checked: ClassVar = (
        "golden data of the paper's formula, learned codes (basic, sqrt) and n-first"
    )
    departs: ClassVar = (
        "the towers are Hugging Face's BERTs, as no weights are published in safetensors; "
        "multi-head code attention is not there"
    )
    modalities: ClassVar = frozenset({Modality.TEXT})

    folder: str
    threads: int = 0

    def __post_init__(self) -> None:
        _ = self._tokenizer, self._sessions  # a missing file is found now, not by a query

    @cached_property
    def _model(self) -> ModelFolder[PolyEncoderRecipe]:
        return ModelFolder.open(self.folder, PolyEncoderRecipe, "poly_encoder")

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._model.tokenizer(max_length=self._model.recipe.max_tokens)

    @cached_property
    def _sessions(self) -> dict[Side, Session]:
        return {side: self._model.session(side, threads=self.threads) for side in Side}

    @property
    def heads(self) -> Mapping[str, Head]:
        """A document's `poly` has one row."""
        recipe = self._model.recipe
        return {"poly": Head(Kind.MULTI, recipe.dim, recipe.space)}

    @property
    def fingerprint(self) -> str:
        return self._model.fingerprint

    @property
    def runtime(self) -> str:
        return self._sessions[Side.QUERY].runtime

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, which costs no tokenizing."""
        return estimate(content.text, self._model.recipe.max_tokens)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read."""
        return self._tokenizer.exceeds(content.text or "", self._model.recipe.max_tokens - SPECIAL)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        tokens = self._tokenizer.encode([content.text or "" for content in contents])
        made = [one["poly"] for one in run_texts(self._sessions[side], tokens)]
        if side is Side.QUERY and self._model.recipe.n_first:  # not the states of padding
            made = [own[:length] for own, length in zip(made, tokens.lengths, strict=True)]
        return [Encoding({"poly": vectors.copy()}) for vectors in made]
