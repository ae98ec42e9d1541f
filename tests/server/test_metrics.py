"""What an operator's Prometheus finds."""

from itertools import pairwise

from prometheus_client import CollectorRegistry

from tamis.server.metrics import SECONDS, Metrics

# Dashboards, alerts and deploy/ are written against these.
FAMILIES = {
    "tamis_stage_duration_seconds": {"stage"},
    "tamis_time_to_stage_seconds": {"stage"},
    "tamis_queue_wait_seconds": {"model", "lane"},
    "tamis_queue_depth": {"model"},
    "tamis_batch_size": {"model"},
    "tamis_batch_cost": {"model"},
    "tamis_shed": {"reason"},
    "tamis_cancelled": {"where"},
    "tamis_deadline_expired": {"where"},
    "tamis_stage_skipped": {"stage", "reason"},
    "tamis_cache_requests": {"tier", "kind", "result"},
    "tamis_cache_latency_seconds": {"tier"},
    "grpc_server_started": {"grpc_type", "grpc_service", "grpc_method"},
    "grpc_server_handled": {"grpc_type", "grpc_service", "grpc_method", "grpc_code"},
    "grpc_server_handling_seconds": {"grpc_type", "grpc_service", "grpc_method"},
}


def used() -> Metrics:
    """Metrics of a server that did a little of everything."""
    metrics = Metrics()
    call = metrics.call("server_stream", "tamis.v1.RetrievalService", "Search")
    call.started()
    call.handled("OK", 0.003)
    queue = metrics.queue("minilm")
    queue.waited(0.001, bulk=False)
    queue.waited(0.2, bulk=True)
    queue.depth(7)
    queue.batch(32, 4_000)
    cache = metrics.cache("redis", "embedding")
    cache.hit()
    cache.miss()
    cache.error(2)
    cache.skipped()
    cache.coalesced()
    cache.dropped(3)
    cache.took(0.000_4)
    metrics.stage_done("retrieve", 0.002, 0.003)
    metrics.stage_skipped("rerank", "budget_exceeded")
    metrics.shed("overloaded")
    metrics.cancelled("queue")
    metrics.deadline_expired("batch")
    return metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_names_and_labels_are_those_that_dashboards_know() -> None:
    found = {
        family.name: {label for sample in family.samples for label in sample.labels} - {"le"}
        for family in used().registry.collect()
        if family.name.startswith(("tamis_", "grpc_"))
    }
    assert found == FAMILIES


def test_every_event_is_counted_where_it_belongs() -> None:
    metrics = used()
    call = {
        "grpc_type": "server_stream",
        "grpc_service": "tamis.v1.RetrievalService",
        "grpc_method": "Search",
    }
    assert value(metrics, "grpc_server_started_total", **call) == 1
    assert value(metrics, "grpc_server_handled_total", **call, grpc_code="OK") == 1
    assert value(metrics, "grpc_server_handling_seconds_sum", **call) == 0.003
    model = {"model": "minilm"}
    assert value(metrics, "tamis_queue_wait_seconds_sum", **model, lane="interactive") == 0.001
    assert value(metrics, "tamis_queue_wait_seconds_sum", **model, lane="bulk") == 0.2
    assert value(metrics, "tamis_queue_depth", **model) == 7
    assert value(metrics, "tamis_batch_size_sum", **model) == 32
    assert value(metrics, "tamis_batch_cost_sum", **model) == 4_000
    counts = {
        result: value(
            metrics, "tamis_cache_requests_total", tier="redis", kind="embedding", result=result
        )
        for result in ("hit", "miss", "error", "skipped", "coalesced", "dropped")
    }
    assert list(counts.values()) == [1, 1, 2, 1, 1, 3]
    assert value(metrics, "tamis_cache_latency_seconds_count", tier="redis") == 1
    assert value(metrics, "tamis_stage_duration_seconds_sum", stage="retrieve") == 0.002
    assert value(metrics, "tamis_time_to_stage_seconds_sum", stage="retrieve") == 0.003
    skipped = value(metrics, "tamis_stage_skipped_total", stage="rerank", reason="budget_exceeded")
    assert skipped == 1
    assert value(metrics, "tamis_shed_total", reason="overloaded") == 1
    assert value(metrics, "tamis_cancelled_total", where="queue") == 1
    assert value(metrics, "tamis_deadline_expired_total", where="batch") == 1


def test_buckets_reach_well_below_a_millisecond_and_up_to_a_minute() -> None:
    assert (SECONDS[0], SECONDS[-1]) == (0.000_25, 60)
    assert list(SECONDS) == sorted(set(SECONDS))
    assert all(2 <= above / below <= 3 for below, above in pairwise(SECONDS))


def test_two_servers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.shed("overloaded")
    assert value(other, "tamis_shed_total", reason="overloaded") is None


def test_a_registry_of_ones_own_is_used() -> None:
    registry = CollectorRegistry()
    Metrics(registry).shed("overloaded")
    assert registry.get_sample_value("tamis_shed_total", {"reason": "overloaded"}) == 1
