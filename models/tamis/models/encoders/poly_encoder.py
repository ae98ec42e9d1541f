"""Poly-encoder embeds a query as a few vectors and a document as one.

Each of a query's vectors looks at its tokens in its own way. How well a document answers is a soft
maximum of its products with them: see the reranker of the same name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tamis.models.runtimes.batched import run_texts
from tamis.models.runtimes.folder_encoder import TextEncoder, TextRecipe
from tamis.models.types import Content, Encoding, Head, Kind, Paper, Side

__all__ = ("PolyEncoder",)


@dataclass(frozen=True, kw_only=True)
class PolyEncoderRecipe(TextRecipe):
    """Poly-encoder's `model.toml`.

    Attributes:
        n_first: How many of a query's first states are its vectors; 0 where learned codes are.
    """

    n_first: int = 0


@dataclass(frozen=True, kw_only=True)
class PolyEncoder(TextEncoder[PolyEncoderRecipe]):
    """Two BERTs: the graph `query` makes a few vectors, the graph `document` one."""

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
    method: ClassVar = "poly_encoder"
    recipe: ClassVar = PolyEncoderRecipe
    graphs: ClassVar = tuple(Side)

    @property
    def heads(self) -> Mapping[str, Head]:
        """A document's `poly` has one row."""
        recipe = self._recipe
        return {"poly": Head(Kind.MULTI, recipe.dim, recipe.space)}

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        tokens = self._tokenizer.encode([content.text or "" for content in contents])
        made = [one["poly"] for one in run_texts(self._sessions[side], tokens)]
        if side is Side.QUERY and self._recipe.n_first:  # not the states of padding
            made = [own[:length] for own, length in zip(made, tokens.lengths, strict=True)]
        return [Encoding({"poly": vectors.copy()}) for vectors in made]
