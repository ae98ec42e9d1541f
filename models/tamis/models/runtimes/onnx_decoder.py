"""Decoders in model folders: causal language models whose attention state goes in and comes out.

Rows that are read are padded on the right, where no causal model looks; rows that are gone on from
are padded on the left, so that what is written stands next to what was read. The state of prefixes
is kept from call to call.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.batches import padded
from tamis.models.errors import InputError
from tamis.models.runtimes import Session
from tamis.models.runtimes.chat import render
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.onnx_language import (
    ROOM,
    LanguageRecipe,
    OnnxLanguageModel,
    State,
    read_texts,
    told,
)
from tamis.models.runtimes.prefixes import Prefixes
from tamis.models.runtimes.rows import Row, begun, by_head, check_length
from tamis.models.runtimes.usage import spend

METHOD = "causal_lm"
Pick = Callable[[Row, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class DecoderRecipe(LanguageRecipe):
    """What a decoder's `model.toml` says.

    Attributes:
        chat_template: How it writes conversations, in Jinja; empty for a model without.
        marks: The special tokens that the template names.
    """

    chat_template: str = ""
    marks: dict[str, str] = field(default_factory=dict)


class Past(NamedTuple):
    """What was read before: its state, and which of it is no padding."""

    state: State
    mask: Int[np.ndarray, "batch tokens"]


def _bytes(state: State) -> int:
    return state.nbytes


@dataclass(frozen=True, kw_only=True)
class OnnxDecoder(OnnxLanguageModel):
    """A `LanguageModel` that is a causal decoder. Several threads may use it at once.

    Attributes:
        session: Its graph.
        cache_bytes: States of prefixes that are kept from call to call, in bytes.
    """

    recipe: DecoderRecipe
    session: Session
    cache_bytes: int = 256 << 20
    _prefixes: Prefixes[State] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache_bytes < 0:
            raise ValueError(f"cache_bytes must be at least 0, not {self.cache_bytes}")
        object.__setattr__(self, "_prefixes", Prefixes[State](self.cache_bytes, _bytes))

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        threads: int = 0,
        room: int = ROOM,
        cache_bytes: int = 256 << 20,
    ) -> "OnnxDecoder":
        """Loads a folder as `tamis export` makes it.

        Args:
            path: The folder.
            threads: Threads that one run may use; 0 for one a core.
            room: Tokens that one run reads, padding included.
            cache_bytes: States of prefixes that are kept from call to call, in bytes.

        Raises:
            ModelError: A file is missing, damaged or of another model.
        """
        folder = ModelFolder.open(path, DecoderRecipe, METHOD)
        return cls(
            recipe=folder.recipe,
            texts=read_texts(folder),
            session=folder.session("decoder", threads=threads),
            room=room,
            cache_bytes=cache_bytes,
        )

    def span_log_likelihoods(
        self, prompts: Sequence[Prompt], spans: Sequence[str]
    ) -> list[Float[np.ndarray, " _"]]:
        pairs = zip(prompts, spans, strict=True)
        rows = [self._row(prompt, after=self.texts.ids(span)) for prompt, span in pairs]
        return self._each(rows, lambda row, logits: told(logits, row.ids[row.first + 1 :]))

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        rows = [self._row(prompt, room=max_tokens) for prompt in prompts]
        answers = [""] * len(rows)
        for group in self._batches([len(row.ids) for row in rows], [1] * len(rows)):
            written = self._answers([rows[i].ids for i in group], max_tokens, stop)
            for i, answer in zip(group, written, strict=True):
                answers[i] = answer
        return answers

    def _answers(
        self, rows: Sequence[Sequence[int]], max_tokens: int, stop: Sequence[str]
    ) -> list[str]:
        ids, mask = padded(rows, side="left")
        last = np.full((len(rows), 1), ids.shape[1] - 1)
        logits, state = self._run(ids, mask, self._nothing(len(rows)), last)
        past = Past(state, mask)

        def go_on(
            chosen: Int[np.ndarray, " rows"], stays: np.ndarray
        ) -> Float[np.ndarray, "rows vocabulary"]:
            nonlocal past
            kept = Past(past.state[:, :, stays], past.mask[stays])
            one = np.ones((len(chosen), 1), dtype=np.int64)
            logits, state = self._run(chosen[:, None], one, kept, one - 1, calls=0)
            past = Past(
                np.concatenate([kept.state, state], axis=4),
                np.concatenate([kept.mask, one], axis=1),
            )
            return logits[:, 0]

        return self._written(logits[:, 0], go_on, max_tokens=max_tokens, stop=stop)

    def _last(
        self, prompts: Sequence[Prompt], pick: Callable[[np.ndarray], np.ndarray]
    ) -> list[np.ndarray]:
        rows = [self._row(prompt) for prompt in prompts]
        return self._each(rows, lambda _, logits: pick(logits[-1]))

    def _row(self, prompt: Prompt, *, after: Sequence[int] = (), room: int = 0) -> Row:
        """A prompt's tokens, and `after` them those of a span.

        Raises:
            InputError: They are more than the model reads, or of a kind that it does not.
        """
        if prompt.images:
            raise InputError("the prompt has images, and the model reads none")
        ids, head, key = begun(prompt, self.texts, self._rendered)
        ids = [*ids, *self.texts.ids(prompt.answer)]
        check_length(ids, after, room, max_tokens=self.max_tokens)
        return Row([*ids, *after], head, key, first=len(ids) - 1)

    def _rendered(self, prompt: Prompt) -> str:
        if not self.recipe.chat_template:
            raise InputError("the prompt is a conversation, and the model has no chat template")
        turns = [self.texts.harmless(message) for message in prompt.messages]
        return render(self.recipe.chat_template, turns, self.recipe.marks)

    def _each(self, rows: Sequence[Row], pick: Pick) -> list[np.ndarray]:
        """What `pick` takes of each row's logits, from its first position on."""
        found: dict[int, np.ndarray] = {}
        alone, shared = by_head(rows, lambda key: self._prefixes.get(key) is not None)
        for batch in self._groups(rows, alone):
            found |= zip(batch, self._whole([rows[i] for i in batch], pick), strict=True)
        for members in shared:
            state = self._state(rows[members[0]])
            head = state.shape[4]
            for batch in self._groups(rows, members, read=head):
                past = Past(
                    np.repeat(state, len(batch), axis=2),
                    np.ones((len(batch), head), dtype=np.int64),
                )
                picked, _ = self._forward([rows[i] for i in batch], past, pick)
                found |= zip(batch, picked, strict=True)
        return [found[i] for i in range(len(rows))]

    def _groups(
        self, rows: Sequence[Row], members: Sequence[int], *, read: int = 0
    ) -> list[list[int]]:
        own = [rows[i] for i in members]
        lengths = [len(row.ids) - read for row in own]
        groups = self._batches(lengths, [len(row.ids) - row.first for row in own])
        return [[members[i] for i in group] for group in groups]

    def _whole(self, rows: Sequence[Row], pick: Pick) -> list[np.ndarray]:
        picked, state = self._forward(rows, self._nothing(len(rows)), pick)
        for i, row in enumerate(rows):
            if row.head:
                self._prefixes.put(row.key, state[:, :, i : i + 1, :, : row.head].copy())
        return picked

    def _state(self, row: Row) -> State:
        """The state of a row's head, kept for the next call."""
        state = self._prefixes.get(row.key)
        if state is None:
            head = Row(row.ids[: row.head], first=row.head - 1)
            _, state = self._forward([head], self._nothing(1), lambda _, logits: logits)
            self._prefixes.put(row.key, state)
        return state

    def _forward(
        self, rows: Sequence[Row], past: Past, pick: Pick
    ) -> tuple[list[np.ndarray], State]:
        """What is picked of each row, whose first tokens are the past's; the state of the rest."""
        read = past.mask.shape[1]
        ids, mask = padded([row.ids[read:] for row in rows])
        kept, _ = padded([range(row.first - read, len(row.ids) - read) for row in rows])
        logits, state = self._run(ids, mask, past, kept)
        picked = [
            pick(row, own[: len(row.ids) - row.first])
            for row, own in zip(rows, logits, strict=True)
        ]
        return picked, state

    def _nothing(self, batch: int) -> Past:
        return Past(self.recipe.no_state(batch), np.zeros((batch, 0), dtype=np.int64))

    def _run(
        self,
        ids: Int[np.ndarray, "batch length"],
        mask: Int[np.ndarray, "batch length"],
        past: Past,
        kept: Int[np.ndarray, "batch kept"],
        *,
        calls: int | None = None,
    ) -> tuple[Float[np.ndarray, "batch kept vocabulary"], State]:
        """The logits at `kept` and the state; a row is a call, unless it goes on from one."""
        started = time.perf_counter()
        made = self.session.run(
            {
                "input_ids": ids,
                "attention_mask": mask,
                "past": past.state,
                "past_mask": past.mask,
                "kept": kept,
            }
        )
        took = time.perf_counter() - started
        spend(calls=len(ids) if calls is None else calls, tokens=int(mask.sum()), model_s=took)
        return made["logits"], made["state"]
