"""Encoders turn contents into representations: dense, sparse, or one vector a token.

One file a method, named after its paper. To add one, write the file; nothing else is edited.
A method is a frozen dataclass: its fields are its settings, and a model is a field of its own type,
opened from a folder. One forward pass gives every head.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from PIL.Image import Image

from tamis.models.method import Method
from tamis.models.types import Content, Encoding, Head, Modality, Side


@dataclass(frozen=True, kw_only=True)
class Encoder(Method):
    """Maps queries and documents into the spaces that they are searched in.

    Attributes:
        modalities: What it reads; a content that has none of them is not given to it.
    """

    modalities: ClassVar[frozenset[Modality]]

    @property
    @abstractmethod
    def heads(self) -> Mapping[str, Head]:
        """What it makes, by the heads' names."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A short digest of the weights and the input recipe: equal means interchangeable."""

    @property
    def runtime(self) -> str:
        """What runs it, such as ``onnxruntime CPUExecutionProvider``; empty without weights."""
        return ""

    def cost(self, content: Content) -> int:
        """How much work a content is, in tokens or a like unit, for forming batches."""
        return 1

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content is not read, because it is too long."""
        return False

    @abstractmethod
    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content, in the same order. Called from worker threads.

        A head whose input a content lacks is left out of its encoding.
        """


@runtime_checkable
class PictureEncoder(Protocol):
    """An encoder of pictures that shows which part of one it reads."""

    def framed(self, image: Image, scale: int) -> Image:
        """That part of a picture, `scale` times as wide and high as the encoder reads it."""
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
