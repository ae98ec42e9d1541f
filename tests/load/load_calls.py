"""The calls that a load is made of: `Search`, `SearchSession`, `Embed`, and Triton's ModelInfer."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from load_loops import Call, Ended

from tamis.server.oip.messages import SERVICE, ModelInferRequest, ModelInferResponse
from tamis.v1 import embedding_service_pb2, failure_pb2, stage_pb2
from tamis.v1 import retrieval_service_pb2 as pb
from tamis.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from tamis.v1.retrieval_service_pb2_grpc import RetrievalServiceStub

OPTIONS = (
    # Calls are counted as they are: a retry would hide a refusal.
    ("grpc.enable_retries", 0),
    # Channels to one address would share a connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 64 << 20),
)
WORDS = (
    ("red", "small", "old", "round", "wooden", "bright", "quiet", "striped"),
    ("bird", "bicycle", "guitar", "house", "apple", "train", "lamp", "violin"),
    ("on a branch", "at night", "by the sea", "in the snow", "from above", "with a bow"),
)
_COMBINED = tuple(map(" ".join, itertools.product(*WORDS)))
_CODES = {  # a session's failures have reasons; the table has gRPC's codes
    failure_pb2.REASON_INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    failure_pb2.REASON_OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_WANTING = {stage_pb2.SKIP_REASON_BUDGET_EXCEEDED, stage_pb2.SKIP_REASON_OVERLOADED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is called, and how.

    Attributes:
        address: The server's, as host:port.
        deadline_s: Of each call, in seconds.
        collection: What is searched.
        encoder: What embeds; for ModelInfer, the model.
        distinct: How many texts there are before they repeat; 0 for no end, and then the server is
            asked to remember nothing.
        channels: Connections that the calls are spread over.
        k: Hits of a search.
    """

    address: str
    deadline_s: float = 1.0
    collection: str = "demo"
    encoder: str = "minilm"
    distinct: int = 0
    channels: int = 4
    k: int = 10

    def text(self, number: int) -> str:
        """The query of that number: some six tokens."""
        number = number % self.distinct if self.distinct else number
        again, place = divmod(number, len(_COMBINED))
        return f"{_COMBINED[place]} {again}" if again else _COMBINED[place]

    def search(self, number: int) -> pb.SearchRequest:
        """The search of that number."""
        request = search_request(self.collection, self.text(number), self.k)
        request.request_id = str(number)
        if not self.distinct:
            request.options.cache_policy = pb.CACHE_POLICY_BYPASS
        return request


@asynccontextmanager
async def _channels(target: Target) -> AsyncIterator[list[grpc.aio.Channel]]:
    made = [grpc.aio.insecure_channel(target.address, OPTIONS) for _ in range(target.channels)]
    try:
        yield made
    finally:
        await asyncio.gather(*(channel.close() for channel in made))


@asynccontextmanager
async def search(target: Target) -> AsyncIterator[Call]:
    """A stream for each search."""
    loop = asyncio.get_running_loop()
    async with _channels(target) as channels:
        stubs = [RetrievalServiceStub(channel) for channel in channels]

        async def call(number: int) -> Ended:
            first, skipped = None, False
            stub = stubs[number % len(stubs)]
            responses: Any = stub.Search(target.search(number), timeout=target.deadline_s)
            try:
                async for response in responses:
                    first = first or loop.time()
                    skipped = skipped or response.skipped.reason in _WANTING
            except grpc.aio.AioRpcError as error:
                return Ended(error.code().name, first, skipped)
            finally:
                responses.cancel()  # grpcio does not, of a stream that is given up
            return Ended("OK", first, skipped)

        yield call


@asynccontextmanager
async def session(target: Target) -> AsyncIterator[Call]:
    """All searches of a connection on one stream."""
    async with _channels(target) as channels:
        sessions = [_Session(RetrievalServiceStub(channel), target) for channel in channels]
        try:
            yield lambda number: sessions[number % len(sessions)].search(number)
        finally:
            for one in sessions:
                one.end()


