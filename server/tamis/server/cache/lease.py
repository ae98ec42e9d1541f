"""Who computes what several processes miss at once: whoever has the lease, which ends by itself."""

import secrets
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

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
