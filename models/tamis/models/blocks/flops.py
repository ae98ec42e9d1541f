"""How many floating-point operations a transformer takes, by formula.

Products of matrices are counted, two operations for each multiplication and addition: projections,
attention over all pairs of tokens (a causal mask saves nothing here), the feed-forward part. Norms
and the like, which take a few operations a number, are not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The sizes of one layer.

    Attributes:
        hidden: Of a token.
        queries: Of all its heads' queries together.
        keys: Of all its heads' keys together; values are as large.
        inner: Of the feed-forward part.
        matrices: Of the feed-forward part: 2, or 3 where it has a gate.
    """

    hidden: int
    queries: int
    keys: int
    inner: int
    matrices: int = 2

    def flops(self, tokens: int) -> int:
        """Of one pass over a sequence."""
        projections = 2 * self.hidden * (self.queries + self.keys)
        feed_forward = self.matrices * self.hidden * self.inner
        return 2 * tokens * (projections + feed_forward + 2 * tokens * self.queries)

    def probe_flops(self, rows: int, tokens: int) -> int:
        """Of looking at some rows of attention again, whose queries and keys are there."""
        return 2 * rows * tokens * self.queries


def linear(tokens: int, *sizes: int) -> int:
    """Of a chain of linear maps: `linear(n, a, b, c)` maps n tokens from a to b, and then to c."""
    return 2 * tokens * sum(a * b for a, b in pairwise(sizes))


def total(layer: Layer, counts: Iterable[int]) -> int:
    """Of like layers, each over its own count of tokens."""
    return sum(layer.flops(count) for count in counts)