class _Session:
    """One stream: searches go out as they come, and answers find them by their ids."""

    def __init__(self, stub: Any, target: Target) -> None:
        self._target = target
        self._timeout = Duration()
        self._timeout.FromNanoseconds(round(1e9 * target.deadline_s))
        self._stream = stub.SearchSession()
        self._writing = asyncio.Lock()
        self._waiting: dict[str, asyncio.Queue[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    async def search(self, number: int) -> Ended:
        """One search, to its end."""
        request = self._target.search(number)
        answers = self._waiting[request.request_id] = asyncio.Queue()
        asked = pb.SessionSearch(request=request, timeout=self._timeout)
        first, skipped = None, False
        try:
            async with self._writing:
                await self._stream.write(pb.SearchSessionRequest(search=asked))
            while isinstance(answer := await answers.get(), pb.SearchSessionResponse):
                if answer.HasField("failure"):
                    return Ended(_code(answer.failure.reason), first, skipped)
                first = first or asyncio.get_running_loop().time()
                skipped = skipped or answer.response.skipped.reason in _WANTING
                if answer.response.HasField("summary"):
                    return Ended("OK", first, skipped)
            return Ended(answer, first, skipped)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the stream has ended
            return Ended(grpc.StatusCode.UNAVAILABLE.name, first, skipped)
        finally:
            del self._waiting[request.request_id]

    def end(self) -> None:
        """Gives the stream up."""
        self._stream.cancel()
        self._reader.cancel()

    async def _read(self) -> None:
        code = grpc.StatusCode.UNAVAILABLE.name
        try:
            async for response in self._stream:
                if (answers := self._waiting.get(response.request_id)) is not None:
                    answers.put_nowait(response)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        finally:
            for answers in self._waiting.values():
                answers.put_nowait(code)


@asynccontextmanager
async def embed(target: Target) -> AsyncIterator[Call]:
    """One text an `Embed`."""
    async with _channels(target) as channels:
        stubs = [EmbeddingServiceStub(channel) for channel in channels]

        async def call(number: int) -> Ended:
            request = embed_request(target.encoder, target.text(number))
            sent: Any = stubs[number % len(stubs)].Embed(request, timeout=target.deadline_s)
            try:
                (result,) = (await sent).results
            except grpc.aio.AioRpcError as error:
                return Ended(error.code().name)
            return Ended(_code(result.failure.reason) if result.HasField("failure") else "OK")

        yield call


@asynccontextmanager
async def oip(target: Target) -> AsyncIterator[Call]:
    """One text a ModelInfer."""
    async with _channels(target) as channels:
        methods = [
            channel.unary_unary(
                f"/{SERVICE}/ModelInfer",
                ModelInferRequest.SerializeToString,
                ModelInferResponse.FromString,
            )
            for channel in channels
        ]

        async def call(number: int) -> Ended:
            request = infer_request(target.encoder, target.text(number))
            try:
                await methods[number % len(methods)](request, timeout=target.deadline_s)
            except grpc.aio.AioRpcError as error:
                return Ended(error.code().name)
            return Ended("OK")

        yield call


METHODS: dict[str, Callable[[Target], AbstractAsyncContextManager[Call]]] = {
    "search": search,
    "session": session,
    "embed": embed,
    "oip": oip,
}


def search_request(collection: str, text: str, k: int = 10) -> pb.SearchRequest:
    """A `SearchRequest` for a text."""
    request = pb.SearchRequest(collection=collection, k=k)
    request.query.text = text
    return request


def embed_request(encoder: str, *items: str | bytes) -> embedding_service_pb2.EmbedRequest:
    """An `EmbedRequest` for the dense vectors of texts or pictures' files."""
    request = embedding_service_pb2.EmbedRequest(encoder=encoder, heads=["dense"])
    for item in items:
        if isinstance(item, str):
            request.inputs.add(text=item)
        else:
            request.inputs.add().image.data = item
    return request


def infer_request(model: str, *items: str | bytes) -> Any:
    """A `ModelInferRequest` for the dense vectors of texts, or of pictures' files."""
    request = ModelInferRequest(model_name=model)
    name = "TEXT" if isinstance(items[0], str) else "IMAGE"
    request.inputs.add(name=name, datatype="BYTES", shape=[len(items), 1])
    elements = (item.encode() if isinstance(item, str) else item for item in items)
    request.raw_input_contents.append(
        b"".join(len(element).to_bytes(4, "little") + element for element in elements)
    )
    request.outputs.add(name="dense")
    return request


def _code(reason: failure_pb2.Reason.ValueType) -> str:
    if reason in _CODES:
        return _CODES[reason].name
    return failure_pb2.Reason.Name(reason).removeprefix("REASON_")
