"""Doing several things at once."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """All results, in the order of the arguments.

    The first that fails cancels the others, and its error is raised as it is, not in a group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def done_soon(task: asyncio.Task[object]) -> bool:
    """Whether it is done within a few turns of the loop, which take no time to speak of.

    Where this process was busy for longer than the budget, the answer has been in the socket, but
    the timer is seen first.
    """
    for _ in range(4):
        if task.done():
            return True
        await asyncio.sleep(0)
    return task.done()
