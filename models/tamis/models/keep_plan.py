"""What becomes of an image's tokens: which are kept, and which others each of them takes in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tamis.models.types import VisualTokens


@dataclass(frozen=True, slots=True)
class KeepPlan:
    """A linear map from an image's tokens to fewer of them; it serialises as its four arrays.

    Each kept token is a weighted sum of tokens: of itself alone where it was only selected.

    Attributes:
        kept: The indices of the tokens that stand for what is kept, rising.
        rows: For each term of a sum, whose sum it is: a place in `kept`.
        columns: For each term, the token that is added.
        weights: For each term, what it is multiplied by.
    """

    kept: Int[np.ndarray, " kept"]
    rows: Int[np.ndarray, " terms"]
    columns: Int[np.ndarray, " terms"]
    weights: Float[np.ndarray, " terms"]

    @classmethod
    def of_selected(cls, kept: Int[np.ndarray, " kept"]) -> "KeepPlan":
        """Keeps the tokens at `kept`, in raster order, and drops the others."""
        kept = np.sort(kept)
        return cls(kept, np.arange(len(kept)), kept, np.ones(len(kept), dtype=np.float32))

    @classmethod
    def of_groups(
        cls, groups: Int[np.ndarray, " tokens"], weights: Float[np.ndarray, " tokens"]
    ) -> "KeepPlan":
        """Adds each token, times its weight, to the one whose index `groups` has at its place.

        A token whose own index stands there is kept; -1 drops a token.
        """
        columns = np.flatnonzero(groups >= 0)
        kept, rows = np.unique(groups[columns], return_inverse=True)
        return cls(kept, rows, columns, weights[columns].astype(np.float32))

    @classmethod
    def of_runs(cls, tokens: int, stride: int) -> "KeepPlan":
        """The mean of every `stride` tokens, at the place of the middle one."""
        runs = np.arange(tokens) // stride
        sizes = np.bincount(runs)
        middles = np.arange(len(sizes)) * stride + (sizes - 1) // 2
        return cls.of_groups(middles[runs], 1 / sizes[runs])

    def __len__(self) -> int:
        return len(self.kept)

    def matrix(self, tokens: int) -> Float[np.ndarray, "kept tokens"]:
        """The map as a dense matrix."""
        cells = self.rows * tokens + self.columns
        made = np.bincount(cells, self.weights, len(self) * tokens)
        return made.reshape(len(self), tokens).astype(np.float32)

    def owners(self, tokens: int) -> Int[np.ndarray, " tokens"]:
        """For each token the index of the kept one that stands for it, and -1 where none does.

        A kept token stands for itself; another, of several that take it in, belongs to the one in
        whose sum it weighs most.
        """
        made = np.full(tokens, -1)
        lightest_first = np.argsort(-self.weights, kind="stable")[
            ::-1
        ]  # the last one written stays
        made[self.columns[lightest_first]] = self.kept[self.rows[lightest_first]]
        made[self.kept] = self.kept
        return made

    def then(self, after: "KeepPlan") -> "KeepPlan":
        """This plan, and then one for what it kept, as one plan."""
        tokens = int(self.columns.max(initial=-1)) + 1
        both = after.matrix(len(self)) @ self.matrix(tokens)
        rows, columns = np.nonzero(both)
        return KeepPlan(self.kept[after.kept], rows, columns, both[rows, columns])

    def apply(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens that are left. Attention is added up; a place is that of the kept token."""
        if len(self.columns) == len(self) and (self.weights == 1).all():
            return tokens.take(self.columns)  # selected, not merged: nothing is computed
        embeddings, attention = tokens.embeddings, tokens.attention
        values = embeddings.astype(np.result_type(embeddings, np.float32), copy=False)
        # A dense product: BLAS is done with its zeros long before numpy has added up the few terms.
        merged = self.matrix(len(tokens)) @ values
        taken = np.bincount(self.rows, attention[self.columns], len(self))
        keys = None if tokens.keys is None else tokens.keys[self.kept]
        return VisualTokens(
            merged.astype(embeddings.dtype, copy=False),
            taken.astype(np.result_type(attention, np.float32), copy=False),
            tokens.positions[self.kept],
            tokens.grid,
            keys,
        )


def left_at_the_end(kept: Sequence[Int[np.ndarray, " _"]]) -> list[Int[np.ndarray, " _"]]:
    """What each of several prunings would have kept, had it known the later ones.

    Args:
        kept: For each pruning, what stayed of what there was before it.

    Returns:
        For each pruning, what is left at the end of what there was before it.
    """
    left: list[Int[np.ndarray, " _"]] = []
    for own in reversed(kept):
        left.append(own if not left else own[left[-1]])
    return left[::-1]
