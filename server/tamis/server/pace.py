"""How long work takes by its size, learnt from what it took lately."""

import math

FORGET = 0.95  # what an observation still weighs when the next one has been made
DOUBT = 0.9  # what an estimate still weighs when it has kept work from being done
STEADY = 1e-6  # a relative variance of the sizes below which they tell nothing of the slope


class Pace:
    """A running estimate: seconds are a start-up time and so much for each unit of size.

    Recent work weighs more, and an estimate has the usual deviation on top, so that what it says
    will fit mostly does. Sizes are whatever costs time: tokens of a batch, documents of a stage.
    """

    def __init__(self) -> None:
        self._weight = self._size = self._seconds = 0.0  # weighted sums
        self._size_size = self._size_seconds = 0.0
        self._deviation = 0.0

    def took(self, size: float, seconds: float) -> None:
        """Work of this size took so long."""
        if self._weight:
            error = abs(seconds - self._expected(size))
            self._deviation += (1 - FORGET) * (error - self._deviation)
        for name, value in (
            ("_weight", 1.0),
            ("_size", size),
            ("_seconds", seconds),
            ("_size_size", size * size),
            ("_size_seconds", size * seconds),
        ):
            setattr(self, name, FORGET * getattr(self, name) + value)

    def doubt(self) -> None:
        """Work was left out because of the estimate: a wrong one must not keep it out for ever."""
        self._seconds *= DOUBT
        self._size_seconds *= DOUBT
        self._deviation *= DOUBT

    def seconds(self, size: float) -> float:
        """How long work of this size will take; 0 while nothing is known."""
        return self._expected(size) + self._deviation if self._weight else 0.0

    def size(self, seconds: float) -> float:
        """How much can be done in this time; infinite while nothing is known."""
        if not self._weight:
            return math.inf
        start, rate = self._line()
        left = seconds - self._deviation - start
        if left <= 0:
            return 0.0
        return left / rate if rate else math.inf

    def _expected(self, size: float) -> float:
        start, rate = self._line()
        return start + rate * size

    def _line(self) -> tuple[float, float]:
        """Seconds at size 0, and seconds a unit."""
        size, seconds = self._size / self._weight, self._seconds / self._weight
        variance = self._size_size / self._weight - size * size
        if variance <= STEADY * size * size:
            # One size only: half of it may be less than half the work, but is no more.
            return (0.0, seconds / size) if size else (seconds, 0.0)
        covariance = self._size_seconds / self._weight - size * seconds
        rate = min(max(covariance / variance, 0.0), seconds / size)  # neither part is negative
        return seconds - rate * size, rate
