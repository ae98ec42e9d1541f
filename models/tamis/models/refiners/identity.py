"""Keeps every visual token: what pruning costs is measured against it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.keep_plan import KeepPlan
from tamis.models.refiners import VisualRefiner
from tamis.models.types import VisualTokens

__all__ = ("Identity",)


@dataclass(frozen=True, kw_only=True)
class Identity(VisualRefiner):
    """The tokens as they are, whatever the budget."""

    checked: ClassVar = "by definition"
    departs: ClassVar = "the budget does not bind it"

    def plan(self, tokens: VisualTokens) -> KeepPlan:
        return KeepPlan.of_selected(np.arange(len(tokens)))

    def refine(self, tokens: VisualTokens) -> VisualTokens:
        return tokens
