"""What a language model remembers of a context: keys and values, layer by layer."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.rotary import rotate


@dataclass(frozen=True, slots=True)
class LayerCache:
    """One attention layer after a prefill of `tokens` tokens, at positions from 0.

    Several query heads share a key head: the first `heads // kv_heads` the first one, and so on.

    Attributes:
        keys: After their rotation.
        values: As they are.
        queries: Before their rotation, so that they can be moved to later positions.
        inverse_frequencies: Of the rotation, in turns of a radian a position.
    """

    keys: Float[np.ndarray, "kv_heads tokens dim"]
    values: Float[np.ndarray, "kv_heads tokens dim"]
    queries: Float[np.ndarray, "heads tokens dim"]
    inverse_frequencies: Float[np.ndarray, " half"]

    def __len__(self) -> int:
        return self.keys.shape[1]

    def attention(self, last: int) -> Float[np.ndarray, "heads last tokens"]:
        """What each of the `last` queries attends to; nothing after itself."""
        heads, count, dim = self.queries.shape
        first = count - last
        asked = rotate(self.queries[:, first:], np.arange(first, count), self.inverse_frequencies)
        keys = np.repeat(self.keys, heads // len(self.keys), axis=0)
        logits = asked @ keys.transpose(0, 2, 1) / np.sqrt(dim)
        logits[:, np.arange(count) > np.arange(first, count)[:, None]] = -np.inf
        return softmax(logits)

    def over_groups(
        self, of_queries: Float[np.ndarray, "heads tokens"]
    ) -> Float[np.ndarray, "kv_heads tokens"]:
        """The mean over the query heads that share a key head."""
        return of_queries.reshape(len(self.keys), -1, of_queries.shape[-1]).mean(axis=1)


def softmax(logits: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Shares that add up to 1 on the last axis; -inf has none."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def gathered(
    array: Float[np.ndarray, "kv_heads tokens dim"], kept: Int[np.ndarray, "kv_heads kept"]
) -> Float[np.ndarray, "kv_heads kept dim"]:
    """Each head's own tokens."""
    return np.take_along_axis(array, kept[:, :, None], axis=1)
