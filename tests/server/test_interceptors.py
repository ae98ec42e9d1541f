"""What surrounds every call, seen by a real client of a real server."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from tamis.models.errors import InputError
from tamis.server import logs
from tamis.server.errors import OverloadedError
from tamis.server.interceptors import CallInterceptor
from tamis.server.metrics import Metrics

Code = grpc.StatusCode
NOT_UTF8 = b"\x0a\x02\xff\xfe"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Lines(io.StringIO):
    """A stream that one can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def write(self, text: str) -> int:
        task = asyncio.create_task(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return super().write(text)

    async def _tell(self) -> None:
        async with self.written:
            self.written.notify_all()

    def parsed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    async def first(self, count: int) -> list[dict[str, Any]]:
        """So many lines, once they are there: a client may see a call end before its line."""
        async with asyncio.timeout(10), self.written:
            await self.written.wait_for(lambda: len(self.parsed()) >= count)
        return self.parsed()


@dataclass
class Desk:
    """What a test can see and steer."""

    port: int
    channel: Any  # typed, but to no use for raw bytes
    metrics: Metrics
    output: Lines
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[str] = field(default_factory=list)

    def call(self, kind: str, word: str | bytes, **options: Any) -> Any:
        """A call whose request is a word, or raw bytes."""
        data = word if isinstance(word, bytes) else StringValue(value=word).SerializeToString()
        make = {
            "unary": self.channel.unary_unary,
            "server": self.channel.unary_stream,
            "writer": self.channel.unary_stream,
            "upload": self.channel.stream_unary,
            "bidi": self.channel.stream_stream,
            "reader": self.channel.stream_stream,
        }[kind]
        request = iter([data]) if kind in {"upload", "bidi", "reader"} else data
        return make(f"/test.Desk/{kind}", None, StringValue.FromString)(request, **options)

    async def answer(self, call: Any) -> list[str]:
        """All that is said."""
        if isinstance(call, Awaitable):
            return [(await call).value]
        return [response.value async for response in call]

    def counted(self, code: str) -> float:
        """The calls of all methods that ended so."""
        return sum(
            sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "grpc_server_handled_total" and sample.labels["grpc_code"] == code
        )


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    """A server with one method of each kind; the request says what it is to do."""
    metrics, output = Metrics(), Lines()

    async def act(word: str, context: Any) -> str:
        here.seen.append(logs.request_id.get())
        match word:
            case "refuse":
                raise InputError("word: must not be refuse")
            case "shed":
                raise OverloadedError("come back later")
            case "fall":
                raise ZeroDivisionError("a secret")
            case "fall together":
                async with asyncio.TaskGroup() as group:
                    group.create_task(act("refuse", context))
            case "abort":
                await context.abort(Code.NOT_FOUND, "no such word", (("x-more", "1"),))
            case "replace":
                try:
                    await context.abort(Code.NOT_FOUND, "no such word")
                except grpc.aio.AbortError as error:
                    raise RuntimeError("in the way") from error
            case "set code":
                context.set_code(Code.DATA_LOSS)
                context.set_details("half of it")
            case "trailers":
                context.set_trailing_metadata((("x-mine", "1"),))
            case "wait":
                here.running.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    here.ended.set()
        return word.upper()

    async def unary(request: StringValue, context: Any) -> StringValue:
        return StringValue(value=await act(request.value, context))

    async def server(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        if request.value == "late":
            yield StringValue(value="first")
            raise ZeroDivisionError
        for _ in range(2):
            yield StringValue(value=await act(request.value, context))

    async def writer(request: StringValue, context: Any) -> None:
        for _ in range(2):
            await context.write(StringValue(value=await act(request.value, context)))

    async def upload(requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        words = [await act(request.value, context) async for request in requests]
        return StringValue(value=" ".join(words))

    async def bidi(
        requests: AsyncIterator[StringValue], context: Any
    ) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield StringValue(value=await act(request.value, context))

    async def reader(requests: object, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(StringValue(value=await act(request.value, context)))

    codec = (StringValue.FromString, StringValue.SerializeToString)
    handlers = {
        "unary": grpc.unary_unary_rpc_method_handler(unary, *codec),
        "server": grpc.unary_stream_rpc_method_handler(server, *codec),
        "writer": grpc.unary_stream_rpc_method_handler(writer, *codec),
        "upload": grpc.stream_unary_rpc_method_handler(upload, *codec),
        "bidi": grpc.stream_stream_rpc_method_handler(bidi, *codec),
        "reader": grpc.stream_stream_rpc_method_handler(reader, *codec),
    }
    log = logs.lines(output)
    running = grpc.aio.server(interceptors=[CallInterceptor(metrics, log)])
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Desk", handlers),))
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            here = Desk(port, channel, metrics, output)
            yield here
    finally:
        await running.stop(None)


ALL = ["unary", "server", "writer", "upload", "bidi", "reader"]
ANSWERS = {"server": ["HELLO"] * 2, "writer": ["HELLO"] * 2}


async def failed(here: Desk, call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await here.answer(call)
    return caught.value


def identity(metadata: Any) -> Any:
    return dict(metadata or ()).get("x-request-id")


@pytest.mark.parametrize("kind", ALL)
async def test_every_kind_of_call_is_answered_counted_and_logged_once(kind: str) -> None:
    async with desk() as here:
        call = here.call(kind, "hello", metadata=(("x-request-id", "abc"), ("traceparent", TRACE)))
        assert await here.answer(call) == ANSWERS.get(kind, ["HELLO"])
        assert identity(await call.trailing_metadata()) == "abc"
        assert set(here.seen) == {"abc"}
        (line,) = await here.output.first(1)
        assert line.pop("duration_ms") > 0
        assert line.pop("peer").startswith("ipv4:127.0.0.1:")
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "call",
            "level": "info",
            "method": f"/test.Desk/{kind}",
            "code": "OK",
            "request_id": "abc",
            "traceparent": TRACE,
        }
        assert here.counted("OK") == 1


async def test_the_kinds_have_the_names_that_dashboards_know() -> None:
    async with desk() as here:
        for kind in ALL:
            await here.answer(here.call(kind, "hello"))
        await here.output.first(len(ALL))
        samples = [
            sample.labels
            for family in here.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "grpc_server_started_total"
        ]
        assert {labels["grpc_method"]: labels["grpc_type"] for labels in samples} == {
            "unary": "unary",
            "server": "server_stream",
            "writer": "server_stream",
            "upload": "client_stream",
            "bidi": "bidi_stream",
            "reader": "bidi_stream",
        }
        assert {labels["grpc_service"] for labels in samples} == {"test.Desk"}


async def test_a_call_without_a_request_id_is_given_one_of_its_own() -> None:
    async with desk() as here:
        given = []
        for _ in range(2):
            call = here.call("unary", "hello")
            await call
            given.append(identity(await call.trailing_metadata()))
        assert [line["request_id"] for line in await here.output.first(2)] == given == here.seen
        assert len(set(given)) == 2


@pytest.mark.parametrize("given", ["", "x" * 129], ids=["empty", "too long"])
async def test_a_request_id_that_is_none_is_replaced(given: str) -> None:
    async with desk() as here:
        await here.call("unary", "hello", metadata=(("x-request-id", given),))
        assert len(here.seen[0]) == 32


async def test_a_traceparent_that_is_none_is_not_logged() -> None:
    async with desk() as here:
        await here.call("unary", "hello", metadata=(("traceparent", "nonsense"),))
        assert "traceparent" not in (await here.output.first(1))[0]


@pytest.mark.parametrize("kind", ALL)
async def test_an_error_of_ours_has_its_status_and_no_traceback(kind: str) -> None:
    async with desk() as here:
        error = await failed(here, here.call(kind, "refuse", metadata=(("x-request-id", "abc"),)))
        assert error.code() is Code.INVALID_ARGUMENT
        assert error.details() == "word: must not be refuse"
        assert identity(error.trailing_metadata()) == "abc"
        (line,) = await here.output.first(1)
        assert (line["code"], line["level"]) == ("INVALID_ARGUMENT", "info")
        assert "exception" not in line
        assert here.counted("InvalidArgument") == 1


@pytest.mark.parametrize("kind", ALL)
async def test_an_unforeseen_error_is_in_the_log_and_not_on_the_wire(kind: str) -> None:
    async with desk() as here:
        error = await failed(here, here.call(kind, "fall"))
        assert (error.code(), error.details()) == (Code.INTERNAL, "internal error")
        assert "secret" not in str(error.trailing_metadata())
        (line,) = await here.output.first(1)
        assert (line["code"], line["level"]) == ("INTERNAL", "error")
        assert line["exception"].endswith("ZeroDivisionError: a secret")
        assert "in act" in line["exception"]


async def test_an_error_after_the_first_response_ends_the_stream() -> None:
    async with desk() as here:
        said = aiter(here.call("server", "late"))
        assert (await anext(said)).value == "first"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(said)
        error = caught.value
        assert (error.code(), error.details()) == (Code.INTERNAL, "internal error")


@pytest.mark.parametrize("kind", ALL)
async def test_an_error_from_a_task_group_is_what_it_holds(kind: str) -> None:
    async with desk() as here:
        error = await failed(here, here.call(kind, "fall together"))
        assert error.code() is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("kind", ALL)
async def test_what_a_handler_aborts_with_is_left_as_it_is(kind: str) -> None:
    async with desk() as here:
        error = await failed(here, here.call(kind, "abort"))
        assert (error.code(), error.details()) == (Code.NOT_FOUND, "no such word")
        assert dict(error.trailing_metadata() or ())["x-more"] == "1"
        (line,) = await here.output.first(1)
        assert line["code"] == "NOT_FOUND"
        assert here.counted("NotFound") == 1


@pytest.mark.parametrize("kind", ALL)
async def test_an_exception_on_the_heels_of_an_abort_does_not_replace_it(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk() as here:
        error = await failed(here, here.call(kind, "replace"))
        assert (error.code(), error.details()) == (Code.NOT_FOUND, "no such word")
        assert "bort" not in caplog.text  # what grpc logs where the exception was replaced


async def test_a_code_that_is_set_without_abort_counts() -> None:
    async with desk() as here:
        error = await failed(here, here.call("unary", "set code"))
        assert (error.code(), error.details()) == (Code.DATA_LOSS, "half of it")
        assert identity(error.trailing_metadata())
        (line,) = await here.output.first(1)
        assert (line["code"], line["level"]) == ("DATA_LOSS", "error")


@pytest.mark.parametrize("kind", ALL)
async def test_trailers_that_a_handler_sends_are_sent_with_ours(kind: str) -> None:
    async with desk() as here:
        call = here.call(kind, "trailers")
        await here.answer(call)
        trailers = dict(await call.trailing_metadata())
        assert trailers["x-mine"] == "1"
        assert trailers["x-request-id"]


@pytest.mark.parametrize("kind", ALL)
async def test_a_request_that_protobuf_cannot_parse_is_the_callers_fault(kind: str) -> None:
    async with desk() as here:
        for data in (NOT_UTF8, b"\xff" * 5):
            error = await failed(here, here.call(kind, data))
            assert error.code() is Code.INVALID_ARGUMENT
            details = error.details() or ""
            assert details.startswith("request: cannot be read: ")
            assert details.endswith("is every string UTF-8?")
        assert not here.seen
        await here.output.first(2)
        assert here.counted("InvalidArgument") == 2
        assert await here.answer(here.call(kind, "hello"))


async def test_a_stream_is_served_up_to_what_cannot_be_parsed() -> None:
    async with desk() as here:
        method = here.channel.stream_stream("/test.Desk/bidi", None, StringValue.FromString)
        good = StringValue(value="hello").SerializeToString()
        said = aiter(method(iter([good, NOT_UTF8, good])))
        assert (await anext(said)).value == "HELLO"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(said)
        assert caught.value.code() is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("kind", ALL)
async def test_a_caller_that_leaves_is_counted_and_its_handler_ends(kind: str) -> None:
    async with desk() as here:
        call = here.call(kind, "wait")
        await here.running.wait()
        call.cancel()
        await asyncio.wait_for(here.ended.wait(), 10)
        (line,) = await here.output.first(1)
        assert line["code"] == "CANCELLED"
        assert line["peer"].startswith("ipv4:127.0.0.1:")
        assert here.counted("Canceled") == 1
        where = {"where": "call"}
        assert here.metrics.registry.get_sample_value("tamis_cancelled_total", where) == 1


@pytest.mark.parametrize("kind", ALL)
async def test_a_deadline_that_passes_is_no_cancel(kind: str) -> None:
    async with desk() as here:
        error = await failed(here, here.call(kind, "wait", timeout=0.3))
        assert error.code() is Code.DEADLINE_EXCEEDED
        await asyncio.wait_for(here.ended.wait(), 10)
        await here.output.first(1)
        assert here.counted("DeadlineExceeded") == 1
        where = {"where": "call"}
        expired = here.metrics.registry.get_sample_value("tamis_deadline_expired_total", where)
        assert expired == 1


async def test_a_refusal_can_still_be_retried_by_the_client() -> None:
    """It retries only what has sent no headers."""
    config = json.dumps(
        {
            "methodConfig": [
                {
                    "name": [{"service": "test.Desk"}],
                    "retryPolicy": {
                        "maxAttempts": 3,
                        "initialBackoff": "0.01s",
                        "maxBackoff": "0.01s",
                        "backoffMultiplier": 1,
                        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
                    },
                }
            ]
        }
    )
    async with desk() as here:
        options = [("grpc.service_config", config)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{here.port}", options) as channel:
            other = Desk(here.port, channel, here.metrics, here.output)
            await failed(other, other.call("unary", "shed"))
            await failed(other, other.call("server", "shed"))
        await here.output.first(6)
        assert here.counted("ResourceExhausted") == 6


async def test_a_method_that_is_not_there_is_not_ours_to_count() -> None:
    async with desk() as here:
        error = await failed(here, here.channel.unary_unary("/test.Desk/none")(b""))
        assert error.code() is Code.UNIMPLEMENTED
        assert not here.output.parsed()


async def test_what_other_modules_log_during_a_call_carries_its_id(
    request: pytest.FixtureRequest,
) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    output = io.StringIO()
    logs.configure(output)

    def restore() -> None:
        root.handlers[:], level = before
        root.setLevel(level)

    request.addfinalizer(restore)
    logs.request_id.set("abc")
    logging.getLogger("tamis.somewhere").warning("%d left", 3)
    logs.request_id.set("")
    logging.getLogger("tamis.somewhere").info("done")
    first, second = (json.loads(line) for line in output.getvalue().splitlines())
    assert (first["event"], first["request_id"], first["level"]) == ("3 left", "abc", "warning")
    assert first["logger"] == "tamis.somewhere"
    assert "request_id" not in second
