"""The server's encoders in a worker of a bulk job."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from tamis.client import Document, SparseVector, Tensor, VectorField
from tamis.client.messages import document_message
from tamis.models.errors import SettingsError, TamisError
from tamis.models.types import Representation, Side, Sparse
from tamis.server.config import Limits, ServerSettings, read
from tamis.server.content import RawContent, raw_content
from tamis.server.loading import open_encoder
from tamis.server.served import ServedEncoder


class DocumentEncoders:
    """Makes the representations that a collection indexes, as the server would.

    Encoders without weights are left to the server: what they make is cheaper to make than to send.
    """

    def __init__(
        self, served: Mapping[str, ServedEncoder], names: set[str], limits: Limits
    ) -> None:
        self._served = served
        self._names = names
        self._limits = limits

    @classmethod
    async def open(cls, path: Path, fields: Sequence[VectorField], workers: int) -> Self:
        """The encoders of a settings file that made, or will make, a collection's vectors.

        Args:
            path: The server's settings.
            fields: What the collection indexes.
            workers: How many workers share the machine's cores.

        Raises:
            SettingsError: The settings are wrong, or their encoders are not those of the server.
            ModelError: A model's files are missing or damaged.
        """
        settings, served = await asyncio.to_thread(_loaded, path, fields, workers)
        for one in served.values():
            await one.open()
        names = {field.name for field in fields if field.name.partition(".")[0] in served}
        return cls(served, names, settings.limits)

    async def close(self) -> None:
        """Ends the encoders' threads."""
        for one in self._served.values():
            await one.close()

    async def encoded(
        self, documents: Sequence[Document]
    ) -> tuple[list[Document], list[tuple[str, str]]]:
        """The documents with their representations, and the ids of those that cannot be encoded."""
        made = await asyncio.gather(*map(self._encoded, documents))
        pairs = list(zip(documents, made, strict=True))
        return (
            [one for one in made if isinstance(one, Document)],
            [(given.id, one) for given, one in pairs if isinstance(one, str)],
        )

    async def _encoded(self, document: Document) -> Document | str:
        """The document with its representations, or why it has none."""
        try:
            message = document_message(document)
            content = raw_content(message.content, self._limits, where="content")
            await content.decoded()  # a picture that no encoder reads must be one, too
            found = await self._representations(content)
        except (TamisError, ValueError) as error:
            return str(error)
        return replace(document, representations=found)

    async def _representations(self, content: RawContent) -> dict[str, Tensor | SparseVector]:
        reading = {
            name: served
            for name, served in self._served.items()
            if served.encoder.modalities & content.modalities
        }
        encodings = await asyncio.gather(
            *(one.encode(content, Side.DOCUMENT, bulk=True) for one in reading.values())
        )
        return {
            full: _sendable(value)
            for name, encoding in zip(reading, encodings, strict=True)
            for head, value in encoding.heads.items()
            if (full := f"{name}.{head}") in self._names
        }


def _loaded(
    path: Path, fields: Sequence[VectorField], workers: int
) -> tuple[ServerSettings, dict[str, ServedEncoder]]:
    settings = replace(read(path), workers=workers, warm_up_s=0.0)
    served: dict[str, ServedEncoder] = {}
    for field in fields:
        name = field.name.partition(".")[0]
        if name in served:
            continue
        if name not in settings.encoders:
            raise SettingsError(
                f"{path}: the collection indexes {field.name}; no encoder is {name}"
            )
        encoder = open_encoder(settings, name)
        if encoder.fingerprint != field.fingerprint:
            raise SettingsError(
                f"{path}: encoders.{name} has fingerprint {encoder.fingerprint}; the collection "
                f"holds what {field.fingerprint} makes"
            )
        if encoder.runtime:
            served[name] = ServedEncoder(name, encoder, settings.batch, None)
    return settings, served


def _sendable(value: Representation) -> Tensor | SparseVector:
    if isinstance(value, Sparse):
        return SparseVector(tuple(value.indices.tolist()), tuple(value.values.tolist()))
    return Tensor.of(np.ascontiguousarray(value, dtype=value.dtype))
