"""What arrives from a caller, checked against the limits, before anything is decoded."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL.Image import Image

from tamis.models import instructions
from tamis.models.errors import ImageError, InputError
from tamis.models.runtimes.images import decode
from tamis.models.types import Content, Modality, Side, parts_there
from tamis.server.cache.keys import content_digest
from tamis.server.config import Limits
from tamis.v1 import content_pb2 as pb

DEFAULTS = Limits()
# Bytes of images that are hashed in less time than a change of threads takes.
SMALL = 64 << 10


@dataclass(frozen=True, slots=True)
class RawContent:
    """A content as it was sent: its image and frames are still files' bytes.

    Decoding waits until an encoder needs the pixels, because a remembered query needs none.
    """

    text: str | None = None
    image: bytes | None = None
    instruction: str | None = None
    frames: tuple[bytes, ...] = ()
    max_pixels: int = DEFAULTS.max_image_pixels
    _decoding: "list[asyncio.Task[Content]]" = field(
        default_factory=list, repr=False, compare=False
    )

    @property
    def modalities(self) -> frozenset[Modality]:
        """What the content has."""
        return parts_there(text=self.text, image=self.image, frames=self.frames)

    @property
    def made_of(self) -> str | None:
        """Its modalities in one word: `text`, `image`, `image,text` or `video`; None of none."""
        if self.frames:
            return "video"
        parts = [name for name in ("image", "text") if getattr(self, name) is not None]
        return ",".join(parts) or None

    async def digest(self, side: Side) -> str:
        """32 hex digits that tell this content on this side from every other one."""
        files = (self.image or b"", *self.frames)
        if sum(map(len, files)) <= SMALL:
            image, *frames = _digests(files)
        else:
            image, *frames = await asyncio.to_thread(_digests, files)
        return content_digest(
            side=side,
            text=self.text,
            image_digest=None if self.image is None else image,
            instruction=self.instruction,
            frames_digest=b"".join(frames) or None,
        )

    async def decoded(self) -> Content:
        """The content with its pixels. Decodes once, in a thread, however many ask for it.

        Raises:
            ImageError: Bytes are not a picture that we read, or one that is too large.
        """
        if self.image is None and not self.frames:
            return Content(text=self.text, instruction=self.instruction)
        if not self._decoding:
            self._decoding.append(asyncio.create_task(asyncio.to_thread(self._decode)))
        return await asyncio.shield(self._decoding[0])

    def _decode(self) -> Content:
        image = None if self.image is None else decode(self.image, max_pixels=self.max_pixels)
        frames = _decoded_frames(self.frames, self.max_pixels)
        return Content(self.text, image, self.instruction, frames)


def raw_content(message: pb.Content, limits: Limits, *, where: str) -> RawContent:
    """The message as a content.

    Raises:
        InputError: It is empty, or larger than the limits allow; the message names `where`.
    """
    text = message.text if message.HasField("text") else None
    image = message.image.data if message.HasField("image") else None
    instruction = instruction_of(
        message.instruction if message.HasField("instruction") else None,
        message.task if message.HasField("task") else None,
        where=f"{where}.task",
    )
    frames = tuple(frame.data for frame in message.frames)
    if text is not None and not text.strip():
        raise InputError(f"{where}.text: is empty; leave it unset where there is none")
    if text is None and image is None and not frames:
        raise InputError(f"{where}: is empty; give a text, an image or frames")
    for name, value in (("text", text), ("instruction", instruction)):
        size = len(value.encode()) if value else 0
        if size > limits.max_text_bytes:
            raise InputError(f"{where}.{name}: {size} bytes; at most {limits.max_text_bytes}")
    if len(frames) > limits.max_frames:
        raise InputError(
            f"{where}.frames: {len(frames)} frames; at most {limits.max_frames}: choose that many, "
            "evenly over the video"
        )
    if image is not None:
        _check_picture(image, limits, f"{where}.image")
    for number, frame in enumerate(frames):
        _check_picture(frame, limits, f"{where}.frames[{number}]")
    return RawContent(text, image, instruction, frames, limits.max_image_pixels)


def instruction_of(instruction: str | None, task: str | None, *, where: str) -> str | None:
    """The instruction itself, or that of the task: encoders and caches know no tasks.

    Raises:
        InputError: Both are given, or the task is unknown; the message names `where`, the task.
    """
    if task is None:
        return instruction
    if instruction is not None:
        raise InputError(f"{where}: give a task or an instruction, not both")
    try:
        return instructions.find(task).instruction
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _check_picture(data: bytes, limits: Limits, where: str) -> None:
    if not data:
        raise InputError(f"{where}: is empty; leave it unset where there is none")
    if len(data) > limits.max_image_bytes:
        raise InputError(f"{where}: {len(data)} bytes; at most {limits.max_image_bytes}")


def _digests(files: Sequence[bytes]) -> list[bytes]:
    return [hashlib.blake2b(file).digest() for file in files]


def _decoded_frames(frames: Sequence[bytes], max_pixels: int) -> tuple[Image, ...]:
    """The frames' pixels: a video takes no more memory than one picture may.

    Raises:
        ImageError: One is not a picture that we read, or all together are too large.
    """
    made: list[Image] = []
    for number, frame in enumerate(frames):
        left = max_pixels - sum(image.width * image.height for image in made)
        try:
            made.append(decode(frame, max_pixels=left))
        except ImageError as error:
            before = f"; {number} frames before it left that of {max_pixels}" * (left < max_pixels)
            raise ImageError(f"frames[{number}]: {error}{before}") from error
    return tuple(made)
