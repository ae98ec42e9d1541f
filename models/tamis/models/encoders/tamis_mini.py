"""tamis-mini sees pictures in a sentence encoder's space: 144 patches, and what they amount to.

A vision tower of a few million weights that ships with tamis, so that pictures can be searched by
words on any machine. One pass gives the picture's embedding, a vector a patch for late interaction
in the same space, and the patches' own states as visual tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL.Image import Image, fromarray

from tamis.models.blocks.batches import MOST
from tamis.models.errors import ModelError
from tamis.models.runtimes import Session
from tamis.models.runtimes.fit import WHITE, fit
from tamis.models.runtimes.folder import EncoderRecipe, ModelFolder
from tamis.models.runtimes.folder_encoder import FolderEncoder
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Side, VisualTokens

__all__ = ("TamisMini",)

OWN = Path(__file__).parents[1] / "weights" / "tamis_mini"
GRAPHS = {"float32": "vision", "int8": "vision.int8"}  # by precision, in one folder
FIT = ("pad", WHITE)  # what `runtimes.fit` does, in the words of model.toml


@dataclass(frozen=True, kw_only=True)
class TamisMiniRecipe(EncoderRecipe):
    """tamis-mini's `model.toml`.

    Attributes:
        width: The length of a visual token.
        image_size: The side of the square that the graph reads, in pixels.
        patch: The side of a patch, in pixels.
        resize: How a picture is made a square.
        fill: The colour beside a picture that is none.
    """

    width: int
    image_size: int
    patch: int
    resize: str
    fill: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        side = self.image_size // self.patch
        return side, side


@dataclass(frozen=True, kw_only=True)
class TamisMini(FolderEncoder[TamisMiniRecipe]):
    """A small vision tower whose every patch lies in the space of a sentence encoder.

    Attributes:
        folder: Where its `model.toml` is; empty for the one that ships with tamis.
        precision: Of the arithmetic: ``float32``, or ``int8``, which is smaller and rounds by what
            else is in the batch.
    """

    checked: ClassVar = "its PyTorch network, when it is exported"
    departs: ClassVar = "no paper: trained by `tamis.models.train.mini` for tamis itself"
    modalities: ClassVar = frozenset({Modality.IMAGE})
    method: ClassVar = "tamis_mini"
    recipe: ClassVar = TamisMiniRecipe

    folder: str = ""
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.precision not in GRAPHS:
            raise ValueError(f"precision must be {' or '.join(GRAPHS)}, not {self.precision!r}")
        super().__post_init__()

    @cached_property
    def _model(self) -> ModelFolder[TamisMiniRecipe]:
        return ModelFolder.open(self.folder or OWN, self.recipe, self.method, choose=self._chosen)

    def _chosen(self, declared: TamisMiniRecipe) -> TamisMiniRecipe:
        where = self.folder or OWN
        if (declared.resize, declared.fill) != FIT:
            raise ModelError(
                f"{where}: resize and fill: {declared.resize!r} and {list(declared.fill)}, where "
                f"this tamis knows {FIT[0]!r} and {list(FIT[1])}"
            )
        graph = f"{GRAPHS[self.precision]}.onnx"
        if graph not in declared.files:
            raise ModelError(f"{where}: has no {self.precision} graph")
        files = {graph: declared.files[graph]}
        return replace(declared, precision=self.precision, files=files)

    @cached_property
    def _sessions(self) -> dict[str, Session]:
        return {"vision": self._model.session(GRAPHS[self.precision], threads=self.threads)}

    @property
    def heads(self) -> Mapping[str, Head]:
        recipe = self._recipe
        return {
            "dense": Head(Kind.DENSE, recipe.dim, recipe.space),
            "tokens": Head(Kind.MULTI, recipe.dim, recipe.space),
        }

    def cost(self, content: Content) -> int:
        """The patches that are looked at."""
        rows, columns = self._recipe.grid
        return rows * columns

    def framed(self, image: Image, scale: int) -> Image:
        """What it reads of a picture, which is all of it, in a square."""
        return fromarray(fit(image, scale * self._recipe.image_size))

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        seen = [i for i, content in enumerate(contents) if content.image is not None]
        encodings = [Encoding({})] * len(contents)
        for start in range(0, len(seen), MOST):
            group = seen[start : start + MOST]
            images = [image for i in group if (image := contents[i].image) is not None]
            for i, encoding in zip(group, self._looked(images), strict=True):
                encodings[i] = encoding
        return encodings

    def _looked(self, images: Sequence[Image]) -> Iterator[Encoding]:
        size, grid = self._recipe.image_size, self._recipe.grid
        pixels = np.stack([fit(image, size) for image in images])
        made = self._sessions["vision"].run({"pixels": pixels})
        positions = np.arange(grid[0] * grid[1])
        for row in range(len(images)):
            # Copies: a view that a cache keeps would keep its whole batch.
            own = {name: array[row].copy() for name, array in made.items()}
            visual = VisualTokens(own["visual"], own["attention"], positions, grid)
            yield Encoding({"dense": own["embedding"], "tokens": own["tokens"]}, visual)
