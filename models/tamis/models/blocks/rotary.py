"""Rotary position embeddings, as Llama and its kin apply them: halves are turned against halves."""

import numpy as np
from jaxtyping import Float, Int


def turns(
    positions: Int[np.ndarray, " n"], inverse_frequencies: Float[np.ndarray, " half"]
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, "n dim"]]:
    """The cosine and the sine by which each position turns each of the two halves."""
    angles = np.outer(positions, inverse_frequencies.astype(np.float64))
    both = np.concatenate([angles, angles], axis=1)
    return np.cos(both).astype(np.float32), np.sin(both).astype(np.float32)


def rotate(
    vectors: Float[np.ndarray, "*heads n dim"],
    positions: Int[np.ndarray, " n"],
    inverse_frequencies: Float[np.ndarray, " half"],
) -> Float[np.ndarray, "*heads n dim"]:
    """The vectors turned by their positions. Turning by -p undoes turning by p."""
    cosine, sine = turns(positions, inverse_frequencies)
    first, second = np.split(vectors, 2, axis=-1)
    return vectors * cosine + np.concatenate([-second, first], axis=-1) * sine


def mean_rotation(
    positions: Int[np.ndarray, " n"], inverse_frequencies: Float[np.ndarray, " half"]
) -> Float[np.ndarray, "dim dim"]:
    """The mean over the positions of the matrices that turn a vector."""
    cosine, sine = (values.mean(axis=0) for values in turns(positions, inverse_frequencies))
    half = len(inverse_frequencies)
    swap = np.zeros((2 * half, 2 * half), dtype=np.float32)
    swap[half:, :half], swap[:half, half:] = np.eye(half), -np.eye(half)
    return np.diag(cosine) + sine[:, None] * swap
