"""How many calls a client has under way at once; the others wait here."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from queue import Empty, SimpleQueue
from typing import Literal

import grpc

from tamis.client.errors import DeadlineExceededError
from tamis.client.searcher import Call

Size = int | Literal["server"] | None
# Of a server's own limit: a search that is over here counts there for a moment more.
HEADROOM = 0.1


def checked(size: Size) -> Size:
    """The size of a gate.

    Raises:
        ValueError: It is none.
    """
    match size:
        case None | "server":
            return size
        case int() if size >= 1:
            return size
    raise ValueError(f'max_concurrency is a number from 1, "server" or None; not {size!r}')


def _within(limit: int) -> Size:
    """The size for a server's limit, where 0 means that it did not say."""
    return max(1, int(limit * (1 - HEADROOM))) if limit else None


def _no_place(size: Size, call: Call) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"timed out in the client, where max_concurrency is {size}: the call was not sent",
        request_id=call.request_id,
        code=grpc.StatusCode.DEADLINE_EXCEEDED,
    )


class AsyncGate:
    """Lets calls in, in the order of their coming.

    Args:
        size: How many at once; "server" for a tenth less than what `ask` says, once asked.
        ask: How many the server takes, 0 where it does not say. Has until the call's deadline.
    """

    def __init__(self, size: Size, ask: Callable[[Call], Awaitable[int]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._set(size)

    def _set(self, size: Size) -> None:
        self._size = size
        self._room = asyncio.Semaphore(size) if isinstance(size, int) else None

    async def enter(self, call: Call) -> None:
        """Returns when the call may begin.

        Raises:
            DeadlineExceededError: It may not before its deadline.
            TamisClientError: The server did not say its limit.
        """
        if self._size is None:
            return
        try:
            async with asyncio.timeout(call.left_s):
                if self._size == "server":
                    async with self._asking:
                        if self._size == "server":
                            self._set(_within(await self._ask(call)))
                if self._room is not None:
                    await self._room.acquire()
        except TimeoutError:
            raise _no_place(self._size, call) from None

    async def try_enter(self) -> bool:
        """Whether one more call may begin now; if so, it has."""
        if self._room is not None:
            if self._room.locked():
                return False
            await self._room.acquire()  # at once
        return True

    def leave(self) -> None:
        """Ends what `enter` began."""
        if self._room is not None:
            self._room.release()


class Gate:
    """The same for threads."""

    def __init__(self, size: Size, ask: Callable[[Call], int]) -> None:
        self._ask = ask
        self._asking = threading.Lock()
        self._set(size)

    def _set(self, size: Size) -> None:
        # Not a semaphore: the collector may end a call, and so give its place back, in a thread
        # that holds the semaphore's lock. This queue's `put` is made for that.
        self._room: SimpleQueue[None] | None = None
        if isinstance(size, int):
            self._room = SimpleQueue()
            for _ in range(size):
                self._room.put(None)
        self._size = size

    def enter(self, call: Call) -> None:
        """See `AsyncGate`."""
        if self._size is None:
            return
        if self._size == "server":
            left_s = call.left_s
            if not self._asking.acquire(timeout=-1 if left_s is None else max(0.0, left_s)):
                raise _no_place(self._size, call)
            try:
                if self._size == "server":
                    self._set(_within(self._ask(call)))
            finally:
                self._asking.release()
        if self._room is not None:
            left_s = call.left_s
            try:
                self._room.get(timeout=None if left_s is None else max(0.0, left_s))
            except Empty:
                raise _no_place(self._size, call) from None

    def try_enter(self) -> bool:
        """See `AsyncGate`."""
        if self._room is not None:
            try:
                self._room.get_nowait()
            except Empty:
                return False
        return True

    def leave(self) -> None:
        """Ends what `enter` began."""
        if self._room is not None:
            self._room.put(None)
