"""Who computes what several processes miss at once: whoever has the lease, which ends by itself."""

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redis.asyncio import Redis

V = TypeVar("V")

# Only its owner ends a lease: after it has expired, it may be somebody else's.
RELEASE = "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1]) or 0"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to compute what is missing under a key, for a while.

    Attributes:
        key: What it is for.
        token: Tells this owner from every other.
    """

    key: str
    token: str

    @property
    def name(self) -> str:
        """Where it lies in Redis: in a cluster, on the node that has the key."""
        return f"tamis:lease:{{{self.key}}}"

    def release(self, redis: Any) -> Any:
        """Gives it back, through a client or a pipeline; nothing where it is no longer ours."""
        return redis.eval(RELEASE, 1, self.name, self.token)


@dataclass(frozen=True, slots=True)
class Answer(Generic[V]):
    """What Redis said: a value, a lease to compute it, or that somebody else has that."""

    value: V | None = None
    lease: Lease | None = None
    taken: bool = False


async def take(redis: Redis, key: str, ttl_s: float) -> tuple[Lease | None, object]:
    """The lease for a key, or None where somebody has it; and what is under the key after that.

    Whoever had the lease until now has written the value before: it is asked for again, because it
    may have come since it was missed.

    Raises:
        redis.exceptions.ResponseError: Redis takes no writes.
    """
    lease = Lease(key, secrets.token_hex(8))
    pipeline = redis.pipeline(transaction=False)
    pipeline.set(lease.name, lease.token, nx=True, px=max(1, round(1_000 * ttl_s)))
    pipeline.get(key)
    taken, found = await pipeline.execute()
    return lease if taken else None, found


async def answered(
    ask: Callable[[], Awaitable[Answer[V] | None]],
    *,
    lease_s: float,
    poll_s: tuple[float, float],
    until: Callable[[], float] = lambda: math.inf,
) -> Answer[V] | None:
    """What Redis says at last: it is asked again and again while another process has the lease.

    Args:
        ask: Asks Redis; None for no answer, which ends it.
        lease_s: How long a lease lasts, in seconds: when two have passed, the last answer stands.
        poll_s: Between two looks, in seconds: first, and at most.
        until: The event loop's time from which on the last answer stands; it may change.
    """
    now = asyncio.get_running_loop().time
    last, (pause_s, most_s) = now() + 2 * lease_s, poll_s
    while True:
        answer = await ask()
        left_s = min(until(), last) - now()
        if answer is None or not answer.taken or left_s <= 0:
            return answer
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, most_s)
