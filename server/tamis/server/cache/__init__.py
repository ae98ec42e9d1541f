"""What the server remembers of queries, and the contexts that it keeps.

Never on the critical path: without it, only slower.
"""

from dataclasses import dataclass

from tamis.models.errors import TamisError


class NotRememberedError(TamisError):
    """Nothing is remembered of a query that may only be looked up."""


class ContextsUnavailableError(TamisError):
    """A context cannot be kept, or looked up, now."""


@dataclass(frozen=True, slots=True)
class TierStats:
    """What one tier of a cache did since the process began.

    Attributes:
        tier: `local` or `redis`.
        hits: Look-ups that found something.
        misses: Look-ups that found nothing, or nothing that could be used.
        errors: Look-ups and writes that failed, took too long, or were dropped.
        bytes: Bytes held; 0 where the tier does not know.
        kind: What it holds: `embedding` or `context`.
    """

    tier: str
    hits: int
    misses: int
    errors: int
    bytes: int
    kind: str = "embedding"
