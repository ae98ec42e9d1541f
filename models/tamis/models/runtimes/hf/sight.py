"""Turns the images of a prompt into tokens and pixels, by a checkpoint's own processor."""

import hashlib
import inspect
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import pad

from tamis.models.runtimes.language import Prompt
from tamis.models.runtimes.texts import Texts

BY_TOKEN = {"token_type_ids", "mm_token_type_ids"}  # what has one value a token, not an image


@dataclass(frozen=True, slots=True)
class Sight:
    """The eyes of a model.

    Attributes:
        processor: The checkpoint's.
        network: The model, for the names of its inputs.
    """

    processor: Any
    network: Any

    def read(
        self, prompt: Prompt, texts: Texts
    ) -> tuple[list[int], Mapping[str, Tensor], int, Hashable]:
        """A prompt's tokens but for its answer, what is seen, and the length and key of its head.

        A model whose positions are a grid's keeps them from run to run: it has no head.
        """
        if prompt.messages:
            ids, seen = self._seen(self._rendered(prompt, texts), prompt, texts)
            head = len(ids) - ids[::-1].index(self.processor.image_token_id)
        else:
            mark = getattr(self.processor, "boi_token", self.processor.image_token)
            ids, seen = self._seen(mark * len(prompt.images), prompt, texts)
            ids += texts.ids(prompt.prefix)
            head = len(ids) - 1 if prompt.prefix else len(ids)
            ids += texts.ids(prompt.text)
        if hasattr(self.network.base_model, "rope_deltas") or head >= len(ids):
            return ids, seen, 0, None
        return ids, seen, head, (*map(_digest, prompt.images), *ids[:head])

    def _seen(self, text: str, prompt: Prompt, texts: Texts) -> tuple[list[int], dict[str, Tensor]]:
        made = self.processor(
            images=list(prompt.images), text=text, add_special_tokens=False, return_tensors="pt"
        )
        known = inspect.signature(self.network.forward).parameters.keys()
        ids: list[int] = made.pop("input_ids")[0].tolist()
        before = 0 if tuple(ids[: len(texts.start)]) == texts.start else len(texts.start)
        seen = {name: made[name] for name in made if name in known - {"attention_mask"}}
        for name in BY_TOKEN & seen.keys():
            seen[name] = pad(seen[name][0], (before, 0))
        return [*texts.start[:before], *ids], seen

    def _rendered(self, prompt: Prompt, texts: Texts) -> str:
        turns, images = [], [{"type": "image"} for _ in prompt.images]
        for message in map(texts.harmless, prompt.messages):
            content: list[dict[str, str]] = [{"type": "text", "text": message.text}]
            if message.role == "user":
                content, images = [*images, *content], []
            turns.append({"role": message.role, "content": content})
        rendered: str = self.processor.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False
        )
        return rendered


def _digest(image: Image) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16, key=repr(image.size).encode()).digest()
