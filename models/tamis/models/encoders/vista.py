"""VISTA lets a text encoder see: a picture's patches are read as tokens before the words.

BGE embeds texts as ever; of a picture, EVA-02's patches are projected to tokens that stand behind
the first one. One vector for a text, a picture, or both.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import numpy as np
from jaxtyping import Float, Int

from tamis.models.runtimes.tokenizer import Tokenizer, Tokens
from tamis.models.runtimes.towers import FeatureFusion, TowersRecipe
from tamis.models.types import Paper

__all__ = ("Vista",)


@dataclass(frozen=True, kw_only=True)
class VistaRecipe(TowersRecipe):
    """VISTA's `model.toml`.

    Attributes:
        first_position: Of a text's first token where there is no picture: 0, or 2 in the
            multilingual model. With a picture it is 0 in both.
    """

    first_position: int


@dataclass(frozen=True, kw_only=True)
class Vista(FeatureFusion):
    """BGE (base, or the multilingual M3) with EVA-02 patches among its tokens."""

    paper: ClassVar = Paper(
        "VISTA: Visualized Text Embedding For Universal Multi-Modal Retrieval",
        2024,
        "https://arxiv.org/abs/2406.04292",
    )
    checked: ClassVar = (
        "the authors' code on tiny random weights of the base and the multilingual model: text, "
        "picture and both within 5e-5, through PyTorch and ONNX"
    )
    departs: ClassVar = "long texts are cut at the encoder's length, where the authors' code fails"
    method: ClassVar = "vista"

    recipe: ClassVar = VistaRecipe

    def _max_tokens(self, *, beside_image: bool) -> int:
        """A picture's tokens take positions from the text's."""
        return self._recipe.text.max_tokens - (self._patches if beside_image else 0)

    @cached_property
    def _missing(self) -> Float[np.ndarray, "0 width"]:
        """No states: a text alone is read as BGE reads it."""
        return np.zeros((0, self._recipe.dim), dtype=np.float32)

    @cached_property
    def _shorter(self) -> Tokenizer:
        return self._model.tokenizer(max_length=self._max_tokens(beside_image=True))

    def _cutter(self, states: int) -> Tokenizer:
        return self._shorter if states else self._tokenizer

    def _inputs(self, tokens: Tokens, states: int) -> dict[str, np.ndarray]:
        return super()._inputs(tokens, states) | {"position_ids": self._places(tokens, states)}

    def _places(self, tokens: Tokens, states: int) -> Int[np.ndarray, "texts length"]:
        """The tokens' positions. A picture's have 1 to `states`, behind the text's first."""
        count = np.broadcast_to(np.arange(tokens.input_ids.shape[1]), tokens.input_ids.shape)
        if states:
            return np.where(count == 0, 0, count + states)
        # Padding is masked, so where it stands makes no difference.
        return np.where(tokens.attention_mask == 1, count + self._first, 0)

    @property
    def _first(self) -> int:
        return cast(VistaRecipe, self._recipe).first_position
