"""What arrives from a caller, checked against the limits, before anything is decoded."""

import asyncio
import hashlib
from dataclasses import dataclass, field

from PIL.Image import Image

from tamis.models.errors import InputError
from tamis.models.runtimes.images import decode
from tamis.models.types import Content, Modality, Side
from tamis.server.cache.keys import content_digest
from tamis.server.config import Limits
from tamis.v1 import content_pb2 as pb

DEFAULTS = Limits()
# Bytes of an image that is hashed in less time than a change of threads takes.
SMALL = 64 << 10


@dataclass(frozen=True, slots=True)
class RawContent:
    """A content as it was sent: its image is still a file's bytes.

    Decoding waits until an encoder needs the pixels, because a remembered query needs none.
    """

    text: str | None = None
    image: bytes | None = None
    instruction: str | None = None
    max_pixels: int = DEFAULTS.max_image_pixels
    _decoding: "list[asyncio.Task[Image]]" = field(default_factory=list, repr=False, compare=False)

    @property
    def modalities(self) -> frozenset[Modality]:
        """What the content has."""
        has = {Modality.TEXT: self.text is not None, Modality.IMAGE: self.image is not None}
        return frozenset(modality for modality, there in has.items() if there)

    async def digest(self, side: Side) -> str:
        """32 hex digits that tell this content on this side from every other one."""
        image = None
        if self.image is not None:
            if len(self.image) <= SMALL:
                image = hashlib.blake2b(self.image).digest()
            else:
                image = (await asyncio.to_thread(hashlib.blake2b, self.image)).digest()
        return content_digest(
            side=side, text=self.text, image_digest=image, instruction=self.instruction
        )

    async def decoded(self) -> Content:
        """The content with its pixels. Decodes once, in a thread, however many ask for it.

        Raises:
            ImageError: The bytes are not a picture that we read, or one that is too large.
        """
        image = None
        if self.image is not None:
            if not self._decoding:
                work = asyncio.to_thread(decode, self.image, max_pixels=self.max_pixels)
                self._decoding.append(asyncio.create_task(work))
            image = await asyncio.shield(self._decoding[0])
        return Content(text=self.text, image=image, instruction=self.instruction)


def raw_content(message: pb.Content, limits: Limits, *, where: str) -> RawContent:
    """The message as a content.

    Raises:
        InputError: It is empty, or larger than the limits allow; the message names `where`.
    """
    text = message.text if message.HasField("text") else None
    image = message.image.data if message.HasField("image") else None
    instruction = message.instruction if message.HasField("instruction") else None
    if text is not None and not text.strip():
        raise InputError(f"{where}.text: is empty; leave it unset where there is none")
    if image is not None and not image:
        raise InputError(f"{where}.image: is empty; leave it unset where there is none")
    if text is None and image is None:
        raise InputError(f"{where}: is empty; give a text, an image or both")
    for name, value in (("text", text), ("instruction", instruction)):
        size = len(value.encode()) if value else 0
        if size > limits.max_text_bytes:
            raise InputError(f"{where}.{name}: {size} bytes; at most {limits.max_text_bytes}")
    if image is not None and len(image) > limits.max_image_bytes:
        raise InputError(f"{where}.image: {len(image)} bytes; at most {limits.max_image_bytes}")
    return RawContent(text, image, instruction, limits.max_image_pixels)
