"""Who may come in: so many searches and other jobs at once, in all and of one tenant."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from tamis.server.config import Limits
from tamis.server.errors import OverloadedError
from tamis.server.metrics import Metrics

TENANT: Final = "x-tenant-id"
MAX_TENANT = 64  # characters of a tenant's name

# Whom the present call is for; empty where it does not say. Tasks that it starts inherit it.
tenant: ContextVar[str] = ContextVar("tenant", default="")


class Admission:
    """Counts what is in flight, and refuses what is beyond the limits."""

    def __init__(self, limits: Limits, metrics: Metrics | None = None) -> None:
        self._limits = limits
        self._metrics = metrics or Metrics()
        self._in_flight = 0
        self._of_tenant: Counter[str] = Counter()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one job of the present call's tenant, as long as the block runs.

        Raises:
            OverloadedError: `max_in_flight` jobs are in flight, or the tenant has
                `max_in_flight_per_tenant` of them.
        """
        own, most = self._limits.max_in_flight_per_tenant, self._limits.max_in_flight
        name = tenant.get()
        if self._in_flight >= most:
            self._metrics.shed("in_flight")
            raise OverloadedError(f"{self._in_flight} searches are in flight; at most {most}")
        if own and self._of_tenant[name] >= own:
            self._metrics.shed("tenant")
            raise OverloadedError(
                f"tenant {name!r} has {self._of_tenant[name]} searches in flight; at most {own}"
            )
        self._in_flight += 1
        self._of_tenant[name] += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._of_tenant[name] -= 1
            if not self._of_tenant[name]:
                del self._of_tenant[name]  # there may be any number of names
