"""A decoder, with or without eyes, that transformers runs: any causal language model.

Rows are padded on the right, where no causal model looks. The state of images and prefixes is kept
from call to call; a row that has one is read from there on, in a batch of its own kind, so that
positions and sliding windows are those of the whole row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    DynamicCache,
)

from tamis.models.errors import InputError
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.hf.model import HfModel
from tamis.models.runtimes.hf.prefixes import copies, first, size
from tamis.models.runtimes.hf.sight import BY_TOKEN, Sight
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.prefixes import Prefixes
from tamis.models.runtimes.rows import Row, begun, by_head, check_length
from tamis.models.runtimes.texts import up_to

Pick = Callable[["SeenRow", Tensor], np.ndarray]


@dataclass(frozen=True, slots=True)
class SeenRow(Row):
    """One sequence to read, with images or without.

    Attributes:
        seen: What the network is given of images: by token, or by image.
    """

    seen: Mapping[str, Tensor] = field(default_factory=dict)


class Decoder(HfModel):
    """A `LanguageModel` over `AutoModelForCausalLM` or, with eyes, `AutoModelForImageTextToText`.

    Raises:
        ModelError: The checkpoint cannot be opened.
    """

    def __init__(self, checkpoint: Checkpoint, *, sees: bool = False) -> None:
        network = checkpoint.network(AutoModelForImageTextToText if sees else AutoModelForCausalLM)
        processor = checkpoint.processor() if sees else None
        tokenizer = processor.tokenizer if processor else checkpoint.tokenizer()
        super().__init__(checkpoint, network, tokenizer)
        self._sight = Sight(processor, network) if processor else None
        self._prefixes = Prefixes[DynamicCache](checkpoint.cache_bytes, size)

    @property
    def reads_images(self) -> bool:
        return self._sight is not None

    @property
    def max_tokens(self) -> int:
        config = self._network.config.get_text_config()
        own = getattr(config, "max_position_embeddings", 0) or getattr(config, "n_positions", 2048)
        return min(self._checkpoint.max_tokens or own, own)

    def span_log_likelihoods(
        self, prompts: Sequence[Prompt], spans: Sequence[str]
    ) -> list[Float[np.ndarray, " _"]]:
        pairs = zip(prompts, spans, strict=True)
        rows = [self._row(prompt, after=self._reading.texts.ids(span)) for prompt, span in pairs]

        def likelihoods(row: SeenRow, logits: Tensor) -> np.ndarray:
            told = torch.tensor(row.ids[row.first + 1 :], device=logits.device)
            # The last position tells of a token that is not there.
            found = logits[:-1].log_softmax(-1).gather(1, told[:, None])[:, 0]
            return found.cpu().numpy()

        return self._each(rows, likelihoods)

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        rows = [self._row(prompt, room=max_tokens) for prompt in prompts]
        answers = [""] * len(rows)
        rules = self._greedy(max_tokens, stop_strings=list(stop) or None)
        for group in self._batches([len(row.ids) for row in rows]):
            inputs = self._inputs([rows[i] for i in group], side="left")
            with self._run(inputs["attention_mask"]):
                made = self._network.generate(
                    **inputs, generation_config=rules, tokenizer=self._reading.tokenizer
                )
            for i, ids in zip(group, made[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
                answers[i] = up_to(self._reading.texts.text(ids), stop)
        return answers

    def _last(
        self, prompts: Sequence[Prompt], pick: Callable[[Tensor], Tensor]
    ) -> list[np.ndarray]:
        rows = [self._row(prompt) for prompt in prompts]
        return self._each(rows, lambda _, logits: pick(logits[-1]).cpu().numpy())

    def _row(self, prompt: Prompt, *, after: Sequence[int] = (), room: int = 0) -> SeenRow:
        """A prompt's tokens, and `after` them those of a span.

        Raises:
            InputError: They are more than the model reads.
        """
        seen: Mapping[str, Tensor] = {}
        texts = self._reading.texts
        if prompt.images and self._sight is None:
            raise InputError("the prompt has images, and the model reads none")
        if prompt.images and self._sight is not None:
            ids, seen, head, key = self._sight.read(prompt, texts)
        else:
            ids, head, key = begun(prompt, texts, self._rendered)
        ids = [*ids, *texts.ids(prompt.answer)]
        check_length(ids, after, room, max_tokens=self.max_tokens)
        return SeenRow([*ids, *after], head, key, first=len(ids) - 1, seen=seen)

    def _rendered(self, prompt: Prompt) -> str:
        turns = [self._reading.texts.harmless(message) for message in prompt.messages]
        rendered: Any = self._reading.tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.text} for turn in turns],
            add_generation_prompt=True,
            tokenize=False,
        )
        return str(rendered)

    def _each(self, rows: Sequence[SeenRow], pick: Pick) -> list[np.ndarray]:
        """What `pick` takes of each row's logits, from its first position on."""
        found: dict[int, np.ndarray] = {}
        alone, shared = by_head(rows, lambda key: self._prefixes.get(key) is not None)
        for group in self._batches([len(rows[i].ids) for i in alone]):
            batch = [alone[i] for i in group]
            found |= zip(batch, self._whole([rows[i] for i in batch], pick), strict=True)
        for members in shared:
            state = self._state(rows[members[0]])
            for group in self._batches([len(rows[i].ids) - rows[i].head for i in members]):
                batch = [members[i] for i in group]
                found |= zip(batch, self._tails([rows[i] for i in batch], state, pick), strict=True)
        return [found[i] for i in range(len(rows))]

    def _whole(self, rows: Sequence[SeenRow], pick: Pick) -> list[np.ndarray]:
        inputs = self._inputs(rows)
        keeps = self._prefixes.max_bytes > 0 and any(row.head for row in rows)
        cache = DynamicCache(config=self._network.config) if keeps else None
        picked = self._forward(rows, inputs, 0, pick, past_key_values=cache, use_cache=keeps)
        if cache is not None and not any(cache.is_sliding):
            for i, row in enumerate(rows):
                if row.head:
                    self._prefixes.put(row.key, first(cache, i, row.head))
        return picked

    def _tails(self, rows: Sequence[SeenRow], state: DynamicCache, pick: Pick) -> list[np.ndarray]:
        head = rows[0].head
        inputs = self._inputs([SeenRow(row.ids[head:]) for row in rows])
        before = inputs["attention_mask"].new_ones(len(rows), head)
        inputs["attention_mask"] = torch.cat([before, inputs["attention_mask"]], dim=1)
        past = copies(state, len(rows))
        return self._forward(rows, inputs, head, pick, past_key_values=past, use_cache=True)

    def _state(self, row: SeenRow) -> DynamicCache:
        """The state of a row's head, kept for the next call."""
        state = self._prefixes.get(row.key)
        if state is None:
            state = DynamicCache(config=self._network.config)
            inputs = self._inputs([SeenRow(row.ids[: row.head], seen=row.seen)])
            with self._run(inputs["attention_mask"]):
                self._network(**inputs, past_key_values=state, use_cache=True, logits_to_keep=1)
            self._prefixes.put(row.key, state)
        return state

    def _forward(
        self,
        rows: Sequence[SeenRow],
        inputs: Mapping[str, Tensor],
        skipped: int,
        pick: Pick,
        **more: Any,
    ) -> list[np.ndarray]:
        """What is picked of each row; `inputs` begin at its token `skipped`."""
        begin = min(row.first for row in rows) - skipped
        kept = torch.arange(begin, inputs["input_ids"].shape[1], device=self._network.device)
        # What the state spared is masked in, and not counted.
        with self._run(inputs["attention_mask"][:, skipped:]):
            made = self._network(**inputs, logits_to_keep=kept, **more).logits.float()
        offset = skipped + begin
        return [
            pick(row, logits[row.first - offset : len(row.ids) - offset])
            for row, logits in zip(rows, made, strict=True)
        ]

    def _inputs(self, rows: Sequence[SeenRow], *, side: str = "right") -> dict[str, Tensor]:
        ids, mask = self._padded((row.ids for row in rows), side=side)
        inputs = {"input_ids": ids, "attention_mask": mask}
        for name in {name for row in rows for name in row.seen}:
            if name in BY_TOKEN:
                values = [_of_length(row.seen.get(name), row.ids) for row in rows]
                inputs[name] = pad_sequence(values, True, padding_side=side)
            else:
                inputs[name] = torch.cat([row.seen[name] for row in rows if name in row.seen])
        return {name: value.to(self._network.device) for name, value in inputs.items()}


def _of_length(values: Tensor | None, ids: Sequence[int]) -> Tensor:
    """A value a token, for as many as there are; 0 beyond those that are told."""
    if values is None:
        return torch.zeros(len(ids), dtype=torch.long)
    own = values[: len(ids)]
    return pad(own, (0, len(ids) - len(own)))
