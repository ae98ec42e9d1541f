"""What the service counts of each model, for Triton's ModelStatistics."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tamis.server.metrics import InferenceMetrics
from tamis.server.oip.messages import ModelStatistics

_PARTS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


class Item:
    """What became of one item in a model's queue; a batcher's `Watch`."""

    def __init__(self) -> None:
        self.waited_ns = self.infer_ns = self._began = 0
        self.batch_size = 0  # 0 while it has been in no batch

    def ran(self, waited_s: float, batch_size: int) -> None:
        """Its batch begins."""
        self.waited_ns, self.batch_size = int(1e9 * waited_s), batch_size
        self._began = time.perf_counter_ns()

    def done(self) -> None:
        """It has its result."""
        self.infer_ns = time.perf_counter_ns() - self._began


class Watch:
    """Where one request's time goes, in nanoseconds."""

    def __init__(self) -> None:
        self.began = self._mark = time.perf_counter_ns()
        self.count = 1
        self.input_ns = 0
        self.infer_ns = 0
        self.output_ns = 0
        self.batched: list[Item] = []

    def read(self, count: int) -> None:
        """The request is read: so many items are in it."""
        self.count = count
        self.input_ns += self._since()

    @contextmanager
    def item(self) -> Iterator[Item]:
        """One item's way through the model's queue."""
        item = Item()
        yield item
        if item.batch_size:
            item.done()
            self.batched.append(item)

    def inferred(self) -> None:
        """The model has an answer, or ends."""
        self.infer_ns += self._since()

    def written(self) -> None:
        """An answer has been made into a message and sent."""
        self.output_ns += self._since()

    @property
    def queue_ns(self) -> int:
        """How long an item of the request waited for its batch, on average."""
        return sum(item.waited_ns for item in self.batched) // max(1, len(self.batched))

    def _since(self) -> int:
        before, self._mark = self._mark, time.perf_counter_ns()
        return self._mark - before


class Statistics:
    """One model's counts since the server began.

    What a request spends in the model is `queue`, the average wait of its items, and
    `compute_infer`, the rest. Batches are made of items, whoever sent them: an item in a batch of n
    counts as an nth of an execution, and a request that went through no batch as a whole one.
    """

    def __init__(self, name: str, metrics: InferenceMetrics | None = None) -> None:
        self._name = name
        self._metrics = metrics
        self._counts = dict.fromkeys(_PARTS, 0)
        self._ns = dict.fromkeys(_PARTS, 0)
        self._executions: defaultdict[int, float] = defaultdict(float)  # by batch size
        self._execution_ns: defaultdict[int, float] = defaultdict(float)
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
            if self._metrics is not None:
                self._metrics.failed()
            raise
        watch.inferred()
        request_ns = time.perf_counter_ns() - watch.began
        queue_ns = min(watch.queue_ns, watch.infer_ns)
        parts = {
            "queue": queue_ns,
            "compute_input": watch.input_ns,
            "compute_infer": watch.infer_ns - queue_ns,
            "compute_output": watch.output_ns,
        }
        for part, ns in {"success": request_ns, **parts}.items():
            self._add(part, ns)
        self._items += watch.count
        self._last_ms = time.time_ns() // 1_000_000
        for item in watch.batched:
            self._executed(item.batch_size, 1 / item.batch_size, item.infer_ns)
        if not watch.batched:
            self._executed(watch.count, 1.0, watch.infer_ns)
        if self._metrics is not None:
            executions = sum(1 / item.batch_size for item in watch.batched) or 1.0
            self._metrics.succeeded(watch.count, executions, request=request_ns, **parts)

    def message(self, version: str) -> Any:
        """The counts as `ModelStatistics`."""
        made = ModelStatistics(
            name=self._name,
            version=version,
            last_inference=self._last_ms,
            inference_count=self._items,
            execution_count=round(sum(self._executions.values())),
        )
        for part in _PARTS:
            duration = getattr(made.inference_stats, part)
            duration.count, duration.ns = self._counts[part], self._ns[part]
        for size in sorted(self._executions):
            infer = made.batch_stats.add(batch_size=size).compute_infer
            infer.count = max(1, round(self._executions[size]))
            infer.ns = round(self._execution_ns[size])
        return made

    def _add(self, part: str, ns: int) -> None:
        self._counts[part] += 1
        self._ns[part] += ns

    def _executed(self, size: int, share: float, ns: int) -> None:
        self._executions[size] += share
        self._execution_ns[size] += share * ns
