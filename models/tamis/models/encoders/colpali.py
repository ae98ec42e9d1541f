"""ColPali reads a page as a picture and keeps a vector for each of its patches.

A query is a vector a word, plus some for tokens that are there to think with. No text is taken out
of a page: its layout, tables and figures are compared as they are seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tamis.models.blocks.token_pooling import token_pooling
from tamis.models.runtimes.prompted import PromptedEncoder, Read
from tamis.models.types import Encoding, Head, Kind, Paper, Side

__all__ = ("ColPali",)


@dataclass(frozen=True, kw_only=True)
class ColPali(PromptedEncoder):
    """One vector a token of PaliGemma, of a page or of a text.

    A content with an image is a page, whatever text it has besides; one without is a text. Both
    sides are treated alike, but for the two settings below, which are for documents.

    Attributes:
        pool_factor: How many of a document's vectors become one, on average; 3 keeps nearly all
            of the quality. 1 keeps them all.
        image_only: Whether a page's vectors are those of its patches only, and none of its prompt.
    """

    paper: ClassVar[Paper | None] = Paper(
        "ColPali: Efficient Document Retrieval with Vision Language Models",
        2024,
        "https://arxiv.org/abs/2407.01449",
    )
    checked: ClassVar = "golden data of colpali-engine's ColPali and token pooling, through ONNX"
    departs: ClassVar = (
        "a vector of length 0 stays 0, where the authors divide by 0; a page's own text is not read"
    )
    method: ClassVar = "colpali"

    pool_factor: int = 1
    image_only: bool = False

    def __post_init__(self) -> None:
        if self.pool_factor < 1:
            raise ValueError(f"pool_factor must be at least 1, not {self.pool_factor}")
        super().__post_init__()

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._model.recipe
        return {"tokens": Head(Kind.MULTI, recipe.dim, recipe.space)}

    @property
    def fingerprint(self) -> str:
        """Of the model, and of what is done to documents besides."""
        pooled = f"-pool{self.pool_factor}" if self.pool_factor > 1 else ""
        return f"{self._model.fingerprint}{pooled}{'-image' if self.image_only else ''}"

    def _encoding(self, read: Read, side: Side) -> Encoding:
        vectors = read.made[: len(read.visual)]
        if side is Side.DOCUMENT and self.image_only and read.visual.any():
            vectors = vectors[read.visual]
        if side is Side.DOCUMENT:
            vectors, _ = token_pooling(vectors, self.pool_factor)
        return Encoding({"tokens": np.array(vectors)})  # a view would keep its whole batch
