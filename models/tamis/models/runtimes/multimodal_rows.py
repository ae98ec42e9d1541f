"""What FLMR and PreFLMR read of a query, by their recipe, and which of its rows count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from tamis.models.runtimes.late_interaction import MarkedRecipe
from tamis.models.runtimes.transform import ImageTransform
from tamis.models.types import Content

MARKED = 2  # of the first rows, [CLS] and the marker, which an instruction does not hide


@dataclass(frozen=True, kw_only=True)
class FLMRRecipe(MarkedRecipe):
    """FLMR's or PreFLMR's `model.toml`.

    Attributes:
        instruction_end: The id of the token that ends an instruction: rows up to the first one
            are left out. None where the model knows no instructions.
        features: The width of a picture's features.
        patches: How many patches of a picture are mapped, each to a row; 0 for none.
        separate: Whether documents have a vision tower of their own.
        transform: What is done to a picture before it is looked at.
    """

    instruction_end: int | None = None
    features: int
    patches: int
    separate: bool = False
    transform: ImageTransform


class Seen(NamedTuple):
    """What a vision tower makes of pictures."""

    features: Float[np.ndarray, "images width"]
    patches: Float[np.ndarray, "images patches width"] | None

    def take(self, images: Sequence[int]) -> dict[str, np.ndarray]:
        """The inputs of a side's graph for some of the pictures, one region each."""
        inputs = {"features": self.features[images][:, None]}
        return inputs if self.patches is None else inputs | {"patches": self.patches[images]}


def asked(content: Content, recipe: FLMRRecipe) -> str:
    """A query's words, after its instruction if the model knows instructions."""
    text = content.text or ""
    if recipe.instruction_end is None or not content.instruction:
        return text
    return f"{content.instruction.rstrip(' :')}: {text}"


def query_rows(
    ids: Int[np.ndarray, "texts length"], instruction_end: int | None
) -> Bool[np.ndarray, "texts length"]:
    """Which rows of queries count: not those of an instruction, up to the token that ends it.

    Without such a token there is no instruction, and all rows count.
    """
    if instruction_end is None:
        return np.ones(ids.shape, dtype=bool)
    ends = ids == instruction_end
    order = np.arange(ids.shape[1])
    last = np.where(ends.any(axis=1), ends.argmax(axis=1), -1)
    return (order < MARKED) | (order > last[:, None])
