"""When to leave a failing thing alone, and when to try it again."""

from cache_support import Clock

from tamis.server.cache.breaker import Breaker


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(failures=3, pause_s=5.0, clock=clock)
    assert [breaker.failed(breaker.ticket()) for _ in range(3)] == [False, False, True]
    return breaker


def test_failures_in_a_row_open_it() -> None:
    assert not opened(Clock()).closed


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = Breaker(failures=2, pause_s=5.0)
    for _ in range(5):
        breaker.failed(breaker.ticket())
        breaker.succeeded(breaker.ticket())
    assert breaker.closed


def test_calls_that_waited_together_are_one_failure() -> None:
    breaker = Breaker(failures=2, pause_s=5.0)
    tickets = [breaker.ticket() for _ in range(100)]
    for ticket in tickets:
        breaker.failed(ticket)
    assert breaker.closed
    assert breaker.failed(breaker.ticket())


def test_a_success_that_began_before_the_failure_does_not_excuse_it() -> None:
    breaker = Breaker(failures=2, pause_s=5.0)
    early = breaker.ticket()
    breaker.failed(breaker.ticket())
    breaker.succeeded(early)
    assert breaker.failed(breaker.ticket())


def test_one_probe_is_due_after_the_pause_and_not_before() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 4.9
    assert not breaker.probe_due()
    clock.now = 5.0
    assert [breaker.probe_due() for _ in range(3)] == [True, False, False]


def test_a_probe_that_goes_well_closes_it_with_a_clean_slate() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 5.0
    assert breaker.probe_due()
    breaker.probed(well=True)
    assert breaker.closed
    assert not breaker.failed(breaker.ticket())


def test_a_probe_that_fails_begins_another_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 5.0
    assert breaker.probe_due()
    breaker.probed(well=False)
    clock.now = 9.9
    assert not breaker.probe_due()
    clock.now = 10.0
    assert breaker.probe_due()


def test_what_began_before_it_opened_has_no_say_afterwards() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, pause_s=5.0, clock=clock)
    early = breaker.ticket()
    breaker.failed(breaker.ticket())
    breaker.succeeded(early)
    assert not breaker.closed
    clock.now = 5.0
    breaker.probe_due()
    breaker.probed(well=True)
    assert not breaker.failed(early)
    assert breaker.closed
