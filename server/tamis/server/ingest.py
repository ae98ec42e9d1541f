"""Takes documents in: checks each one, encodes them together, and writes them down."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format, struct_pb2
from qdrant_client import models

from tamis.models.blocks.term_weights import document_weights
from tamis.models.errors import InputError, TamisError
from tamis.models.types import Representation, Side, Sparse
from tamis.server import ready_made
from tamis.server.collections import Collections
from tamis.server.config import Limits
from tamis.server.content import RawContent, raw_content
from tamis.server.documents import point_id
from tamis.server.encoders import Encoders
from tamis.server.late_interaction.fields import hidden
from tamis.server.lengths import Lengths
from tamis.server.messages import fingerprints, representations
from tamis.server.plans import vector
from tamis.server.store import (
    CollectionExistsError,
    CollectionSchema,
    UnknownCollectionError,
    point,
)
from tamis.server.tasks import together
from tamis.server.terms import weighting
from tamis.v1 import document_pb2

logger = logging.getLogger(__name__)

MAX_ID_BYTES = 512
# Documents being decoded and encoded at once: enough to fill batches, few enough to hold in memory.
AT_ONCE = 64


class Ingest:
    """Upserts documents. One that cannot be read fails alone."""

    def __init__(self, encoders: Encoders, collections: Collections, limits: Limits) -> None:
        self._encoders = encoders
        self._collections = collections
        self._limits = limits
        self._room = asyncio.Semaphore(AT_ONCE)
        self._lengths = Lengths()

    async def open(self, collection: str, documents: Sequence[document_pb2.Document] = ()) -> None:
        """Makes the collection where there is none of that name.

        Args:
            collection: Its name.
            documents: Its first ones: they tell how long its texts are, where nobody else does.
        """
        try:
            await self._collections.schema(collection)
        except UnknownCollectionError:
            fields = self._collections.default_fields()
            lengths = await self._lengths.measured(self._encoders, fields, documents)
            try:
                await self._collections.create(collection, weightings=lengths)
            except CollectionExistsError:
                logger.debug("another caller made %s first", collection)

    async def upsert(
        self, collection: str, documents: Sequence[document_pb2.Document]
    ) -> list[tuple[str, TamisError]]:
        """Writes the documents down; they can be found when this returns.

        Returns:
            Those that were left out, by id, and why.

        Raises:
            StoreUnavailableError: The index is away; nothing of this call is lost or half done.
        """
        schema = await self._collections.schema(collection)
        made = await together(*(self._point(collection, d, schema) for d in documents))
        points = {point.id: point for point in made if isinstance(point, models.PointStruct)}
        await self._collections.late.put_on_lists(schema, list(points.values()))
        if points:  # of two documents with one id, the later one stands
            await self._collections.store.upsert(collection, list(points.values()))
        return [
            (document.id[:MAX_ID_BYTES], outcome)
            for document, outcome in zip(documents, made, strict=True)
            if isinstance(outcome, TamisError)
        ]

    async def _point(
        self, collection: str, document: document_pb2.Document, schema: CollectionSchema
    ) -> models.PointStruct | TamisError:
        async with self._room:
            try:
                _check_id(document.id)
                given = self._given(collection, schema, document)
                content = RawContent()
                if document.HasField("content") or not given:
                    content = raw_content(document.content, self._limits, where="content")
                metadata = plain_metadata(document.metadata, self._limits.max_metadata_bytes)
                fields = {one for one in (*schema.vectors, *schema.sparse) if not hidden(one)}
                indexed = fields - given.keys()
                found = {**await self._representations(content, indexed), **given}
                found = await self._collections.late.pooled(found)
                found = {
                    name: self._weighed(collection, schema, name, value)
                    for name, value in found.items()
                    if not isinstance(value, Sparse) or value.values.any()
                }
                digest = None
                if content.image is not None:
                    digest = await self._collections.documents.pictures(collection).put(
                        content.image
                    )
            except TamisError as error:
                return error
            except Exception:
                logger.exception("document %.80s failed", document.id)
                return TamisError("internal error")
        payload = {
            "id": document.id,
            "text": content.text,
            "image": digest,
            "modality": content.made_of,
            "metadata": metadata,
        }
        return point(
            point_id(document.id),
            payload={key: value for key, value in payload.items() if value is not None},
            vectors={name: vector(value) for name, value in found.items()},
        )

    def _given(
        self, collection: str, schema: CollectionSchema, document: document_pb2.Document
    ) -> dict[str, Representation]:
        """What the document brings, which must be what the collection indexes."""
        if not document.representations:
            return {}
        given = representations(document.representations)
        for name in given:
            if name not in schema.vectors and name not in schema.sparse:
                raise InputError(f"representations[{name!r}]: {collection!r} does not index it")
        ready_made.check(given, self._encoders.heads)
        said = fingerprints(document.representations)
        held = schema.metadata.get("fingerprints", {})
        ready_made.check_fingerprints(said, held, repr(collection))
        return given

    def _weighed(
        self, collection: str, schema: CollectionSchema, name: str, value: Representation
    ) -> Representation:
        how = weighting(schema, name)
        if how is None or not isinstance(value, Sparse):
            return value
        there = value.values > 0
        if (value.values < 0).any():
            raise InputError(f"representations[{name!r}]: counts of terms are not below 0")
        counts = Sparse(value.indices[there], value.values[there])
        self._lengths.saw(collection, name, float(counts.values.sum()), how)
        return document_weights(counts, how)

    async def _representations(
        self, content: RawContent, indexed: set[str]
    ) -> dict[str, Representation]:
        names = sorted(
            name
            for name in {full.partition(".")[0] for full in indexed}
            if self._encoders[name].modalities & content.modalities
        )
        await content.decoded()  # an image that cannot be read fails the document, whoever reads it
        encodings = await together(
            *(self._encoders.encode(n, content, Side.DOCUMENT, bulk=True) for n in names)
        )
        return {
            f"{name}.{head}": value
            for name, encoding in zip(names, encodings, strict=True)
            for head, value in encoding.heads.items()
            if f"{name}.{head}" in indexed
        }


def _check_id(document_id: str) -> None:
    size = len(document_id.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise InputError(f"id: {size} bytes; from 1 to {MAX_ID_BYTES}")


def plain_metadata(struct: struct_pb2.Struct, max_bytes: int) -> Mapping[str, Any]:
    """The metadata as JSON values. Whole numbers become integers, so that filters find them.

    Raises:
        InputError: It is larger than `max_bytes` as JSON, or has numbers that JSON has not.
    """
    try:
        values = _whole(json_format.MessageToDict(struct))
    except ValueError as error:  # NaN and infinity
        raise InputError(f"metadata: {error}") from error
    size = len(json.dumps(values))
    if size > max_bytes:
        raise InputError(f"metadata: {size} bytes as JSON; at most {max_bytes}")
    return values


def _whole(value: Any) -> Any:
    match value:
        case dict():
            return {key: _whole(inner) for key, inner in value.items()}
        case list():
            return [_whole(inner) for inner in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
