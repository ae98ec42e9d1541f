"""Counts what models are asked to do, so that a search can be told what it cost.

A runtime reports each run with `spend`; whoever wants the sum opens `metered`. The meter belongs to
the caller's context, and threads started by `asyncio.to_thread` inherit it: searches that share a
model do not count each other's work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock


@dataclass(slots=True)
class Usage:
    """What the models did inside a block.

    Attributes:
        calls: Inputs that a model was run on: one a prompt or pair, however they were batched.
        tokens: Tokens that were read or written; what a cache spared is not counted.
        model_s: Seconds that the runs took, tokenizing included.
    """

    calls: int = 0
    tokens: int = 0
    model_s: float = 0.0


_adding = Lock()
_meter: ContextVar[Usage | None] = ContextVar("meter", default=None)


@contextmanager
def metered() -> Iterator[Usage]:
    """What is spent inside the block, and in the threads that it starts. Blocks do not nest."""
    usage = Usage()
    token = _meter.set(usage)
    try:
        yield usage
    finally:
        _meter.reset(token)


def spend(*, calls: int, tokens: int, model_s: float) -> None:
    """Adds a run to the meter of the caller, if there is one."""
    if usage := _meter.get():
        with _adding:
            usage.calls += calls
            usage.tokens += tokens
            usage.model_s += model_s
