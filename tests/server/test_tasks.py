import asyncio

import pytest

from tamis.server.tasks import together


async def test_results_come_in_the_order_of_the_arguments() -> None:
    first = asyncio.Event()

    async def waits() -> str:
        await first.wait()
        return "a"

    async def wakes() -> str:
        first.set()
        return "b"

    assert await together(waits(), wakes()) == ["a", "b"]
    assert await together() == []


async def test_the_first_failure_is_raised_as_it_is_and_cancels_the_others() -> None:
    cancelled = asyncio.Event()

    async def fails() -> None:
        raise KeyError("one")

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(KeyError, match="one"):
        await together(hangs(), fails())
    assert cancelled.is_set()
