"""Runs a model on the shapes that it will see, so that no caller pays for the first of each."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from tamis.models.encoders import Encoder
from tamis.models.errors import InputError, ModelError, TamisError
from tamis.models.types import Content, Modality, Side
from tamis.server.config import BatchSettings

logger = logging.getLogger(__name__)

SHORT = "warm up"
LONGEST = 1 << 16  # characters of a text, where the encoder itself sets no bound
FRAMES = 12  # of a video; what encoders of frames read at most
PIXELS = (512, 384)  # a picture of a common shape; most encoders make one size of all


@dataclass(frozen=True, slots=True)
class Shape:
    """A batch of one content, repeated.

    Attributes:
        content: The content.
        side: Which side of a search it is on.
        count: How often it is in the batch.
        cost: Of the whole batch, in the encoder's unit.
    """

    content: Content
    side: Side
    count: int
    cost: int


def warm_up(name: str, encoder: Encoder, settings: BatchSettings, *, budget_s: float) -> int:
    """Runs the encoder's shapes, the small ones first, and logs how many of them.

    A shape is left out when it would end past `budget_s`, by what the one before it took; the
    first one always runs, so that an encoder that cannot run is found out. With no budget nothing
    runs.

    Returns:
        The number of shapes that ran.

    Raises:
        ModelError: The encoder failed.
    """
    if budget_s <= 0:
        return 0
    planned = sorted(shapes(encoder, settings), key=lambda shape: shape.cost)
    began, ran, rate = time.monotonic(), 0, 0.0
    for shape in planned:
        started = time.monotonic()
        if started - began + rate * shape.cost > budget_s:
            break
        _run(name, encoder, shape)
        rate = (time.monotonic() - started) / shape.cost
        ran += 1
    took_s = time.monotonic() - began
    logger.info("%s: warmed up, %d of %d shapes in %.2f s", name, ran, len(planned), took_s)
    return ran


def shapes(encoder: Encoder, settings: BatchSettings) -> Iterator[Shape]:
    """The least and the most of each kind of content, alone and in the fullest batch."""
    reads = encoder.modalities
    contents = []
    if Modality.TEXT in reads:
        contents += [Content(text=SHORT), Content(text=longest(encoder))]
    if Modality.IMAGE in reads:
        image = Image.new("RGB", PIXELS, "grey")
        contents.append(Content(image=image))
        if Modality.TEXT in reads:
            contents.append(Content(text=SHORT, image=image))
    if Modality.VIDEO in reads:
        contents.append(Content(frames=(Image.new("RGB", PIXELS, "grey"),) * FRAMES))
    for content in contents:
        cost = max(encoder.cost(content), 1)
        yield Shape(content, Side.QUERY, 1, cost)
        most = min(settings.max_size, settings.max_cost // cost)
        if most > 1:
            yield Shape(content, Side.DOCUMENT, most, most * cost)


def longest(encoder: Encoder) -> str:
    """A text that the encoder just does not read to its end, or of `LONGEST` characters."""
    text = f"{SHORT} "
    while len(text) < LONGEST and not encoder.truncates(Content(text=text)):
        text += text
    return text[:LONGEST]


def _run(name: str, encoder: Encoder, shape: Shape) -> None:
    try:
        encoder.encode([shape.content] * shape.count, shape.side)
    except InputError as error:  # as of one that reads texts on one side only
        logger.debug("%s: takes no such %s: %s", name, shape.side, error)
    except TamisError:
        raise
    except Exception as error:  # a runtime raises what it likes
        raise ModelError(f"{name}: failed while it warmed up: {error}") from error
