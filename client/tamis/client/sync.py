"""The blocking client."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

from tamis.client import calls, collection_calls, errors
from tamis.client.batches import Batches
from tamis.client.enums import ContextDelivery, Side, View
from tamis.client.filters import Filterable
from tamis.client.frames import Frames
from tamis.client.gates import Gate, Size
from tamis.client.options import CALL_TIMEOUT_S, CHECK_TIMEOUT_S
from tamis.client.pool import Place
from tamis.client.results import Failure, Hit, OptimizeProgress, Ranked, Refined, StageResult
from tamis.client.searcher import Call
from tamis.client.searching import Search, SearchArguments
from tamis.client.surface import Surface
from tamis.client.sync_hedging import Hedged
from tamis.client.sync_session import Session
from tamis.client.sync_streams import SearchStream, UpsertStream
from tamis.client.sync_upkeep import Upkeep
from tamis.client.tensors import Context, Embedding
from tamis.client.types import (
    CallOptions,
    Collection,
    Document,
    Input,
    SearchOptions,
    ServerInfo,
    TermWeighting,
)
from tamis.client.unary import Unary
from tamis.v1.retrieval_service_pb2 import SearchRequest

T = TypeVar("T")


class Client(Upkeep, Surface[SearchStream, UpsertStream, Iterable[Document]]):
    """A client of one server. Any number of threads may use it at once."""

    _gate: Gate

    def _new_gate(self, size: Size) -> Gate:
        return Gate(size, self._limit)

    def _channel(self) -> grpc.Channel:
        if self._credentials is None:
            return grpc.insecure_channel(self.target, self._arguments)
        return grpc.secure_channel(self.target, self._credentials, self._arguments)

    def _connect(self) -> None:
        self._pool()  # here, where no other thread is making one

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
        for lane in self._made.lanes if self._made else ():
            lane.channel.close()

    def _limit(self, call: Call) -> int:
        left_s = call.left_s
        info = self.info(timeout=CALL_TIMEOUT_S if left_s is None else left_s)
        return info.limits.max_in_flight

    def _enter(self, call: Call) -> Place:
        self._gate.enter(call)
        return self._limited_place()

    def _ask(self, unary: Unary[T], options: CallOptions, timeout: float = CALL_TIMEOUT_S) -> T:
        call = self._call(options, timeout)
        place = self._enter(call) if unary.limited else self._place()
        try:
            response = unary.method(place.lane.stubs)(unary.request, **call.arguments)
        except grpc.RpcError as error:
            raise errors.of_call(error, call.request_id) from error
        finally:
            place.leave()
        return unary.read(response)

    def _send(self, request: SearchRequest, call: Call) -> Any:
        place = self._enter(call)
        stream = place.held_by(place.lane.stubs.retrieval.Search, request, **call.arguments)
        if self._hedge_after_s is None:
            return stream
        self._allowance.earn()

        def second() -> Any | None:
            if not self._gate.try_enter():
                return None
            other = self._limited_place(beside=place.lane)
            if not self._allowance.spend():
                other.leave()
                return None
            return other.held_by(other.lane.stubs.retrieval.Search, request, **call.arguments)

        return Hedged(stream, second, self._hedge_after_s)

    def _events(self, search: Search, describe: Callable[[], Call]) -> SearchStream:
        return SearchStream(search, describe, self._send)

    def session(self, **options: Unpack[CallOptions]) -> Session:
        return Session(
            self._place, lambda: self._call(options, math.inf), self._gate, self._timeout
        )

    def _upsert(
        self, batches: Batches, documents: Iterable[Document], describe: Callable[[], Call]
    ) -> UpsertStream:
        return UpsertStream(batches, documents, describe, self._place)

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
        return self._ask(collection_calls.delete(collection, ids, filter), options)

    def get(
        self,
        collection: str,
        ids: Sequence[str],
        *,
        view: str = View.PAYLOAD,
        **options: Unpack[CallOptions],
    ) -> list[Document]:
        return self._ask(collection_calls.get(collection, ids, view), options)

    def create_collection(
        self,
        name: str,
        vectors: Sequence[str] = (),
        *,
        weightings: Mapping[str, TermWeighting] = MappingProxyType({}),
        indexes: Mapping[str, str] = MappingProxyType({}),
        **options: Unpack[CallOptions],
    ) -> Collection:
        made = collection_calls.create_collection(name, vectors, weightings, indexes)
        return self._ask(made, options)

    def collection(self, name: str, **options: Unpack[CallOptions]) -> Collection:
        return self._ask(collection_calls.collection(name), options)

    def collections(self, **options: Unpack[CallOptions]) -> list[Collection]:
        return self._ask(collection_calls.collections(), options)

    def optimize_collection(
        self, name: str, *, retrain: bool = False, **options: Unpack[CallOptions]
    ) -> Iterator[OptimizeProgress]:
        call, place = self._call(options, math.inf), self._place()
        stream = place.held_by(
            place.lane.stubs.collections.OptimizeCollection,
            collection_calls.optimize(name, retrain),
            **call.arguments,
        )
        try:
            for response in stream:
                yield collection_calls.optimize_progress(response)
        except grpc.RpcError as error:
            raise errors.of_call(error, call.request_id) from error
        finally:
            stream.cancel()

    def drop_collection(self, name: str, **options: Unpack[CallOptions]) -> None:
        self._ask(collection_calls.drop_collection(name), options)

    def embed(
        self,
        encoder: str,
        inputs: Sequence[Input],
        side: str = Side.QUERY,
        heads: Sequence[str] = (),
        **options: Unpack[CallOptions],
    ) -> list[Embedding | Failure]:
        return self._ask(calls.embed(encoder, inputs, side, heads), options)

    def batch_search(
        self,
        queries: Sequence[Input],
        *,
        collection: str,
        k: int = 10,
        pipeline: str | None = None,
        filter: Filterable | None = None,
        view: str = View.PAYLOAD,
        **options: Unpack[SearchOptions],
    ) -> list[StageResult | Failure]:
        unary = calls.batch_search(queries, collection, k, pipeline, filter, view, options)
        return self._ask(unary, calls.call_options(options))

    def rerank(
        self,
        query: Input,
        documents: Sequence[Document],
        pipeline: str | None = None,
        max_calls: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Ranked:
        return self._ask(calls.rerank(query, documents, pipeline, max_calls), options)

    def refine(
        self,
        query: Input | None,
        documents: Sequence[Document],
        pipeline: str | None = None,
        budget: int | None = None,
        context_delivery: str = ContextDelivery.INLINE,
        **options: Unpack[CallOptions],
    ) -> Refined:
        unary = calls.refine(query, documents, pipeline, budget, context_delivery)
        return self._ask(unary, options)

    def get_context(self, handle: str, **options: Unpack[CallOptions]) -> Context:
        call = self._call(options, CALL_TIMEOUT_S)
        place, frames = self._place(), Frames(call.request_id)
        stream = place.held_by(
            place.lane.stubs.refining.GetContext, frames.request(handle), **call.arguments
        )
        try:
            for response in stream:
                frames.add(response)
        except grpc.RpcError as error:
            raise errors.of_call(error, call.request_id) from error
        finally:
            stream.cancel()
        return frames.joined()

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
