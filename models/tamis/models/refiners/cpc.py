"""CPC keeps the sentences of a text that answer the question, whole and in their order.

The text is encoded once, each sentence is the mean of its tokens' states in their context, and the
sentences closest to the question are taken until the budget is spent. What is left reads like the
original, and costs one pass of an encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from tamis.models.blocks.sentences import sentences
from tamis.models.blocks.similarity import unit
from tamis.models.blocks.topk import top_k
from tamis.models.encoders import TokenEncoder
from tamis.models.refiners import TextRefiner
from tamis.models.types import Paper, Query

__all__ = ("CPC",)

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CPC(TextRefiner):
    """Extracts sentences by their similarity to the question.

    The sentence that crosses the budget is kept, so the result may exceed it by one sentence.
    Without a question all sentences are alike, and the first are kept.

    Attributes:
        encoder: What encodes question and text.
    """

    paper: ClassVar = Paper(
        "Prompt Compression with Context-Aware Sentence Encoding for Fast and Improved LLM "
        "Inference",
        2024,
        "https://arxiv.org/abs/2409.01227",
    )
    checked: ClassVar = "the formula, sentence by sentence; properties of what is kept"
    departs: ClassVar = (
        "the encoder is any that gives token states, such as MiniLM, instead of a Llama trained "
        "for it; sentences longer than its window are pooled over several windows, where the "
        "authors' code drops part of them"
    )

    encoder: TokenEncoder

    def count(self, text: str) -> int:
        return self.encoder.counts([text])[0]

    def refine(self, query: Query, text: str) -> str:
        if self.count(text) <= self.budget:
            return text
        spans = sentences(text)
        parts = [text[start:end] for start, end in spans]
        sizes = self.encoder.counts(parts)
        scores = self._similarity(query.content.text or "", text, spans, sizes)
        kept, spent = [], 0
        for i in top_k(scores, len(spans)):
            kept.append(int(i))
            spent += sizes[i] + 1  # the space that joins it
            if spent > self.budget:
                break
        return " ".join(parts[i] for i in sorted(kept))

    def _similarity(
        self, question: str, text: str, spans: Sequence[Span], sizes: Sequence[int]
    ) -> Float[np.ndarray, " sentences"]:
        """The cosine of each sentence, as it stands in the text, and the question."""
        windows = self._windows(text, spans, sizes)
        asked, *seen = self.encoder.token_states(
            [question, *(text[start:end] for start, end in windows)]
        )
        totals = np.zeros((len(spans), asked.states.shape[1]), dtype=np.float32)
        starts = np.array([start for start, _ in spans])
        for (start, _), tokens in zip(windows, seen, strict=True):
            owners = np.searchsorted(starts, tokens.offsets[:, 0] + start, side="right") - 1
            np.add.at(totals, owners, tokens.states)
        return unit(totals) @ unit(asked.states.sum(axis=0))  # a sum points where its mean does

    def _windows(self, text: str, spans: Sequence[Span], sizes: Sequence[int]) -> list[Span]:
        """Stretches of whole sentences that the encoder can read; only a longer one is cut."""
        room, used = self.encoder.max_tokens, 0
        windows: list[Span] = []
        for (start, end), size in zip(spans, sizes, strict=True):
            if windows and used + size <= room:
                windows[-1] = (windows[-1][0], end)
                used += size
            else:
                windows += self._cut(text, start, end, size)
                used = min(size, room)
        return windows

    def _cut(self, text: str, start: int, end: int, size: int) -> list[Span]:
        """A sentence of `size` tokens in parts that the encoder can read, cut between words."""
        if size <= self.encoder.max_tokens or end - start < 2:
            return [(start, end)]
        middle = (start + end) // 2
        space = text.rfind(" ", start + 1, middle)
        middle = space if space > 0 else middle
        halves = [(start, middle), (middle, end)]
        sizes = self.encoder.counts([text[first:last] for first, last in halves])
        return [
            part
            for (first, last), own in zip(halves, sizes, strict=True)
            for part in self._cut(text, first, last, own)
        ]
