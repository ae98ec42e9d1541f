"""Calls of our own, for which Qdrant's gRPC API has none: a collection's files out, and back in.

Both name a folder on the engine's machine, with `collection.json` and a `shard` in it.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from tamis.server.store.engine.collections import Collections


def methods(
    collections: Collections,
) -> dict[str, tuple[Callable[[Any], Awaitable[Message]], type[Message]]]:
    """What answers which call, by name."""

    async def copy_files(request: Struct) -> Struct:
        collection = collections[str(request["collection"])]
        documents = await collection.copy_files(Path(str(request["folder"])))
        answer = Struct()
        answer.update({"documents": documents})
        return answer

    async def adopt_files(request: Struct) -> Struct:
        await collections.adopt_files(str(request["collection"]), Path(str(request["folder"])))
        return Struct()

    return {"CopyFiles": (copy_files, Struct), "AdoptFiles": (adopt_files, Struct)}
