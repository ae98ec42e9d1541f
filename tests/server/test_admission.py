from collections.abc import Iterator

import pytest

from tamis.server.admission import Admission, tenant
from tamis.server.config import Limits
from tamis.server.errors import OverloadedError


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    token = tenant.set("")
    yield
    tenant.reset(token)


def test_beyond_the_limit_nobody_comes_in() -> None:
    admission = Admission(Limits(max_in_flight=2))
    refused = pytest.raises(OverloadedError, match="2 searches are in flight; at most 2")
    with admission.place(), admission.place(), refused:
        admission.place().__enter__()
    with admission.place():  # those who left made room
        pass


def test_a_tenant_cannot_take_the_places_of_the_others() -> None:
    admission = Admission(Limits(max_in_flight=10, max_in_flight_per_tenant=2))
    tenant.set("a")
    with admission.place(), admission.place():
        with pytest.raises(OverloadedError, match="tenant 'a' has 2 searches in flight; at most 2"):
            admission.place().__enter__()
        tenant.set("b")
        with admission.place():
            pass


def test_a_refusal_takes_no_place() -> None:
    admission = Admission(Limits(max_in_flight=10, max_in_flight_per_tenant=1))
    for _ in range(20):
        with admission.place(), pytest.raises(OverloadedError):
            admission.place().__enter__()
    with admission.place():
        pass


def test_a_failed_job_leaves_its_place() -> None:
    admission = Admission(Limits(max_in_flight=1))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), admission.place():
            raise ZeroDivisionError
