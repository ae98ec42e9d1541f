"""FLMR asks with words and a picture at once: a row for each word, and some rows for the picture.

A picture becomes rows in the words' space by a small network, so that a document's words can be
compared with what is seen as well as with what is asked. Documents are texts, pictures or both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from PIL import Image

from tamis.models.blocks.batches import MOST, alike
from tamis.models.runtimes import Session
from tamis.models.runtimes.batched import ROOM
from tamis.models.runtimes.late_interaction import MarkedEncoder, filled
from tamis.models.runtimes.multimodal_rows import FLMRRecipe, Seen, asked, query_rows
from tamis.models.types import Content, Encoding, Modality, Paper, Side

__all__ = ("FLMR",)

PICTURES = 16  # that one run looks at, which bounds its memory


@dataclass(frozen=True, kw_only=True)
class FLMR(MarkedEncoder[FLMRRecipe]):
    """Rows of words and of a picture, in one space.

    A query of words alone is asked with a black picture, as it was trained to be. A document has
    rows only for what it has.
    """

    paper: ClassVar[Paper | None] = Paper(
        "Fine-grained Late-interaction Multi-modal Retrieval for Retrieval Augmented Visual "
        "Question Answering",
        2023,
        "https://arxiv.org/abs/2309.17133",
    )
    checked: ClassVar = (
        "golden data of the authors' code: ids, masks, rows and scores, through ONNX"
    )
    departs: ClassVar = (
        "one region, the whole picture: the paper's others come from an object detector, and its "
        "graph reads them where they are given; a query without words has no rows for words"
    )
    modalities: ClassVar = frozenset({Modality.TEXT, Modality.IMAGE})
    method: ClassVar = "flmr"
    recipe: ClassVar = FLMRRecipe

    @cached_property
    def _sessions(self) -> dict[str, Session]:
        apart = ("document_image",) if self._recipe.separate else ()
        names = ("query", "document", "image", *apart)
        return {name: self._model.session(name, threads=self.threads) for name in names}

    def cost(self, content: Content) -> int:
        """An estimate of the tokens, and the patches, which costs no tokenizing."""
        return super().cost(content) + self._recipe.patches * (content.image is not None)

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        """One encoding a content; rows that do not count are not in it."""
        there = [i for i, content in enumerate(contents) if content.modalities & self.modalities]
        rows = (self._queries if side is Side.QUERY else self._documents)(
            [contents[i] for i in there]
        )
        encodings = [Encoding({})] * len(contents)
        for i, own in zip(there, rows, strict=True):
            encodings[i] = Encoding({"tokens": own} if len(own) else {})
        return encodings

    def _queries(self, contents: Sequence[Content]) -> list[Float[np.ndarray, "rows dim"]]:
        """Words, then the picture."""
        recipe = self._recipe
        tokens = self._tokenizers[Side.QUERY].encode([asked(c, recipe) for c in contents])
        ids, mask = filled(tokens.marked(recipe.query_marker), recipe)
        black = Image.new("RGB", (recipe.transform.width, recipe.transform.height))
        found: list[np.ndarray] = []
        each = max(1, min(MOST, ROOM // (recipe.query_tokens + recipe.patches)))
        for first in range(0, len(contents), each):
            some = slice(first, first + each)
            seen = self._seen("image", [content.image or black for content in contents[some]])
            inputs = {"input_ids": ids[some], "attention_mask": mask[some]}
            made = self._sessions["query"].run(inputs | seen.take(range(len(seen.features))))
            kept = query_rows(ids[some], recipe.instruction_end)
            kept &= np.array([[content.text is not None] for content in contents[some]])
            found += [
                np.concatenate([words[own], picture])
                for words, own, picture in zip(made["text"], kept, made["image"], strict=True)
            ]
        return found

    def _documents(self, contents: Sequence[Content]) -> list[Float[np.ndarray, "rows dim"]]:
        """The picture, if there is one, then words."""
        recipe = self._recipe
        tokens = self._tokenizers[Side.DOCUMENT].encode([c.text or "" for c in contents])
        tokens = tokens.marked(recipe.document_marker)
        kept = self._words(tokens) & np.array([[content.text is not None] for content in contents])
        found: dict[int, np.ndarray] = {}
        for group in alike(tokens.lengths, room=ROOM):
            own = tokens.take(group)
            pictures = [contents[i].image for i in group]
            made = self._sessions["document"].run(own.inputs() | self._features(pictures))
            for row, i in enumerate(map(int, group)):
                words = made["text"][row][kept[i, : own.input_ids.shape[1]]]
                seen = pictures[row] is not None
                found[i] = np.concatenate([made["image"][row], words]) if seen else words
        return [found[i] for i in range(len(contents))]

    def _features(self, pictures: Sequence[Image.Image | None]) -> dict[str, np.ndarray]:
        """The features of documents' pictures; zeros, whose rows are dropped, where none is."""
        name = "document_image" if self._recipe.separate else "image"
        features = np.zeros((len(pictures), 1, self._recipe.features), dtype=np.float32)
        there = [i for i, picture in enumerate(pictures) if picture is not None]
        if there:
            seen = self._seen(name, [p for p in pictures if p is not None])
            features[there, 0] = seen.features
        return {"features": features}

    def _seen(self, name: str, pictures: Sequence[Image.Image]) -> Seen:
        transform = self._recipe.transform
        runs = []
        for first in range(0, len(pictures), PICTURES):
            some = pictures[first : first + PICTURES]
            pixels = np.stack([transform(picture) for picture in some])
            runs.append(self._sessions[name].run({"pixels": pixels}))
        features = np.concatenate([run["features"] for run in runs])
        if not self._recipe.patches:
            return Seen(features, None)
        return Seen(features, np.concatenate([run["patches"] for run in runs]))
