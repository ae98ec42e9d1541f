"""Every Prometheus name of the server, in one place. Knows nothing of what it counts."""

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds. Half of what a search takes is under a millisecond; a bulk call may take a minute.
SECONDS = (
    *(0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
STAGES = ("retrieve", "rerank", "refine")
TRITON = {
    "request_success": "Requests that were answered.",
    "request_failure": "Requests that failed.",
    "count": "Items of requests.",
    "exec_count": "Batches that ran.",
    "request_duration_us": "Time of the requests, in all.",
    "queue_duration_us": "Time that they waited for a batch.",
    "compute_input_duration_us": "Time that reading them took.",
    "compute_infer_duration_us": "Time that the model took.",
    "compute_output_duration_us": "Time that writing the answers took.",
}
COSTS = (*(4.0**power for power in range(2, 11)),)  # tokens, from 16 to a million


class CallMetrics:
    """The calls of one gRPC method, under the names that every gRPC dashboard knows."""

    def __init__(
        self, started: Counter, handled: Callable[[str], Counter], seconds: Histogram
    ) -> None:
        self._started = started
        self._handled = handled
        self._seconds = seconds
        self._codes: dict[str, Counter] = {}

    def started(self) -> None:
        """A call began."""
        self._started.inc()

    def handled(self, code: str, seconds: float) -> None:
        """A call ended. `code` as go-grpc writes it: ``OK``, ``DeadlineExceeded`` ..."""
        counter = self._codes.get(code)
        if counter is None:
            counter = self._codes[code] = self._handled(code)
        counter.inc()
        self._seconds.observe(seconds)


class QueueMetrics:
    """One model's queue and batches."""

    def __init__(
        self, wait: Callable[[str], Histogram], depth: Gauge, size: Histogram, cost: Histogram
    ) -> None:
        self._wait = {lane: wait(lane) for lane in ("interactive", "bulk")}
        self._depth = depth
        self._size = size
        self._cost = cost

    def waited(self, seconds: float, *, bulk: bool) -> None:
        """An input left the queue for a batch."""
        self._wait["bulk" if bulk else "interactive"].observe(seconds)

    def depth(self, inputs: int) -> None:
        """So many inputs are waiting."""
        self._depth.set(inputs)

    def batch(self, size: int, cost: int) -> None:
        """A batch was cut: so many inputs, so many tokens or the like."""
        self._size.observe(size)
        self._cost.observe(cost)


class CacheMetrics:
    """One tier of one cache."""

    def __init__(self, requests: Callable[[str], Counter], seconds: Histogram) -> None:
        self._results = {
            result: requests(result)
            for result in ("hit", "miss", "error", "skipped", "coalesced", "dropped")
        }
        self._seconds = seconds

    def hit(self) -> None:
        """Found."""
        self._results["hit"].inc()

    def miss(self) -> None:
        """Not found, or nothing that could be used."""
        self._results["miss"].inc()

    def error(self, count: int = 1) -> None:
        """Look-ups or writes that failed or took too long."""
        self._results["error"].inc(count)

    def skipped(self) -> None:
        """Not asked, because the circuit breaker is open."""
        self._results["skipped"].inc()

    def coalesced(self) -> None:
        """Joined somebody else's computation."""
        self._results["coalesced"].inc()

    def dropped(self, count: int = 1) -> None:
        """Writes given up: too many were waiting, or the circuit breaker is open."""
        self._results["dropped"].inc(count)

    def took(self, seconds: float) -> None:
        """A look-up was answered."""
        self._seconds.observe(seconds)


class InferenceMetrics:
    """One model's requests under Triton's names, for dashboards that are written for it."""

    def __init__(self, of: Mapping[str, Gauge], model: str) -> None:
        self._of = {name: gauge.labels(model) for name, gauge in of.items()}

    def failed(self) -> None:
        """A request failed."""
        self._of["request_failure"].inc()

    def succeeded(self, items: int, executions: float, **parts_ns: int) -> None:
        """A request with so many items was answered.

        `executions` are batches, or its share of them; `parts_ns` is where its time went: `request`
        (all of it), `queue`, `compute_input`, `compute_infer` and `compute_output`.
        """
        self._of["request_success"].inc()
        self._of["count"].inc(items)
        self._of["exec_count"].inc(executions)
        for part, ns in parts_ns.items():
            self._of[f"{part}_duration_us"].inc(ns / 1000)


class Metrics:
    """Counts what the server does.

    Ask once for the metrics of a method, a model or a tier, and keep what is returned: its labels
    are resolved.

    Args:
        registry: Where they are collected; a new one by default, so that two servers in one
            process do not disturb each other.
        triton: Whether the requests of the Open Inference Protocol count under Triton's names too.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, triton: bool = False) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        stage, model, where = ("stage",), ("model",), ("where",)
        method = ("grpc_type", "grpc_service", "grpc_method")
        # fmt: off
        self._stage_seconds = self._histogram(
            "tamis_stage_duration_seconds", "How long a stage took.", stage)
        self._time_to_stage = self._histogram(
            "tamis_time_to_stage_seconds", "From a request to a stage's result.", stage)
        self._stage_skipped = self._counter(
            "tamis_stage_skipped_total", "Stages left out of a search.", (*stage, "reason"))
        self._queue_wait = self._histogram(
            "tamis_queue_wait_seconds", "How long an input waited for a batch.", (*model, "lane"))
        self._queue_depth = Gauge(
            "tamis_queue_depth", "Inputs that wait for a batch.", model, registry=self.registry,
            multiprocess_mode="livesum")
        self._batch_size = self._histogram(
            "tamis_batch_size", "Inputs of a batch.", model, SIZES)
        self._batch_cost = self._histogram(
            "tamis_batch_cost", "Cost of a batch, in tokens or the like.", model, COSTS)
        self._shed = self._counter(
            "tamis_shed_total", "Requests refused because there was no room.", ("reason",))
        self._cancelled = self._counter(
            "tamis_cancelled_total", "Work dropped because its caller had gone.", where)
        self._expired = self._counter(
            "tamis_deadline_expired_total", "Work dropped because its deadline had passed.", where)
        self._cache_requests = self._counter(
            "tamis_cache_requests_total", "Look-ups in a cache.", ("tier", "kind", "result"))
        self._cache_seconds = self._histogram(
            "tamis_cache_latency_seconds", "How long a cache took to answer.", ("tier",))
        self._started = self._counter(
            "grpc_server_started_total", "Calls that began.", method)
        self._handled = self._counter(
            "grpc_server_handled_total", "Calls that ended.", (*method, "grpc_code"))
        self._handling = self._histogram(
            "grpc_server_handling_seconds", "How long calls took.", method)
        # fmt: on
        # Gauges, because the library ends a counter's name in `_total`, and Triton does not.
        self._triton = {
            name: Gauge(
                f"nv_inference_{name}",
                text,
                model,
                registry=self.registry,
                multiprocess_mode="sum",
            )
            for name, text in (TRITON.items() if triton else ())
        }
        self._stages = {
            name: (self._stage_seconds.labels(name), self._time_to_stage.labels(name))
            for name in STAGES
        }

    def call(self, kind: str, service: str, method: str) -> CallMetrics:
        """Of one gRPC method. `kind` is `unary`, `client_stream`, `server_stream` or `bidi_stream`.

        `service` is its full name, as in ``tamis.v1.RetrievalService``.
        """
        return CallMetrics(
            self._started.labels(kind, service, method),
            lambda code: self._handled.labels(kind, service, method, code),
            self._handling.labels(kind, service, method),
        )

    def queue(self, model: str) -> QueueMetrics:
        """Of the queue in front of one model."""
        return QueueMetrics(
            lambda lane: self._queue_wait.labels(model, lane),
            self._queue_depth.labels(model),
            self._batch_size.labels(model),
            self._batch_cost.labels(model),
        )

    def cache(self, tier: str, kind: str) -> CacheMetrics:
        """Of one tier (`local`, `redis`) of one cache (`embedding`, `context`)."""
        return CacheMetrics(
            lambda result: self._cache_requests.labels(tier, kind, result),
            self._cache_seconds.labels(tier),
        )

    def inference(self, model: str) -> InferenceMetrics | None:
        """Of one model of the Open Inference Protocol; None where nobody asked for Triton's."""
        return InferenceMetrics(self._triton, model) if self._triton else None

    def stage_done(self, stage: str, seconds: float, since_request_s: float) -> None:
        """A stage has a result: so long it took, and so long after the request it is there."""
        taken, since_request = self._stages[stage]
        taken.observe(seconds)
        since_request.observe(since_request_s)

    def stage_skipped(self, stage: str, reason: str) -> None:
        """A stage was left out."""
        self._stage_skipped.labels(stage, reason).inc()

    def shed(self, reason: str) -> None:
        """A request was refused because there was no room."""
        self._shed.labels(reason).inc()

    def cancelled(self, where: str) -> None:
        """Work was dropped in a `queue`, `batch`, `stage` or `call`: its caller had gone."""
        self._cancelled.labels(where).inc()

    def deadline_expired(self, where: str) -> None:
        """Work was dropped there because its deadline had passed."""
        self._expired.labels(where).inc()

    def _counter(self, name: str, help_text: str, labels: Sequence[str]) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _histogram(
        self, name: str, help_text: str, labels: Sequence[str], buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        return Histogram(name, help_text, labels, registry=self.registry, buckets=buckets)
