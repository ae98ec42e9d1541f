"""What rerankers and refiners ask of a language model or a cross-encoder, whatever runs it.

Methods depend on these protocols only. The readouts are those that published systems use:

    CrossEncoder.logits                     a class head over a pair (monoBERT)
    SequenceClassifier.logits               a class head over the last token (RankLLaMA)
    LanguageModel.token_logits              the next token's logits at given ids (monoT5, RankT5)
    LanguageModel.token_log_probabilities   the same, normalised over the whole vocabulary (PRP)
    LanguageModel.span_log_likelihoods      how likely a given continuation is (TSARankLLM)
    LanguageModel.generate                  free text (RankGPT)

Calls take as many inputs as the caller has and batch them themselves; what an input gets does not
depend on its company. All may be called from several threads. Every run is counted with
`tamis.models.runtimes.usage`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from PIL.Image import Image

from tamis.models.errors import ModelError


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is ``system``, ``user`` or ``assistant``."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model goes on from: a text, or a conversation in the model's own chat template.

    The parts are tokenized one by one and joined: `images`, `prefix`, `text` or the rendered
    `messages`, then `answer`. Special tokens that a caller writes are read as plain text.

    Attributes:
        images: What comes first. With `messages`, they stand in the first turn of the user.
        prefix: What is the same from query to query, such as the document: the state of images
            and prefix may be kept for the next call. Not with `messages`.
        text: What is read as it is.
        messages: A conversation, instead of `text`; the model's mark of an answer follows it.
        answer: How the answer begins. An encoder-decoder reads it on the decoder's side.
    """

    images: tuple[Image, ...] = ()
    prefix: str = ""
    text: str = ""
    messages: tuple[Message, ...] = ()
    answer: str = ""

    def __post_init__(self) -> None:
        if self.messages and (self.prefix or self.text):
            raise ValueError("a prompt is a text or a conversation, not both")


@runtime_checkable
class CrossEncoder(Protocol):
    """A model that reads a query and a document together and gives logits of classes."""

    @property
    def labels(self) -> int:
        """How many logits a pair gets."""
        ...

    @property
    def max_tokens(self) -> int:
        """How many tokens of a pair it reads, special ones included; documents are cut to it."""
        ...

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Float[np.ndarray, "pairs labels"]:
        """The logits of each (query, document), in the same order."""
        ...


@runtime_checkable
class SequenceClassifier(Protocol):
    """A decoder with a head on the last token of what it is given, id by id."""

    @property
    def start_id(self) -> int:
        """The token that begins a text."""
        ...

    def token_ids(self, text: str) -> list[int]:
        """A text's tokens, without special ones."""
        ...

    def logits(self, sequences: Sequence[Sequence[int]]) -> Float[np.ndarray, "sequences labels"]:
        """The logits at the last token of each sequence, in the same order."""
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """A model that goes on from prompts: a decoder, an encoder-decoder, or one that sees images."""

    @property
    def reads_images(self) -> bool:
        """Whether prompts may have images."""
        ...

    @property
    def max_tokens(self) -> int:
        """How many tokens a prompt and its answer may have together."""
        ...

    def token_ids(self, text: str) -> list[int]:
        """A text's tokens, without special ones; the name of a special token is that token."""
        ...

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text is, without special ones."""
        ...

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        """Each text's beginning of at most `tokens` tokens."""
        ...

    def token_logits(
        self, prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> Float[np.ndarray, "prompts ids"]:
        """The raw logits of the next token, at `ids`.

        Raises:
            ModelError: The model gives log-probabilities only.
        """
        ...

    def token_log_probabilities(
        self, prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> Float[np.ndarray, "prompts ids"]:
        """Log-probabilities of the next token over the whole vocabulary, at `ids`.

        -inf where the model does not say: an endpoint may tell of the likeliest tokens only.
        """
        ...

    def span_log_likelihoods(
        self, prompts: Sequence[Prompt], spans: Sequence[str]
    ) -> list[Float[np.ndarray, " _"]]:
        """The log-probability of each token of each span, as what follows its prompt.

        Prompts that are alike, or share a `prefix`, are read once. An empty span has no tokens.
        """
        ...

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        """The likeliest answers, token by token, without the prompt and special tokens.

        Args:
            prompts: What to go on from.
            max_tokens: Tokens of one answer, at most.
            stop: Where an answer ends; the mark itself is left out.
        """
        ...


def single_token(model: LanguageModel, text: str) -> int:
    """The one token that a text is.

    Raises:
        ModelError: The text is none or several tokens in the model's vocabulary.
    """
    ids = model.token_ids(text)
    if len(ids) != 1:
        raise ModelError(f"{text!r} is {len(ids)} tokens in the model's vocabulary; it must be one")
    return ids[0]


def first_token(model: LanguageModel, text: str) -> int:
    """The first token that a text is written with, which is what papers read of a word.

    Raises:
        ModelError: The text has no token.
    """
    ids = model.token_ids(text)
    if not ids:
        raise ModelError(f"{text!r} has no token in the model's vocabulary")
    return ids[0]
