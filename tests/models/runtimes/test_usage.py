"""The meter of what models are asked."""

import asyncio

from tamis.models.runtimes.usage import metered, spend


async def test_searches_do_not_count_each_others_work() -> None:
    """Threads that a block starts count for it, and for no block beside it."""

    async def search(calls: int) -> int:
        with metered() as usage:
            for _ in range(calls):
                await asyncio.to_thread(spend, calls=1, tokens=10, model_s=0.5)
        assert (usage.tokens, usage.model_s) == (10 * calls, 0.5 * calls)
        return usage.calls

    assert await asyncio.gather(*map(search, range(6))) == list(range(6))


def test_without_a_meter_nothing_is_counted() -> None:
    spend(calls=1, tokens=1, model_s=1.0)
    with metered() as usage:
        pass
    assert usage.calls == 0
