"""Encoder-decoders in model folders: T5 and its kin.

The encoder reads prefix and text as one, with the tokens that its tokenizer puts around them; the
decoder begins with its start token and the answer so far.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from jaxtyping import Float, Int

from tamis.models.blocks.batches import padded
from tamis.models.runtimes import Session
from tamis.models.runtimes.folder import ModelFolder
from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.onnx_language import (
    ROOM,
    LanguageRecipe,
    OnnxLanguageModel,
    read_texts,
    told,
)
from tamis.models.runtimes.rows import Asked, sides
from tamis.models.runtimes.usage import spend

METHOD = "seq2seq"
Memory = Float[np.ndarray, "layers 2 batch heads source dim"]


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderRecipe(LanguageRecipe):
    """What an encoder-decoder's `model.toml` says.

    Attributes:
        decoder_start: The token that its decoder begins with.
    """

    decoder_start: int = 0


@dataclass(frozen=True, kw_only=True)
class OnnxEncoderDecoder(OnnxLanguageModel):
    """A `LanguageModel` that is an encoder-decoder. Several threads may use it at once.

    Attributes:
        encoder: The graph of what is read.
        decoder: The graph of what is answered.
    """

    recipe: EncoderDecoderRecipe
    encoder: Session
    decoder: Session

    @classmethod
    def open(
        cls, path: str | PathLike[str], *, threads: int = 0, room: int = ROOM
    ) -> "OnnxEncoderDecoder":
        """Loads a folder as `tamis export` makes it.

        Args:
            path: The folder.
            threads: Threads that one run may use; 0 for one a core.
            room: Tokens that one run reads, padding included.

        Raises:
            ModelError: A file is missing, damaged or of another model.
        """
        folder = ModelFolder.open(path, EncoderDecoderRecipe, METHOD)
        return cls(
            recipe=folder.recipe,
            texts=read_texts(folder),
            encoder=folder.session("encoder", threads=threads),
            decoder=folder.session("decoder", threads=threads),
            room=room,
        )

    def span_log_likelihoods(
        self, prompts: Sequence[Prompt], spans: Sequence[str]
    ) -> list[Float[np.ndarray, " _"]]:
        ids = [self.texts.ids(span) for span in spans]
        asked = [self._asked(prompt) for prompt in prompts]
        # The last token is never read, only told of.
        whole = [
            Asked(own.encoder, [*own.decoder, *after[:-1]])
            for own, after in zip(asked, ids, strict=True)
        ]
        begun = [len(own.decoder) for own in asked]
        return self._each(whole, lambda i, logits: told(logits[begun[i] - 1 :], ids[i]))

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str] = ()
    ) -> list[str]:
        asked = [self._asked(prompt) for prompt in prompts]
        answers = [""] * len(asked)
        # Answers that begin alike long need no padding, which the decoder would read.
        begun: dict[int, list[int]] = defaultdict(list)
        for i, own in enumerate(asked):
            begun[len(own.decoder)].append(i)
        for members in begun.values():
            for group in self._groups(asked, members):
                written = self._answers([asked[i] for i in group], max_tokens, stop)
                for i, answer in zip(group, written, strict=True):
                    answers[i] = answer
        return answers

    def _answers(self, asked: Sequence[Asked], max_tokens: int, stop: Sequence[str]) -> list[str]:
        memory, memory_mask = self._memory(asked)
        logits, past = self._run(
            np.array([own.decoder for own in asked]),
            self.recipe.no_state(len(asked)),
            memory,
            memory_mask,
        )

        def go_on(
            chosen: Int[np.ndarray, " rows"], stays: np.ndarray
        ) -> Float[np.ndarray, "rows vocabulary"]:
            nonlocal past, memory, memory_mask
            past, memory, memory_mask = past[:, :, stays], memory[:, :, stays], memory_mask[stays]
            logits, state = self._run(chosen[:, None], past, memory, memory_mask)
            past = np.concatenate([past, state], axis=4)
            return logits[:, -1]

        return self._written(logits[:, -1], go_on, max_tokens=max_tokens, stop=stop)

    def _last(
        self, prompts: Sequence[Prompt], pick: Callable[[np.ndarray], np.ndarray]
    ) -> list[np.ndarray]:
        asked = [self._asked(prompt) for prompt in prompts]
        return self._each(asked, lambda _, logits: pick(logits[-1]))

    def _asked(self, prompt: Prompt) -> Asked:
        return sides(
            prompt, self.texts, start=self.recipe.decoder_start, max_tokens=self.max_tokens
        )

    def _each(
        self, asked: Sequence[Asked], pick: Callable[[int, np.ndarray], np.ndarray]
    ) -> list[np.ndarray]:
        """What `pick` takes of the logits at each of a decoder's own tokens."""
        found: dict[int, np.ndarray] = {}
        for group in self._groups(asked, range(len(asked))):
            own = [asked[i] for i in group]
            memory, memory_mask = self._memory(own)
            ids, _ = padded([one.decoder for one in own])
            logits, _ = self._run(ids, self.recipe.no_state(len(own)), memory, memory_mask)
            for i, one, made in zip(group, own, logits, strict=True):
                found[i] = pick(i, made[: len(one.decoder)])
        return [found[i] for i in range(len(asked))]

    def _groups(self, asked: Sequence[Asked], members: Sequence[int]) -> list[list[int]]:
        own = [asked[i] for i in members]
        groups = self._batches([len(o.encoder) for o in own], [len(o.decoder) for o in own])
        return [[members[i] for i in group] for group in groups]

    def _memory(self, asked: Sequence[Asked]) -> tuple[Memory, Int[np.ndarray, "batch source"]]:
        """What the encoder makes of each text, and what of it is no padding."""
        started = time.perf_counter()
        ids, mask = padded([own.encoder for own in asked])
        memory = self.encoder.run({"input_ids": ids, "attention_mask": mask})["memory"]
        took = time.perf_counter() - started
        spend(calls=len(asked), tokens=int(mask.sum()), model_s=took)
        return memory, mask

    def _run(
        self,
        ids: Int[np.ndarray, "batch length"],
        past: Float[np.ndarray, "layers 2 batch heads before dim"],
        memory: Memory,
        memory_mask: Int[np.ndarray, "batch source"],
    ) -> tuple[
        Float[np.ndarray, "batch length vocabulary"],
        Float[np.ndarray, "layers 2 batch heads length dim"],
    ]:
        started = time.perf_counter()
        made = self.decoder.run(
            {"input_ids": ids, "past": past, "memory": memory, "memory_mask": memory_mask}
        )
        # The encoder counted the prompts.
        spend(calls=0, tokens=ids.size, model_s=time.perf_counter() - started)
        return made["logits"], made["state"]
