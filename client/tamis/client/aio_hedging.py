"""A search that is sent once more when its first event is late: asyncio."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any


class AsyncHedged:
    """The responses of two equal calls as if they were one: those of the first to give any.

    gRPC's own hedging does not exist in its C core, on which Python's is built (gRFC A6).

    Args:
        first: The call that has begun.
        second: Begins the other one, or gives None where that may not be.
        after_s: How long the first has before the second begins.
    """

    def __init__(
        self, first: Any, second: Callable[[], Awaitable[Any | None]], after_s: float
    ) -> None:
        self._calls = [first]
        self._second = second
        self._won: AsyncIterator[Any] | None = None
        self._race = asyncio.ensure_future(self._run(after_s))
        # One that nobody waits for any more may fail in silence.
        self._race.add_done_callback(lambda race: race.cancelled() or race.exception())

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._won is None:
            self._won, response = await self._race
            if response is None:
                raise StopAsyncIteration
            return response
        return await anext(self._won)

    def cancel(self) -> None:
        self._race.cancel()
        for call in self._calls:
            call.cancel()

    async def _run(self, after_s: float) -> tuple[AsyncIterator[Any], Any | None]:
        first = self._read(self._calls[0])
        readers = [first]
        try:
            await asyncio.wait(readers, timeout=after_s)
            if not first.done() and (call := await self._second()) is not None:
                self._calls.append(call)
                readers.append(self._read(call))
            waiting = set(readers)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                good = [reader for reader in done if reader.exception() is None]
                if good:
                    self._keep(readers.index(good[0]))
                    return good[0].result()
            return first.result()  # both failed: raises what the first did
        except BaseException:
            for call in self._calls:
                call.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            raise

    def _read(self, call: Any) -> "asyncio.Task[tuple[AsyncIterator[Any], Any | None]]":
        async def read() -> tuple[AsyncIterator[Any], Any | None]:
            responses = aiter(call)
            return responses, await anext(responses, None)

        return asyncio.ensure_future(read())

    def _keep(self, place: int) -> None:
        winner = self._calls[place]
        for call in self._calls:
            if call is not winner:
                call.cancel()
        self._calls = [winner]
