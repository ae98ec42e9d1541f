"""Language models in model folders, on ONNX Runtime: what does not depend on how they are built."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from tamis.models.blocks.batches import alike
from tamis.models.blocks.probability import log_softmax
from tamis.models.runtimes.folder import ModelFolder, Recipe
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.texts import Texts, up_to

ROOM = 8192  # tokens that one run reads, padding included, which bounds its memory
LOGITS = 1 << 26  # that one run gives: 256 MB, which vocabularies reach before rooms do

State = Float[np.ndarray, "layers 2 batch heads tokens dim"]
Chosen = Int[np.ndarray, " rows"]
Staying = Bool[np.ndarray, " rows"]
GoOn = Callable[[Chosen, Staying], Float[np.ndarray, "staying vocabulary"]]


@dataclass(frozen=True, kw_only=True)
class LanguageRecipe(Recipe):
    """What every language model's `model.toml` says.

    Attributes:
        max_tokens: That it reads and writes together; of an encoder-decoder, that its encoder
            reads.
        vocabulary: How many logits a token gets.
        layers: Of the attention state.
        heads: Of the keys and values.
        head_dim: Of one head.
        start_token: What begins a text; empty for nothing.
        end_ids: The tokens that end an answer.
    """

    max_tokens: int
    vocabulary: int
    layers: int
    heads: int
    head_dim: int
    start_token: str = ""
    end_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for key in ("max_tokens", "vocabulary", "layers", "heads", "head_dim"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, not {getattr(self, key)}")

    def no_state(self, batch: int) -> State:
        """The state of no tokens."""
        return np.zeros((self.layers, 2, batch, self.heads, 0, self.head_dim), dtype=np.float32)


R = TypeVar("R", bound=LanguageRecipe)


@dataclass(frozen=True, kw_only=True)
class OnnxLanguageModel(ABC):
    """The part of a `LanguageModel` that decoders and encoder-decoders share.

    Attributes:
        recipe: What its `model.toml` says.
        texts: Its tokenizer.
        room: Tokens that one run reads, padding included.
    """

    recipe: LanguageRecipe
    texts: Texts
    room: int = ROOM

    def __post_init__(self) -> None:
        if self.room < 1:
            raise ValueError(f"room must be at least 1, not {self.room}")

    @property
    def reads_images(self) -> bool:
        return False

    @property
    def max_tokens(self) -> int:
        return self.recipe.max_tokens

    def token_ids(self, text: str) -> list[int]:
        texts = self.texts
        special = text in texts.special
        return texts.rendered(text)[len(texts.start) :] if special else texts.ids(text)

    def counts(self, texts: Sequence[str]) -> list[int]:
        return self.texts.counts(texts)

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        return self.texts.cut(texts, tokens)

    def token_logits(
        self, prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> Float[np.ndarray, "prompts ids"]:
        return self._read(prompts, lambda logits: logits[list(ids)], len(ids))

    def token_log_probabilities(
        self, prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> Float[np.ndarray, "prompts ids"]:
        return self._read(prompts, lambda logits: log_softmax(logits)[list(ids)], len(ids))

    @abstractmethod
    def _last(
        self, prompts: Sequence[Prompt], pick: Callable[[np.ndarray], np.ndarray]
    ) -> list[np.ndarray]:
        """What `pick` takes of the logits of each prompt's next token."""

    def _read(
        self, prompts: Sequence[Prompt], pick: Callable[[np.ndarray], np.ndarray], count: int
    ) -> Float[np.ndarray, "prompts ids"]:
        picked = self._last(prompts, pick)
        return np.array(picked, dtype=np.float32).reshape(len(prompts), count)

    def _batches(self, lengths: Sequence[int], wanted: Sequence[int]) -> list[list[int]]:
        """The rows in groups of like length that fit in a run.

        Args:
            lengths: How many tokens of each are read.
            wanted: How many of them are asked for logits.
        """
        groups = []
        for group in alike(np.array(lengths, dtype=np.int64), room=self.room):
            most = max(wanted[i] for i in group)
            at_once = max(1, LOGITS // (most * self.recipe.vocabulary))
            rows = list(map(int, group))
            groups += [rows[i : i + at_once] for i in range(0, len(rows), at_once)]
        return groups

    def _written(
        self,
        logits: Float[np.ndarray, "rows vocabulary"],
        go_on: GoOn,
        *,
        max_tokens: int,
        stop: Sequence[str],
    ) -> list[str]:
        """The likeliest answers of a batch, token by token; a row that has ended is let go.

        Args:
            logits: Of each row's first token.
            go_on: Is told which tokens were chosen and which rows stay; gives the next logits of
                those.
            max_tokens: Of one answer.
            stop: Marks that end an answer.
        """
        written: list[list[int]] = [[] for _ in logits]
        going = np.arange(len(logits))
        for count in range(1, max_tokens + 1):
            chosen = logits.argmax(axis=-1)
            for row, token in zip(going, chosen.tolist(), strict=True):
                written[row].append(token)
            stays = np.array([not self._ended(written[row], stop) for row in going])
            if count == max_tokens or not stays.any():
                break
            logits = go_on(chosen[stays], stays)
            going = going[stays]
        return [up_to(self.texts.text(ids), stop) for ids in written]

    def _ended(self, ids: Sequence[int], stop: Sequence[str]) -> bool:
        if ids[-1] in self.recipe.end_ids:
            return True
        written = self.texts.text(ids) if stop else ""
        return any(mark in written for mark in stop)


def read_texts(folder: ModelFolder[R]) -> Texts:
    """A folder's tokenizer.

    Raises:
        ModelError: It has none, or it is damaged.
    """
    rules = folder.tokenizer(max_length=folder.recipe.max_tokens).whole.to_str()
    return Texts.of(rules, start_token=folder.recipe.start_token or None)


def told(
    logits: Float[np.ndarray, "places vocabulary"], ids: Sequence[int]
) -> Float[np.ndarray, " ids"]:
    """The log-probability of each token, by the logits of the places before them."""
    return log_softmax(logits[: len(ids)])[np.arange(len(ids)), list(ids)].astype(np.float32)
