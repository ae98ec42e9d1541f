"""The blocking client."""

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc

from tamis.client import calls, errors
from tamis.client.batches import Batches
from tamis.client.calls import Stubs, Unary
from tamis.client.enums import Side, View
from tamis.client.filters import Filterable
from tamis.client.options import CALL_TIMEOUT_S, CHECK_TIMEOUT_S
from tamis.client.searching import Search, SearchArguments
from tamis.client.surface import Call, Surface
from tamis.client.sync_streams import SearchStream, UpsertStream
from tamis.client.tensors import Embedding
from tamis.client.types import (
    CallOptions,
    Collection,
    Document,
    Failure,
    Hit,
    Input,
    ServerInfo,
)

T = TypeVar("T")


class Client(Surface[SearchStream, UpsertStream, Iterable[Document]]):
    """A client of one server. Any number of threads may use it at once."""

    _channel: grpc.Channel
    _made: Stubs

    def _connect(self) -> None:
        self._channel = (
            grpc.insecure_channel(self.target, self._arguments)
            if self._credentials is None
            else grpc.secure_channel(self.target, self._credentials, self._arguments)
        )
        self._made = Stubs(self._channel)

    def _stubs(self) -> Stubs:
        return self._made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        self._channel.close()

    def _ask(self, unary: Unary[T], options: CallOptions, timeout: float = CALL_TIMEOUT_S) -> T:
        call = self._call(options, timeout)
        try:
            response = unary.method(call.stubs)(unary.request, **call.arguments)
        except grpc.RpcError as error:
            raise errors.of_call(error, call.request_id) from error
        return unary.read(response)

    def _events(self, search: Search, open_call: Callable[[], Call]) -> SearchStream:
        return SearchStream(search, open_call)

    def _upsert(
        self, batches: Batches, documents: Iterable[Document], open_call: Callable[[], Call]
    ) -> UpsertStream:
        return UpsertStream(batches, documents, open_call)

    def hits(
        self, query: Input | None = None, *, collection: str, **options: Unpack[SearchArguments]
    ) -> list[Hit]:
        with self.search(query, collection=collection, **options) as events:
            return list(events.final().hits)

    def delete(
        self,
        collection: str,
        ids: Sequence[str] = (),
        *,
        filter: Filterable | None = None,
        **options: Unpack[CallOptions],
    ) -> int:
        return self._ask(calls.delete(collection, ids, filter), options)

    def get(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        view: str = View.PAYLOAD,
        **options: Unpack[CallOptions],
    ) -> list[Document]:
        return self._ask(calls.get(collection, ids, view), options)

    def create_collection(
        self, name: str, vectors: Sequence[str] = (), **options: Unpack[CallOptions]
    ) -> Collection:
        return self._ask(calls.create_collection(name, vectors), options)

    def collection(self, name: str, **options: Unpack[CallOptions]) -> Collection:
        return self._ask(calls.collection(name), options)

    def collections(self, **options: Unpack[CallOptions]) -> list[Collection]:
        return self._ask(calls.collections(), options)

    def drop_collection(self, name: str, **options: Unpack[CallOptions]) -> None:
        self._ask(calls.drop_collection(name), options)

    def embed(
        self,
        encoder: str,
        inputs: Sequence[Input],
        side: str = Side.QUERY,
        heads: Sequence[str] = (),
        **options: Unpack[CallOptions],
    ) -> list[Embedding | Failure]:
        return self._ask(calls.embed(encoder, inputs, side, heads), options)

    def info(self, **options: Unpack[CallOptions]) -> ServerInfo:
        return self._ask(calls.info(), options)

    def ready(self, **options: Unpack[CallOptions]) -> bool:
        try:
            return self._ask(calls.ready(), options, CHECK_TIMEOUT_S)
        except errors.TamisClientError as error:
            return calls.ready_despite(error)

    def wait_until_ready(self, timeout: float = 30.0) -> None:
        end = time.monotonic() + timeout
        for pause in calls.pauses():
            if self.ready(timeout=max(0.0, min(CHECK_TIMEOUT_S, end - time.monotonic()))):
                return
            if time.monotonic() + pause > end:
                break
            time.sleep(pause)
        raise calls.not_ready(self.target, timeout)
