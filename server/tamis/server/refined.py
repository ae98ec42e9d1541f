"""What visual refiners leave of one picture, and the sheet that shows it."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from tamis.models import catalog
from tamis.models.blocks.similarity import cosine
from tamis.models.encoders import Encoder, PictureEncoder
from tamis.models.errors import SettingsError
from tamis.models.refiners import Refiner, VisualRefiner
from tamis.models.runtimes.folder import NAME, method_of
from tamis.models.types import Content, Encoding, Head, Kind, Side, VisualTokens
from tamis.server.show import Shown, selected, sheet

RUNS = 5  # of which the median is told
SCALE = 5  # the drawn picture to what the encoder reads
COLUMNS = 4
LARGE = 560  # pixels, the side of a picture that is drawn alone


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as an encoder sees it.

    Attributes:
        tokens: What the encoder makes of it.
        framed: The part of the picture that the encoder reads.
        likeness: How much each token is like a query, if there is one.
    """

    tokens: VisualTokens
    framed: Image.Image
    likeness: Float[np.ndarray, " tokens"] | None = None


@dataclass(frozen=True, slots=True)
class Refined:
    """What a refiner makes of a picture's tokens.

    Attributes:
        method: The refiner.
        after: Tokens that are left.
        ms: How long it took, the median of a few runs.
        owners: For each place of the grid, the place of the token that stands for it, or -1.
    """

    method: str
    after: int
    ms: float
    owners: Int[np.ndarray, " places"]

    @property
    def kept(self) -> float:
        """The share of the picture whose own tokens are left."""
        return float((self.owners == np.arange(len(self.owners))).mean())

    @property
    def merged(self) -> float:
        """The share of the picture that other places' tokens stand for."""
        return 1 - self.kept - self.dropped

    @property
    def dropped(self) -> float:
        """The share of the picture of which nothing is left."""
        return float((self.owners == -1).mean())

    def found(self, places: Int[np.ndarray, " n"]) -> float:
        """The share of some places of which anything is left."""
        return float((self.owners[places] != -1).mean())


def visual_refiners() -> list[str]:
    """The names of the refiners of visual tokens."""
    names = catalog.names(Refiner)
    return [name for name in names if issubclass(catalog.find(Refiner, name), VisualRefiner)]


def look(image: Image.Image, named: str, query: str | None = None, words: str = "") -> Look:
    """What an encoder sees in a picture.

    Args:
        image: The picture, in mode RGB.
        named: The encoder: a method that needs no folder, or a model folder.
        query: What to hold each token against.
        words: The encoder that reads the query, in the space of the encoder's vectors of tokens.

    Raises:
        SettingsError: The encoder gives no visual tokens, or none that a query can be held against.
        ModelError: An encoder cannot be opened.
    """
    encoder = opened(named)
    (made,) = encoder.encode([Content(image=image)], Side.DOCUMENT)
    if made.visual is None or not isinstance(encoder, PictureEncoder):
        raise SettingsError(f"{named}: gives no visual tokens")
    framed = encoder.framed(image, SCALE)
    if query is None:
        return Look(made.visual, framed)
    for head, vectors in _vectors(encoder, made, Kind.MULTI):
        if len(vectors) == len(made.visual):
            vector = _read(query, words, head.space)
            return Look(made.visual, framed, cosine(vectors, vector[None])[:, 0])
    raise SettingsError(f"{named}: gives no vector a token that a query can be held against")


def opened(named: str) -> Encoder:
    """An encoder by its method's name, or from a model folder.

    Raises:
        SettingsError: The method needs a folder, or is not there.
        ModelError: The folder is none of an encoder, or damaged.
    """
    if (Path(named) / NAME).is_file() or named not in catalog.names(Encoder):
        return catalog.load(Encoder, method_of(named), {"folder": named})
    return catalog.load(Encoder, named, {})


def _read(query: str, words: str, space: str) -> Float[np.ndarray, " dim"]:
    """A query's vector in a space."""
    encoder = opened(words)
    (made,) = encoder.encode([Content(text=query)], Side.QUERY)
    for head, vector in _vectors(encoder, made, Kind.DENSE):
        if head.space == space:
            return vector
    raise SettingsError(f"{words}: reads no text into the space {space!r}")


def _vectors(
    encoder: Encoder, made: Encoding, kind: Kind
) -> Iterator[tuple[Head, Float[np.ndarray, "..."]]]:
    """What the heads of a kind made, where they made anything."""
    for name, head in encoder.heads.items():
        vectors = made.heads.get(name)
        if head.kind is kind and isinstance(vectors, np.ndarray):
            yield head, vectors


def refine(method: str, tokens: VisualTokens, keep: int) -> Refined:
    """What a visual refiner makes of a picture's tokens, of which it may keep so many."""
    refiner = catalog.load(VisualRefiner, method, {"budget": keep})
    left = refiner.refine(tokens)
    took = []
    for _ in range(RUNS):
        started = time.perf_counter()
        refiner.refine(tokens)
        took.append(time.perf_counter() - started)
    whole = len(left) == len(tokens)
    owners = np.arange(len(tokens)) if whole else refiner.plan(tokens).owners(len(tokens))
    return Refined(method, len(left), 1000 * statistics.median(took), owners)


def draw(
    seen: Look,
    refined: Sequence[Refined],
    heading: str,
    sought: Int[np.ndarray, " n"] | None = None,
) -> Image.Image:
    """The refiners' choices side by side, after the picture itself; a single choice is drawn alone.

    Args:
        seen: The picture.
        refined: What is left of it.
        heading: Of the sheet.
        sought: The places that are most like the query.
    """
    grid = seen.tokens.grid
    pictures = [Shown(seen.framed, "the picture")] if len(refined) > 1 else []
    if sought is not None:
        owners = selected(sought.tolist(), grid)
        pictures.append(Shown(seen.framed, "most like the query", owners, grid))
    for one in refined:
        title = f"{one.method}: {len(one.owners)} to {one.after} in {one.ms:.2f} ms"
        pictures.append(Shown(seen.framed, title, one.owners.tolist(), grid))
    return sheet(heading, pictures, COLUMNS, **({"side": LARGE} if len(pictures) == 1 else {}))
