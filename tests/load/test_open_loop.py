"""The load generator's arithmetic: a wrong generator would praise a slow server."""

import asyncio
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_loops import Ended, closed_loop, open_loop, starts
from load_report import SHED, Latencies, Report

OK = Ended("OK")


def test_constant_arrivals_are_evenly_spaced() -> None:
    times = list(starts(100, 2, "constant"))
    assert len(times) == 200
    assert np.allclose(np.diff(times), 0.01)


def test_poisson_arrivals_have_the_rate_and_the_spread_of_independent_users() -> None:
    times = list(starts(100, 100, "poisson", random.Random(1)))
    gaps = np.diff(times)
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)
    assert times == sorted(times)
    assert times[-1] < 100


@given(st.lists(st.floats(2e-5, 900), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_at_most_one_percent_too_high(seconds: list[float], q: float) -> None:
    latencies = Latencies()
    for value in seconds:
        latencies.add(value)
    exact = float(np.quantile(seconds, q, method="inverted_cdf"))
    assert exact * (1 - 1e-9) <= latencies.quantile_s(q) <= exact * 1.0101


def test_what_no_bucket_holds_is_still_counted() -> None:
    latencies = Latencies()
    for seconds in (0.0, 1e-9, 1e6):
        latencies.add(seconds)
    assert len(latencies) == 3
    assert latencies.quantile_s(1.0) == latencies.max_s == 1e6


async def test_a_stall_counts_for_every_call_that_was_due() -> None:
    """Coordinated omission: a generator that waits would report one slow call, not a dozen."""
    free = asyncio.Event()

    async def call(number: int) -> Ended:
        if number == 0:
            asyncio.get_running_loop().call_later(0.3, free.set)
        await free.wait()
        return OK

    report = await open_loop(call, starts(50, 0.3, "constant"), deadline_s=0.1)
    assert report.codes == {"OK": 15}
    assert report.last.quantile_s(0.5) >= 0.12
    assert report.good <= 6


async def test_the_generators_own_delay_counts_too() -> None:
    ends = asyncio.get_running_loop().time()

    async def call(number: int) -> Ended:
        return Ended("OK", first_at=ends)

    # Due two seconds ago: late by then, though the call itself takes no time.
    report = await open_loop(call, [-2.0, -2.0], deadline_s=1)
    assert report.last.quantile_s(0.0) >= 2
    assert report.lag.quantile_s(0.0) >= 2
    assert report.good == 0


async def test_calls_beyond_the_bound_are_not_sent_but_counted() -> None:
    free = asyncio.Event()
    sent = []

    async def call(number: int) -> Ended:
        sent.append(number)
        await free.wait()
        return OK

    asyncio.get_running_loop().call_later(0.1, free.set)
    report = await open_loop(call, [0.0] * 10, deadline_s=1, in_flight=4)
    assert sent == [0, 1, 2, 3]
    assert (report.codes["OK"], report.unsent, report.offered) == (4, 6, 10)


async def test_a_closed_loop_has_as_many_calls_as_callers() -> None:
    under_way = most = 0

    async def call(number: int) -> Ended:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return OK

    report = await closed_loop(call, callers=3, seconds=0.1, deadline_s=1)
    assert most == 3
    assert report.goodput == pytest.approx(report.codes["OK"] / report.seconds)


def test_goodput_leaves_out_what_is_late_and_what_failed() -> None:
    report = Report(deadline_s=0.1, seconds=2.0)
    report.ended("OK", first_s=0.01, last_s=0.05)
    report.ended("OK", first_s=0.01, last_s=0.2, skipped=True)
    report.ended(SHED, first_s=None, last_s=0.001)
    assert (report.good, report.goodput, report.skipped) == (1, 0.5, 1)
    assert len(report.last) == 2
    table = report.table()
    assert "goodput: 0.5/s within 100 ms (33.3 % of what was offered)" in table
    assert "shed: 1 (33.3 %)" in table
    assert "p99" in table
