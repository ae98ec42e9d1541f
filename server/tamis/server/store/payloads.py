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


def pack(message: MutableMapping[str, grpc.Value], payload: Mapping[str, Any]) -> None:
    """Puts a payload in a message as one text."""
    message[_KEY].string_value = _ENCODE(payload)


def spread(message: MutableMapping[str, grpc.Value], payload: Mapping[str, Any]) -> None:
    """Puts a payload in a message as Qdrant has it."""
    for name, value in grpc.PointStruct(payload=payload_to_grpc(dict(payload))).payload.items():
        message[name].CopyFrom(value)


def unpack(message: MutableMapping[str, grpc.Value]) -> dict[str, Any]:
    """A payload of either form."""
    if not message:
        return {}
    if _KEY in message:
        payload: dict[str, Any] = json.loads(message[_KEY].string_value)
        return payload
    return grpc_to_payload(message)  # type: ignore[arg-type]
