"""What the service counts of each model, for Triton's ModelStatistics."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tamis.server.oip.messages import ModelStatistics
from tamis.server.oip.models import VERSION

_PARTS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


class Watch:
    """Where one request's time goes, in nanoseconds."""

    def __init__(self) -> None:
        self.began = self._mark = time.perf_counter_ns()
        self.items = 1
        self.input_ns = 0
        self.infer_ns = 0
        self.output_ns = 0

    def read(self, items: int) -> None:
        """The request is read: so many items are in it."""
        self.items = items
        self.input_ns += self._since()

    def inferred(self) -> None:
        """The model has an answer, or ends."""
        self.infer_ns += self._since()

    def written(self) -> None:
        """An answer has been made into a message and sent."""
        self.output_ns += self._since()

    def _since(self) -> int:
        before, self._mark = self._mark, time.perf_counter_ns()
        return self._mark - before


class Statistics:
    """One model's counts since the server began.

    The time that inputs wait for a batch is part of `compute_infer`: `queue` counts requests, and
    its time is 0. An execution is a request, whatever batches the model made of it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._counts = dict.fromkeys(_PARTS, 0)
        self._ns = dict.fromkeys(_PARTS, 0)
        self._items = 0
        self._last_ms = 0

    @contextmanager
    def request(self) -> Iterator[Watch]:
        """Counts what happens in the block as one request; it failed if the block raises."""
        watch = Watch()
        try:
            yield watch
        except BaseException:
            self._add("fail", time.perf_counter_ns() - watch.began)
            raise
        watch.inferred()
        self._add("success", time.perf_counter_ns() - watch.began)
        self._add("queue", 0)
        self._add("compute_input", watch.input_ns)
        self._add("compute_infer", watch.infer_ns)
        self._add("compute_output", watch.output_ns)
        self._items += watch.items
        self._last_ms = time.time_ns() // 1_000_000

    def message(self) -> Any:
        """The counts as `ModelStatistics`."""
        made = ModelStatistics(
            name=self._name,
            version=VERSION,
            last_inference=self._last_ms,
            inference_count=self._items,
            execution_count=self._counts["success"],
        )
        for part in _PARTS:
            duration = getattr(made.inference_stats, part)
            duration.count, duration.ns = self._counts[part], self._ns[part]
        return made

    def _add(self, part: str, ns: int) -> None:
        self._counts[part] += 1
        self._ns[part] += ns
