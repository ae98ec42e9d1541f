"""Refiners cut the best documents down to what a model should read.

One file a method, named after its paper; a frozen dataclass, as in `encoders`. It subclasses the
narrowest of these that fits and writes that one function:

    ScoreRefiner.score        rank every visual token, keep the best
    SelectRefiner.select      choose a subset of the visual tokens as a whole
    VisualRefiner.plan        anything else on visual tokens: merging, pooling
    TextRefiner.refine        a text, given the query
    LayerRefiner.keep         visual tokens between the layers of a language model
    KVRefiner.score           rank the tokens of a key-value cache, head by head
"""

from abc import abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.topk import top_k
from tamis.models.keep_plan import KeepPlan
from tamis.models.kv import LayerCache
from tamis.models.method import Method
from tamis.models.types import Query, VisualTokens


@dataclass(frozen=True, kw_only=True)
class Refiner(Method):
    """Makes a document smaller."""


@dataclass(frozen=True, kw_only=True)
class VisualRefiner(Refiner):
    """Keeps at most `budget` tokens of each image."""

    budget: int = 64

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"budget must be at least 1 token, not {self.budget}")

    @abstractmethod
    def plan(self, tokens: VisualTokens) -> KeepPlan:
        """What becomes of the tokens. Called only when there are more than the budget."""

    def refine(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens that remain, in raster order; all of them where the budget allows it."""
        return tokens if len(tokens) <= self.budget else self.plan(tokens).apply(tokens)


@dataclass(frozen=True, kw_only=True)
class SelectRefiner(VisualRefiner):
    """Keeps a subset of the tokens unchanged."""

    @abstractmethod
    def select(self, tokens: VisualTokens) -> Int[np.ndarray, " budget"]:
        """The indices of the tokens to keep, in any order. Called only when there are too many."""

    @final
    def plan(self, tokens: VisualTokens) -> KeepPlan:
        return KeepPlan.of_selected(self.select(tokens))


@dataclass(frozen=True, kw_only=True)
class ScoreRefiner(SelectRefiner):
    """Keeps the tokens with the highest scores."""

    @abstractmethod
    def score(self, tokens: VisualTokens) -> Float[np.ndarray, " tokens"]:
        """How much each token matters; higher is kept first."""

    @final
    def select(self, tokens: VisualTokens) -> Int[np.ndarray, " budget"]:
        return top_k(self.score(tokens), self.budget)


@dataclass(frozen=True, kw_only=True)
class TextRefiner(Refiner):
    """Keeps at most about `budget` tokens of each text."""

    budget: int = 256

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"budget must be at least 1 token, not {self.budget}")

    @abstractmethod
    def refine(self, query: Query, text: str) -> str:
        """What is left of `text` for this query; all of it where the budget allows it."""

    @abstractmethod
    def count(self, text: str) -> int:
        """How many tokens a text is, in the unit of `budget`."""


class Rows(StrEnum):
    """Whose attention to the visual tokens is looked at."""

    LAST = "last"  # the last token's, one row
    TEXT = "text"  # each text token's after the image


@dataclass(frozen=True, slots=True)
class Seen:
    """The visual tokens of one image on their way through a language model.

    Attributes:
        image: What the language model was given.
        left: Those of its tokens that are left, by their indices; of merged ones the kept one's.
        attention: The mean over the heads of what each row gave each of them in the layer before.
    """

    image: VisualTokens
    left: Int[np.ndarray, " left"]
    attention: Float[np.ndarray, "rows left"]


@dataclass(frozen=True, kw_only=True)
class LayerRefiner(Refiner):
    """Drops or merges visual tokens between the layers of a language model, in the prefill.

    Attributes:
        rows: Whose attention it wants to see.
        trims: Whether the cache of the layers before is cut to the tokens that are left at the end.
    """

    rows: ClassVar[Rows] = Rows.LAST
    trims: ClassVar[bool] = False

    @property
    @abstractmethod
    def layers(self) -> tuple[int, ...]:
        """The layers before which tokens go, from 0, rising. Before the first none can."""

    @abstractmethod
    def keep(self, layer: int, seen: Seen) -> KeepPlan:
        """What becomes of the tokens that are left, by their places in `seen.left`."""


@dataclass(frozen=True, kw_only=True)
class KVRefiner(Refiner):
    """Drops tokens from what a language model remembers of a context, after the prefill.

    Attributes:
        ratio: The share of the tokens that is dropped, in every layer and head alike.
    """

    ratio: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio must be from 0 to below 1, not {self.ratio}")

    @abstractmethod
    def score(self, layer: LayerCache) -> Float[np.ndarray, "kv_heads tokens"]:
        """How much each token matters to each head; higher is kept first."""

    @final
    def select(self, layer: LayerCache) -> Int[np.ndarray, "kv_heads kept"]:
        """The tokens that each head keeps, in their order; at least one."""
        kept = max(1, int(len(layer) * (1 - self.ratio)))
        if len(layer) == 1:
            return np.zeros((len(layer.keys), 1), dtype=np.int64)
        return np.sort([top_k(scores, kept) for scores in self.score(layer)], axis=1)
