"""How payloads come back from our engine: as JSON text, where Qdrant has a tree of messages.

Qdrant's API makes one message of every value, which takes 59 us for a payload of a dozen values,
there and back; as text it takes 30 us. So our client says in its metadata that it reads such text.
A cluster pays no heed, and our engine answers other clients as a cluster would.
"""

import json
from collections.abc import Mapping, MutableMapping
from typing import Any

from qdrant_client import grpc
from qdrant_client.conversions.conversion import grpc_to_payload, payload_to_grpc

METADATA = ("tamis-payload", "json")
# No document's key: the text stands in place of the whole payload.
_KEY = "\0json"
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def pack(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload as one text."""
    return {_KEY: grpc.Value(string_value=_ENCODE(payload))}


def spread(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload as Qdrant has it."""
    return payload_to_grpc(dict(payload))


def unpack(message: MutableMapping[str, grpc.Value]) -> dict[str, Any]:
    """A payload of either form."""
    if _KEY in message:
        payload: dict[str, Any] = json.loads(message[_KEY].string_value)
        return payload
    return grpc_to_payload(message)  # type: ignore[arg-type]
