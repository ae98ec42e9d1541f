"""What one search of a session does to the others' messages."""

import asyncio
from collections.abc import AsyncIterator

from tamis.server.services.session import Session
from tamis.v1 import retrieval_service_pb2 as pb


class Wire:
    """A stream as gRPC's: it takes one message at a time, and none beside a cancelled one."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.began, self.word = asyncio.Event(), asyncio.Event()
        self._busy = False

    async def write(self, response: pb.SearchSessionResponse) -> None:
        assert not self._busy, "GRPC_CALL_ERROR_TOO_MANY_OPERATIONS"
        self._busy = True
        self.began.set()
        # A caller that is cancelled leaves the message with gRPC, which is busy until it is sent.
        await asyncio.shield(asyncio.ensure_future(self._sending(response.request_id)))

    async def _sending(self, name: str) -> None:
        await self.word.wait()
        self.sent.append(name)
        self._busy = False


async def test_a_cancelled_write_does_not_fail_another_search() -> None:
    wire = Wire()

    async def answer(request: pb.SearchRequest, write: object, *, timeout_s: float | None) -> None:
        await write(pb.SearchResponse())  # type: ignore[operator]

    def search(name: str) -> pb.SearchSessionRequest:
        request = pb.SearchRequest(request_id=name)
        return pb.SearchSessionRequest(search=pb.SessionSearch(request=request))

    async def messages() -> AsyncIterator[pb.SearchSessionRequest]:
        yield search("cancelled")
        await wire.began.wait()
        yield search("other")
        yield pb.SearchSessionRequest(cancel="cancelled")
        for _ in range(10):  # the cancel reaches the write, and the other search the lock
            await asyncio.sleep(0)
        wire.word.set()

    await asyncio.wait_for(Session(answer, wire.write).run(messages()), 5)
    assert wire.sent == ["cancelled", "other"]
