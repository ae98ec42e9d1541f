"""Documents on their way in: few messages of a bounded size. Pure."""

from tamis.client import messages, types
from tamis.client.options import MESSAGE_BYTES
from tamis.v1 import collection_service_pb2, document_pb2

# Bytes after which a message of documents is sent, so that one of large pictures stays well below
# gRPC's limit and the server can begin.
BATCH_BYTES = 8 << 20
# Messages that are sent before the first is answered, so that the server always has one to read.
WINDOW = 2
# What a message holds beside its document.
MARGIN_BYTES = 4096


class Batches:
    """Makes messages of documents: at most `size` of them, and few enough bytes."""

    def __init__(self, collection: str, size: int) -> None:
        if size < 1:
            raise ValueError(f"batch must be at least 1, not {size}")
        self._collection = collection
        self._size = size
        self._waiting: list[document_pb2.Document] = []
        self._bytes = 0

    def add(self, document: types.Document) -> collection_service_pb2.UpsertDocumentsRequest | None:
        """The message that must go before this document's, or None.

        Raises:
            ValueError: The document cannot be sent at all.
        """
        one = messages.document_message(document)
        size = one.ByteSize()
        if size > MESSAGE_BYTES - MARGIN_BYTES:
            raise ValueError(f"{document.id}: {size} bytes are more than one message can carry")
        full = len(self._waiting) >= self._size or self._bytes + size > BATCH_BYTES
        request = self.rest() if full else None
        self._waiting.append(one)
        self._bytes += size
        return request

    def rest(self) -> collection_service_pb2.UpsertDocumentsRequest | None:
        """What still waits, or None."""
        if not self._waiting:
            return None
        request = collection_service_pb2.UpsertDocumentsRequest(
            collection=self._collection, documents=self._waiting
        )
        self._waiting, self._bytes = [], 0
        return request
