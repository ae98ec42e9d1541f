"""What became of a load: how many calls ended how, and how long they took, in bounded memory."""

import math
from collections import Counter
from dataclasses import dataclass, field

SHORTEST_S = 1e-5
WIDTH = math.log(1.01)  # of a bucket: a quantile is at most this much too high
BUCKETS = math.ceil(math.log(1e3 / SHORTEST_S) / WIDTH)  # the last one holds what took longer
SHED = "RESOURCE_EXHAUSTED"


class Latencies:
    """A histogram whose buckets are 1 % wide: its size does not depend on what it counts."""

    def __init__(self) -> None:
        self._counts = [0] * (BUCKETS + 1)
        self._count = 0
        self.max_s = 0.0

    def __len__(self) -> int:
        return self._count

    def add(self, seconds: float) -> None:
        """Counts one."""
        bucket = math.ceil(math.log(max(seconds, SHORTEST_S) / SHORTEST_S) / WIDTH)
        self._counts[min(bucket, BUCKETS)] += 1
        self._count += 1
        self.max_s = max(self.max_s, seconds)

    def quantile_s(self, q: float) -> float:
        """The time that a part `q` of all stayed within; NaN where nothing was counted."""
        if not self._count:
            return math.nan
        rank, seen = max(1, math.ceil(q * self._count)), 0
        for bucket, count in enumerate(self._counts[:-1]):
            seen += count
            if seen >= rank:
                return min(SHORTEST_S * math.exp(bucket * WIDTH), self.max_s)
        return self.max_s

    def row(self, name: str) -> str:
        """A line of a table, in milliseconds."""
        quantiles = "".join(f"{1e3 * self.quantile_s(q):10.2f}" for q in (0.5, 0.95, 0.99))
        return f"{name:24}{quantiles}{1e3 * self.max_s:10.2f}"


@dataclass
class Report:
    """What became of the calls of one load.

    Attributes:
        deadline_s: How long a call may take to be of use, from its intended start.
        first: From the intended start to the first message of those that ended OK.
        last: To the last message of the same.
        lag: From the intended start to the real one: the generator's own fault.
        codes: How many ended with which status.
        good: How many ended OK within the deadline.
        skipped: How many of those that ended OK lack a stage.
        unsent: How many were not begun because too many were in flight already.
        seconds: How long calls were offered.
    """

    deadline_s: float
    first: Latencies = field(default_factory=Latencies)
    last: Latencies = field(default_factory=Latencies)
    lag: Latencies = field(default_factory=Latencies)
    codes: Counter[str] = field(default_factory=Counter)
    good: int = 0
    skipped: int = 0
    unsent: int = 0
    seconds: float = 0.0

    def ended(
        self, code: str, *, first_s: float | None, last_s: float, skipped: bool = False
    ) -> None:
        """Counts a call that ended; its times are from its intended start."""
        self.codes[code] += 1
        if code != "OK":
            return
        self.first.add(last_s if first_s is None else first_s)
        self.last.add(last_s)
        self.skipped += skipped
        self.good += last_s <= self.deadline_s

    @property
    def offered(self) -> int:
        """Calls that ended, and those that were not begun."""
        return self.codes.total() + self.unsent

    @property
    def goodput(self) -> float:
        """Calls a second that ended OK within the deadline."""
        return self.good / self.seconds if self.seconds else math.nan

    def table(self) -> str:
        """All of it, for people."""
        offered = max(self.offered, 1)
        codes = "  ".join(f"{code} {count}" for code, count in self.codes.most_common())
        return "\n".join(
            (
                f"offered {self.offered} in {self.seconds:.1f} s: {offered / self.seconds:.1f}/s",
                f"{'ms from intended start':24}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}",
                self.first.row("first message"),
                self.last.row("last message"),
                self.lag.row("the generator's own lag"),
                f"ended: {codes or 'none'}",
                f"shed: {self.codes[SHED]} ({100 * self.codes[SHED] / offered:.1f} %)   "
                f"a stage left out: {self.skipped}   not sent: {self.unsent}",
                f"goodput: {self.goodput:.1f}/s within {1e3 * self.deadline_s:.0f} ms "
                f"({100 * self.good / offered:.1f} % of what was offered)",
            )
        )
