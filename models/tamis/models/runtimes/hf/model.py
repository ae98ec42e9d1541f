"""What all networks here share: texts, batches, runs, the logits of the next token."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig

from tamis.models.blocks.batches import alike
from tamis.models.runtimes.hf.loading import Checkpoint, Reading
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.usage import spend


class HfNetwork:
    """A network, its tokenizer, and the runs of the one on batches of the other."""

    def __init__(self, checkpoint: Checkpoint, network: Any, tokenizer: Any) -> None:
        self._checkpoint = checkpoint
        self._network = network
        self._reading = Reading.of(tokenizer, network)
        # Cores are shared anyway, and a network that sees may keep what it made of the last image.
        self._one_at_a_time = Lock()

    def token_ids(self, text: str) -> list[int]:
        texts = self._reading.texts
        return (
            texts.rendered(text)[len(texts.start) :] if text in texts.special else texts.ids(text)
        )

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """The rows in groups of like length that fit in a run."""
        groups = alike(np.array(lengths, dtype=np.int64), room=self._checkpoint.room)
        return [list(map(int, group)) for group in groups]

    def _padded(
        self, rows: Iterable[Sequence[int]], *, side: str = "right"
    ) -> tuple[Tensor, Tensor]:
        """Rows of ids as one batch, and a mask of what is not padding."""
        ids = [torch.tensor(row, dtype=torch.long) for row in rows]
        mask = pad_sequence([torch.ones_like(own) for own in ids], True, padding_side=side)
        padded = pad_sequence(ids, True, self._reading.padding_id, padding_side=side)
        return padded.to(self._network.device), mask.to(self._network.device)

    @contextmanager
    def _run(self, mask: Tensor) -> Iterator[None]:
        """One run of the network by itself, counted."""
        with self._one_at_a_time, torch.inference_mode():
            started = time.perf_counter()
            yield
            took = time.perf_counter() - started
        spend(calls=len(mask), tokens=int(mask.sum()), model_s=took)


class HfModel(HfNetwork, ABC):
    """The part of a `LanguageModel` that does not depend on how it is built."""

    @property
    @abstractmethod
    def max_tokens(self) -> int:
        """How many tokens a prompt and its answer may have together."""

    @abstractmethod
    def _last(
        self, prompts: Sequence[Prompt], pick: Callable[[Tensor], Tensor]
    ) -> list[np.ndarray]:
        """What `pick` takes of the logits of each prompt's next token."""

    def counts(self, texts: Sequence[str]) -> list[int]:
        return self._reading.texts.counts(texts)

    def cut(self, texts: Sequence[str], tokens: int) -> list[str]:
        return self._reading.texts.cut(texts, tokens)

    def token_logits(
        self, prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> Float[np.ndarray, "prompts ids"]:
        return self._read(prompts, ids, lambda logits: logits)

    def token_log_probabilities(
        self, prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> Float[np.ndarray, "prompts ids"]:
        return self._read(prompts, ids, lambda logits: logits.log_softmax(-1))

    def _read(
        self, prompts: Sequence[Prompt], ids: Sequence[int], of: Callable[[Tensor], Tensor]
    ) -> Float[np.ndarray, "prompts ids"]:
        picked = self._last(prompts, lambda logits: of(logits)[list(ids)])
        return np.array(picked, dtype=np.float32).reshape(len(prompts), len(ids))

    def _greedy(self, max_tokens: int, **more: Any) -> GenerationConfig:
        """The rules of a likeliest answer."""
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_tokens,
            do_sample=False,
            pad_token_id=self._reading.padding_id,
            eos_token_id=list(self._reading.end_ids) or None,
            **more,
        )
