"""What listwise rerankers ask of models that are built for nothing else: an order of what is shown.

Both name each candidate once, because they choose only among those that are left. Unlike a
`LanguageModel`, they read candidates apart from one another, or as one vector each.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from tamis.models.runtimes.language import Prompt

PLACEHOLDER = "<PLACEHOLDER>"  # where a prompt has an embedding in place of words


@runtime_checkable
class FusionInDecoder(Protocol):
    """An encoder-decoder that encodes texts one by one and decodes over all of them at once."""

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        """Each text's beginning of at most `tokens` tokens."""
        ...

    def orders(self, groups: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[int]]:
        """The places of each group's texts in the order in which the model names them.

        Args:
            groups: Texts that are read together.
            names: What the model calls the first text, the second and so on; one token each.

        Raises:
            ModelError: A name is not one token of the model's.
        """
        ...


@runtime_checkable
class EmbeddingReader(Protocol):
    """A decoder that reads passages as one embedding each, and names them by these embeddings."""

    @property
    def dim(self) -> int:
        """The length of a passage's embedding."""
        ...

    def order(self, prompt: Prompt, embeddings: Float[np.ndarray, "passages dim"]) -> list[int]:
        """The passages' places in the order in which the model names them.

        Args:
            prompt: With a `PLACEHOLDER` for each passage, in their order.
            embeddings: Of the passages, in unit length.

        Raises:
            InputError: The prompt is longer than what the model reads.
        """
        ...
