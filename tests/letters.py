"""A text encoder for tests, without weights: a word is a token, and its state is drawn from it."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tamis.models.encoders import TokenStates

WORD = re.compile(r"\S+")
DIM = 16


@dataclass(frozen=True)
class Letters:
    """A `TokenEncoder` whose states are the same in every context."""

    max_tokens: int = 12

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
        return [self._states(text) for text in texts]

    def _states(self, text: str) -> TokenStates:
        words = list(WORD.finditer(text))[: self.max_tokens]
        states = [state(word.group()) for word in words]
        return TokenStates(
            np.array(states, dtype=np.float32).reshape(-1, DIM),
            np.array([word.span() for word in words], dtype=np.int64).reshape(-1, 2),
        )


def state(word: str) -> np.ndarray:
    """A word's state: like words without punctuation have the same one."""
    seed = zlib.crc32(re.sub(r"\W", "", word).lower().encode())
    return np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
