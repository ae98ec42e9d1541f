"""What feeds and runs an exported model. Each file holds one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int


@runtime_checkable
class Session(Protocol):
    """A loaded graph. Safe to call from several threads."""

    @property
    def runtime(self) -> str:
        """What runs it, such as ``onnxruntime CPUExecutionProvider``."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one batch; names and shapes are the exported graph's."""
        ...


@dataclass(frozen=True, slots=True)
class TokenStates:
    """What an encoder makes of one text, token by token; special tokens are left out.

    Attributes:
        states: The last hidden states.
        offsets: The first character of each token and the one after its last.
    """

    states: Float[np.ndarray, "tokens dim"]
    offsets: Int[np.ndarray, "tokens 2"]


@runtime_checkable
class TokenEncoder(Protocol):
    """A text encoder that also says what it makes of each token in its context."""

    @property
    def max_tokens(self) -> int:
        """How many tokens of one text it reads, special ones not counted."""
        ...

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, special ones not counted, however long it is."""
        ...

    def token_states(self, texts: Sequence[str]) -> list[TokenStates]:
        """The states of each text's tokens; those beyond `max_tokens` are left out."""
        ...
