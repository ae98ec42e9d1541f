"""What a context is made of, and where it comes from."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from tamis.models.contexts.key_values import KeyValues
from tamis.models.types import VisualTokens


@dataclass(frozen=True, slots=True)
class SoftPrompt:
    """Vectors that stand for a text in a language model's input."""

    vectors: Float[np.ndarray, "tokens dim"]


Payload = str | VisualTokens | SoftPrompt | KeyValues


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made a context. What is not known, or does not apply, is empty.

    Attributes:
        model: The model that reads it; tokens of another one mean nothing to it.
        revision: Of the model.
        tokenizer: A digest of the tokenizer.
        rope: A digest of the rotary frequencies.
        method: The refiner, such as `keydiff`.
        settings: The refiner's.
        documents: Digests of the documents, in the order in which the model read them.
    """

    model: str = ""
    revision: str = ""
    tokenizer: str = ""
    rope: str = ""
    method: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    documents: tuple[str, ...] = ()
