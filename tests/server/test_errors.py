from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import tamis.models.train.stamps  # with the pipeline's, errors of every kind are there
import tamis.server.pipeline  # noqa: F401
from tamis.models.errors import InputError, TamisError
from tamis.server.errors import INTERNAL, STATUS, OverloadedError, abort, failure_of, status_of
from tamis.v1 import failure_pb2 as pb

# Errors that no call can meet: of programs that train and export, of stages to the pipeline, and
# of a server that does not start.
INWARD = (
    "tamis.models.train",
    "tamis.models.export",
    "tamis.server.bulk",
    "tamis.server.evaluate",
    "tamis.server.pipeline",
    "tamis.server.workers",
)


def subclasses(kind: type[BaseException]) -> set[type[BaseException]]:
    return {below for sub in kind.__subclasses__() for below in (sub, *subclasses(sub))}


def test_every_error_of_ours_has_a_status() -> None:
    """Whoever adds an error decides what a client sees of it."""
    outward = {kind for kind in subclasses(TamisError) if not kind.__module__.startswith(INWARD)}
    assert [kind for kind in outward if status_of(kind()) is INTERNAL] == []


def test_the_nearest_base_class_decides() -> None:
    class TooLongError(InputError):
        pass

    assert status_of(TooLongError("9 KiB of text")) == STATUS[InputError]


def test_an_unforeseen_error_tells_the_client_nothing() -> None:
    failure = failure_of(KeyError("secret"))
    assert (failure.reason, failure.message) == (pb.REASON_INTERNAL, "internal error")
    assert not failure.HasField("retry_after_ms")


@asynccontextmanager
async def refusing(error: TamisError) -> AsyncIterator[grpc.aio.Channel]:
    """A server, on a real port, that ends every call with `error`."""

    async def refuse(request: bytes, context: grpc.aio.ServicerContext[object, object]) -> bytes:
        await abort(context, error)

    server = grpc.aio.server()
    method: Any = grpc.unary_unary_rpc_method_handler(refuse)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"m": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def refused(error: TamisError) -> grpc.aio.AioRpcError:
    async with refusing(error) as channel:
        call: Any = channel.unary_unary("/s/m")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
        return caught.value


async def test_an_overload_says_when_to_come_back() -> None:
    error = await refused(OverloadedError("256 searches are in flight; at most 256"))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailers = dict(error.trailing_metadata())
    assert int(trailers["grpc-retry-pushback-ms"]) == 50
    failure = pb.Failure.FromString(trailers["tamis-failure-bin"])
    assert (failure.reason, failure.retry_after_ms) == (pb.REASON_OVERLOADED, 50)


async def test_a_refusal_carries_rich_details() -> None:
    error = await refused(InputError("k: must be from 1 to 1000, not 0"))
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.domain, info.reason) == ("tamis", "REASON_INVALID_REQUEST")
    assert bad.field_violations[0].field == "k"
    assert "from 1 to 1000" in bad.field_violations[0].description
