"""Leaves alone, for a while, what keeps failing. Knows nothing of Redis."""

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class _State(enum.Enum):
    CLOSED = enum.auto()  # in use
    OPEN = enum.auto()  # left alone
    PROBING = enum.auto()  # left alone, and being tried


@dataclass(slots=True)
class Breaker:
    """Opens after `failures` in a row; after `pause_s` seconds, one probe decides.

    A call takes a ticket before it begins and hands it in with its outcome. Outcomes of calls that
    began before the last failure do not count: a hundred calls that wait together for one hiccup
    are one failure, not a hundred in a row.

    Attributes:
        failures: How many in a row open it.
        pause_s: How long it stays open, in seconds.
        clock: The time, in seconds, of any origin.
    """

    failures: int
    pause_s: float
    clock: Callable[[], float] = time.monotonic
    _state: _State = field(default=_State.CLOSED, init=False)
    _row: int = field(default=0, init=False)
    _generation: int = field(default=0, init=False)
    _until: float = field(default=0.0, init=False)

    @property
    def closed(self) -> bool:
        """Whether calls may be made."""
        return self._state is _State.CLOSED

    def ticket(self) -> int:
        """For a call that begins now."""
        return self._generation

    def succeeded(self, ticket: int) -> None:
        """The call answered."""
        if ticket == self._generation:
            self._row = 0

    def failed(self, ticket: int) -> bool:
        """The call did not answer. Returns whether that opened the breaker."""
        if not self.closed or ticket != self._generation:
            return False
        self._generation += 1
        self._row += 1
        if self._row < self.failures:
            return False
        self._open()
        return True

    def probe_due(self) -> bool:
        """Whether the caller is to probe now; if so, nobody else is until `probed`."""
        if self._state is not _State.OPEN or self.clock() < self._until:
            return False
        self._state = _State.PROBING
        return True

    def probed(self, *, well: bool) -> None:
        """How the probe went."""
        if well:
            self._state = _State.CLOSED
            self._row = 0
        else:
            self._open()

    def _open(self) -> None:
        self._state = _State.OPEN
        self._generation += 1
        self._until = self.clock() + self.pause_s
