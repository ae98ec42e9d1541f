"""Which channel the next call takes, and how many calls may run. For any thread or loop."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tamis.client.unary import Stubs

BURST = 10.0  # hedges that a client which was quiet may send at once


@dataclass(slots=True, eq=False)
class Lane:
    """One channel, with a connection of its own.

    Attributes:
        channel: gRPC's.
        stubs: What can be called over it.
        load: Calls and sessions that run on it now.
    """

    channel: Any
    stubs: Stubs
    load: int = 0


class Pool:
    """The channels to one server. Each call takes the least loaded one, and gives it back."""

    def __init__(self, channels: Iterable[Any]) -> None:
        self.lanes = [Lane(channel, Stubs(channel)) for channel in channels]
        self._lock = threading.Lock()

    def take(self, beside: Lane | None = None) -> Lane:
        """The least loaded lane, and of equals the one that rested longest.

        Args:
            beside: Is taken only where there is no other.
        """
        with self._lock:
            lane = min([one for one in self.lanes if one is not beside] or self.lanes, key=_load)
            self.lanes.remove(lane)
            self.lanes.append(lane)
            lane.load += 1
        return lane

    def give_back(self, lane: Lane) -> None:
        """Ends what `take` began."""
        with self._lock:
            lane.load -= 1


def _load(lane: Lane) -> int:
    return lane.load


class Allowance:
    """How many calls may be sent twice: a share of all, so that hedging cannot bury a server."""

    def __init__(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"hedge_share must be from 0 to 1, not {share}")
        self._share = share
        self._tokens = 0.0
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Counts a call."""
        with self._lock:
            self._tokens = min(BURST, self._tokens + self._share)

    def spend(self) -> bool:
        """Whether one more may be sent twice; if so, it counts as sent."""
        with self._lock:
            # Twenty twentieths of a float are a little less than one.
            if self._tokens < 1 - 1e-9:
                return False
            self._tokens -= 1
            return True


class Place:
    """What a running call holds. Giving it back twice does nothing."""

    __slots__ = ("_back", "lane")

    def __init__(self, lane: Lane, back: Callable[[Lane], None]) -> None:
        self.lane = lane
        self._back: Callable[[Lane], None] | None = back

    def held_by(self, method: Callable[..., Any], *request: Any, **arguments: Any) -> Any:
        """The call of a method, which gives the place back when it is over."""
        try:
            call = method(*request, **arguments)
        except BaseException:
            self.leave()
            raise
        call.add_done_callback(self.leave)
        return call

    def leave(self, _: object = None) -> None:
        """Gives it back. Takes what gRPC gives the callback of a call that is over."""
        back, self._back = self._back, None
        if back is not None:
            back(self.lane)
