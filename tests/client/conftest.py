"""Both clients behind one face, so that each test holds for both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import pytest

from tamis.client import AsyncClient, Client

Connect = Callable[..., AbstractAsyncContextManager[Any]]
END = object()


class Threaded:
    """A blocking client or stream, each of whose calls runs in a thread."""

    def __init__(self, blocking: Any) -> None:
        self.blocking = blocking

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.blocking.__enter__)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.blocking.__exit__, kind, error, traceback)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        found = await asyncio.to_thread(next, self.blocking, END)
        if found is END:
            raise StopAsyncIteration
        return found

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.blocking, name)
        if not callable(found) or name == "cancel":
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if name in {"search", "session", "upsert"}:
                return Threaded(found(*args, **kwargs))
            return asyncio.to_thread(found, *args, **kwargs)

        return call


@pytest.fixture(params=["asyncio", "blocking"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Makes a client of either kind."""

    @asynccontextmanager
    async def connected(target: str, **settings: Any) -> AsyncIterator[Any]:
        if request.param == "asyncio":
            async with AsyncClient(target, **settings) as client:
                yield client
        else:
            async with Threaded(Client(target, **settings)) as client:
                yield client

    return connected
