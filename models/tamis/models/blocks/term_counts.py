"""How often a text's terms count as occurring, by how much a model says that they matter."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.words import WORD, dimension, words

MODES = ("avg", "sum", "max", "position_decay_avg", "position_decay_sum")


def word_weights(
    text: str, spans: Int[np.ndarray, "tokens 2"], weights: Float[np.ndarray, " tokens"]
) -> dict[str, float]:
    """Each word's weight: that of its first token; of several occurrences, the largest.

    Args:
        text: The text.
        spans: Where its tokens begin and end, in characters; special tokens are empty.
        weights: The tokens'.
    """
    starts = {
        int(start): float(weight)
        for (start, end), weight in zip(spans[::-1], weights[::-1], strict=True)
        if end > start
    }
    found: dict[str, float] = {}
    for match in WORD.finditer(text):
        weight = next((starts[i] for i in range(*match.span()) if i in starts), None)
        for word in words(match.group()) if weight is not None else ():
            found[word] = max(found.get(word, -np.inf), weight or 0.0)
    return found


def deepct_counts(weights: Mapping[str, float], scale: int) -> dict[int, float]:
    """DeepCT's counts, by dimension: the weights times `scale`, rounded; not those below 1."""
    return {
        dimension(word): float(round(weight * scale))
        for word, weight in weights.items()
        if weight * scale >= 1
    }


def hdct_counts(passages: Sequence[Mapping[str, float]], scale: int, mode: str) -> dict[int, float]:
    """HDCT's counts, by dimension: those of its passages together, rounded down.

    A passage's count is the root of the weight times `scale`, rounded. Early passages count more
    in the modes that decay: the p-th has 1 / p of its own count.
    """
    decays = mode.startswith("position_decay")
    shares = [1 / place if decays else 1.0 for place in range(1, len(passages) + 1)]
    parts: dict[int, list[float]] = {}
    for weights, share in zip(passages, shares, strict=True):
        for word, weight in weights.items():
            if weight > 0 and (count := round(scale * weight**0.5)):
                parts.setdefault(dimension(word), []).append(share * count)
    whole = sum(shares) if mode.endswith("avg") else 1.0
    together = max if mode == "max" else sum
    counts = {term: float(int(together(own) / whole)) for term, own in parts.items()}
    return {term: count for term, count in counts.items() if count}
