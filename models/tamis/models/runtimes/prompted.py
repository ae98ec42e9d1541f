"""Serves vision-language models as encoders: a whole prompt, picture and all, is read once."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from tamis.models.blocks.batches import ROOM, alike
from tamis.models.errors import ModelError
from tamis.models.runtimes.folder import EncoderRecipe
from tamis.models.runtimes.folder_encoder import FolderEncoder
from tamis.models.runtimes.patches import Patching
from tamis.models.runtimes.prompts import Prompts, kind_of
from tamis.models.runtimes.texts import Texts
from tamis.models.runtimes.transform import ImageTransform
from tamis.models.runtimes.visual import PatchSeer, Seer, SquareSeer
from tamis.models.types import Content, Encoding, Modality, Side

BYTES_A_TOKEN = 4  # of English, and near enough elsewhere to size a batch


@dataclass(frozen=True, kw_only=True)
class PromptedRecipe(EncoderRecipe):
    """A vision-language encoder's `model.toml`; pictures are `patching`'s or `transform`'s.

    Attributes:
        width: Of a visual token.
        max_tokens: Of one prompt, visual tokens included.
        image_token: Stands for a picture in a template.
        templates: The prompts, by what they are made of; see `Prompts`.
        instructions: What is wanted where a content does not say, by the same names.
        blank: The side of the black picture, in pixels, that a content without one is read with,
            where its template has one.
        image_tokens: Visual tokens of a picture that is read at one size.
        patching: How pictures are cut up near their own size.
        transform: How pictures come to one size.
    """

    width: int
    max_tokens: int
    image_token: str
    templates: dict[str, str]
    instructions: dict[str, str] = field(default_factory=dict)
    blank: int = 0
    image_tokens: int = 0
    patching: Patching | None = None
    transform: ImageTransform | None = None


class Prompt(NamedTuple):
    """What is read of one content."""

    ids: Int[np.ndarray, " length"]
    visual: Bool[np.ndarray, " length"]
    images: tuple[Image.Image, ...]


class Read(NamedTuple):
    """What a prompt became: the graph's output for it, and which of its tokens are a picture's."""

    made: Float[np.ndarray, "..."]
    visual: Bool[np.ndarray, " length"]


@dataclass(frozen=True, kw_only=True)
class PromptedEncoder(FolderEncoder[PromptedRecipe]):
    """A vision-language model in a folder. A method says what becomes of its output."""

    modalities: ClassVar = frozenset({Modality.TEXT, Modality.IMAGE})
    recipe: ClassVar = PromptedRecipe
    graphs: ClassVar = ("image", "joint")

    def __post_init__(self) -> None:
        _ = self._prompts, self._seer
        super().__post_init__()

    @cached_property
    def _seer(self) -> Seer:
        recipe, session = self._recipe, self._sessions["image"]
        if recipe.patching is not None:
            return PatchSeer(session, recipe.patching)
        if recipe.transform is not None:
            return SquareSeer(session, recipe.transform, recipe.image_tokens)
        raise ModelError(f"{self.folder}: neither patching nor transform says how to see pictures")

    @cached_property
    def _prompts(self) -> Prompts:
        recipe = self._recipe
        tokenizer = self._model.tokenizer(max_length=recipe.max_tokens)
        return Prompts(
            Texts.of(tokenizer.whole.to_str()),
            recipe.templates,
            recipe.image_token,
            recipe.instructions,
            recipe.max_tokens,
        )

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, which costs no tokenizing."""
        visual = 0 if content.image is None else self._seer.count(content.image)
        size = len((content.text or "").encode()) // BYTES_A_TOKEN
        return min(visual + size + 1, self._recipe.max_tokens)

    def truncates(self, content: Content) -> bool:
        """Whether the end of the content's text is not read."""
        kinds = [kind for side in Side if (kind := kind_of(content, side)) in self._kinds]
        visual = 0 if content.image is None else self._seer.count(content.image)
        return any(self._prompts.cuts(kind, content, visual) for kind in kinds)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content; one of a kind that the model does not read has no heads."""
        prompts = {
            i: self._prompt(content, kind)
            for i, content in enumerate(contents)
            if content.modalities & self.modalities
            and (kind := kind_of(content, side)) in self._kinds
        }
        read = dict(zip(prompts, self._read(list(prompts.values())), strict=True))
        return [
            self._encoding(read[i], side) if i in read else Encoding({})
            for i in range(len(contents))
        ]

    @abstractmethod
    def _encoding(self, read: Read, side: Side) -> Encoding:
        """The heads of one content."""

    @property
    def _kinds(self) -> frozenset[str]:
        return frozenset(self._recipe.templates)

    def _prompt(self, content: Content, kind: str) -> Prompt:
        image = content.image if self._prompts.pictured(kind) else None
        if image is None and self._prompts.pictured(kind):
            side = self._recipe.blank
            image = Image.new("RGB", (side, side))
        visual = 0 if image is None else self._seer.count(image)
        ids = np.array(self._prompts.ids(kind, content, visual), dtype=np.int64)
        return Prompt(ids, ids == self._prompts.image_id, () if image is None else (image,))

    def _read(self, prompts: Sequence[Prompt]) -> list[Read]:
        lengths = np.array([len(prompt.ids) for prompt in prompts], dtype=np.int64)
        found: dict[int, Read] = {}
        for group in map(np.ndarray.tolist, alike(lengths, room=ROOM)):
            chosen = [prompts[i] for i in group]
            (made,) = self._sessions["joint"].run(self._inputs(chosen)).values()
            for i, prompt, own in zip(group, chosen, made, strict=True):
                found[i] = Read(own, prompt.visual)
        return [found[i] for i in range(len(prompts))]

    def _inputs(self, prompts: Sequence[Prompt]) -> dict[str, np.ndarray]:
        """A batch, padded on the right: padding is not attended to, so its side is all one."""
        shape = (len(prompts), max(len(prompt.ids) for prompt in prompts))
        input_ids, attention_mask = np.zeros((2, *shape), dtype=np.int64)
        visual_places = np.full(shape, -1, dtype=np.int64)
        images = [image for prompt in prompts for image in prompt.images]
        positions = np.zeros((self._seer.axes, *shape), dtype=np.int64)
        next_one = 0
        for row, (ids, visual, own) in enumerate(prompts):
            input_ids[row, : len(ids)], attention_mask[row, : len(ids)] = ids, 1
            positions[:, row, : len(ids)] = self._seer.positions(visual.tolist(), own)
            count = int(visual.sum())
            visual_places[row, np.flatnonzero(visual)] = np.arange(next_one, next_one + count)
            next_one += count
        # A batch of words alone has one visual token that nobody refers to.
        seen = self._seer.tokens(images) or [np.zeros((1, self._recipe.width), np.float32)]
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "positions": positions,
            "visual": np.concatenate(seen),
            "visual_places": visual_places,
        }
