"""What ModelStatistics tells of queues and batches."""

import pytest

from tamis.server.metrics import Metrics
from tamis.server.oip.statistics import Statistics


def test_items_in_batches_are_shares_of_executions() -> None:
    statistics = Statistics("m")
    with statistics.request() as watch:
        watch.read(6)
        for size in (4, 4, 4, 4, 2, 2):
            with watch.item() as item:
                item.ran(0.0, size)
    message = statistics.message("3")
    assert (message.name, message.version) == ("m", "3")
    assert (message.inference_count, message.execution_count) == (6, 2)
    assert {b.batch_size: b.compute_infer.count for b in message.batch_stats} == {2: 1, 4: 1}


def test_a_request_without_a_batch_is_one_execution() -> None:
    statistics = Statistics("m")
    with statistics.request() as watch:
        watch.read(3)
        with watch.item():
            pass  # so cheap that it does not queue
    message = statistics.message("1")
    assert (message.inference_count, message.execution_count) == (3, 1)
    assert [b.batch_size for b in message.batch_stats] == [3]
    assert message.inference_stats.queue.ns == 0


def test_queue_and_compute_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**12, 10**9))  # every look at it is a second later
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(clock))
    statistics = Statistics("m")
    with statistics.request() as watch:  # 0
        watch.read(2)  # 1
        for waited_s in (1.0, 3.0):
            with watch.item() as item:
                item.ran(waited_s, 1)  # 2 and 4
        # done at 3 and 5; inferred at 6; success at 7
    stats = statistics.message("1").inference_stats
    assert stats.compute_input.ns == 10**9
    assert stats.queue.ns == 2 * 10**9
    assert stats.compute_infer.ns == 3 * 10**9
    assert stats.success.ns == 7 * 10**9


def test_what_fails_is_no_execution() -> None:
    statistics = Statistics("m")
    with pytest.raises(ZeroDivisionError), statistics.request():
        raise ZeroDivisionError
    message = statistics.message("1")
    assert (message.inference_stats.fail.count, message.execution_count) == (1, 0)


def test_requests_count_under_triton_s_names_where_somebody_asks_for_them() -> None:
    metrics = Metrics(triton=True)
    statistics = Statistics("m", metrics.inference("m"))
    with statistics.request() as watch:
        watch.read(2)
        for _ in range(2):
            with watch.item() as item:
                item.ran(0.25, 4)
    with pytest.raises(ZeroDivisionError), statistics.request():
        raise ZeroDivisionError

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"nv_inference_{name}", {"model": "m"})

    assert (value("request_success"), value("request_failure")) == (1, 1)
    assert (value("count"), value("exec_count")) == (2, 0.5)
    assert value("request_duration_us") == pytest.approx(
        sum(
            value(f"{part}_duration_us") or 0
            for part in ("queue", "compute_input", "compute_infer", "compute_output")
        ),
        abs=1_000,
    )


def test_nobody_pays_for_names_that_nobody_asked_for() -> None:
    metrics = Metrics()
    assert metrics.inference("m") is None
    assert not [name for name in metrics.registry._names_to_collectors if name.startswith("nv_")]
