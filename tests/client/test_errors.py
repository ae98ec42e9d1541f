"""From statuses and trailers to errors."""

import inspect
import re

import grpc
import pytest

from tamis.client import errors
from tamis.v1 import failure_pb2

REASONS = [number for number in failure_pb2.Reason.values() if number]


def trailer(reason: int = failure_pb2.REASON_NOT_FOUND, wait: int | None = None) -> bytes:
    failure = failure_pb2.Failure(reason=reason, message="said", retry_after_ms=wait)  # type: ignore[arg-type]
    return failure.SerializeToString()


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_an_error_of_its_name(reason: int) -> None:
    found = errors.of_status(
        grpc.StatusCode.UNKNOWN, "", [("tamis-failure-bin", trailer(reason))], "r"
    )
    name = failure_pb2.Reason.Name(reason).removeprefix("REASON_").title().replace("_", "")  # type: ignore[arg-type]
    assert type(found).__name__ == f"{name}Error"
    assert str(found) == "said"
    assert found.request_id == "r"


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not code.OK])
def test_every_status_has_an_error(code: grpc.StatusCode) -> None:
    found = errors.of_status(code, "why", None, "r")
    assert isinstance(found, errors.TamisClientError)
    assert type(found) is not errors.TamisClientError
    assert (found.message, found.code) == ("why", code)


def test_the_trailer_decides_where_both_are_there() -> None:
    found = errors.of_status(
        grpc.StatusCode.UNAVAILABLE, "x", [("tamis-failure-bin", trailer())], "r"
    )
    assert isinstance(found, errors.NotFoundError)


def test_a_trailer_that_is_damaged_is_no_trailer() -> None:
    found = errors.of_status(
        grpc.StatusCode.NOT_FOUND, "x", [("tamis-failure-bin", b"\xff\xff")], "r"
    )
    assert isinstance(found, errors.NotFoundError)
    assert str(found) == "x"


def test_a_reason_of_a_newer_server_falls_back_on_the_status() -> None:
    found = errors.of_status(
        grpc.StatusCode.UNAVAILABLE, "x", [("tamis-failure-bin", trailer(99))], "r"
    )
    assert isinstance(found, errors.UnavailableError)


@pytest.mark.parametrize(
    ("trailers", "seconds"),
    [
        ([("tamis-failure-bin", trailer(failure_pb2.REASON_OVERLOADED, 50))], 0.05),
        ([("tamis-failure-bin", trailer(failure_pb2.REASON_OVERLOADED))], None),
        ([("grpc-retry-pushback-ms", "200")], 0.2),
        ([("grpc-retry-pushback-ms", "-1")], None),
        ([], None),
    ],
)
def test_overloaded_says_how_long_to_wait(
    trailers: list[tuple[str, str | bytes]], seconds: float | None
) -> None:
    found = errors.of_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", trailers, "r")
    assert isinstance(found, errors.OverloadedError)
    assert found.retry_after == seconds


def test_a_message_that_is_too_large_is_not_an_overload() -> None:
    """gRPC uses the same status for both; a retry helps one only."""
    said = "SERVER: Received message larger than max (33554500 vs. 33554432)"
    found = errors.of_status(grpc.StatusCode.RESOURCE_EXHAUSTED, said, None, "r")
    assert isinstance(found, errors.InvalidRequestError)


def test_a_status_without_words_says_its_name() -> None:
    assert str(errors.of_status(grpc.StatusCode.ABORTED, "", None, "")) == "ABORTED"


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    drawn = re.findall(r"[├└]── (\w+)", str(errors.__doc__))
    kinds = inspect.getmembers(errors, inspect.isclass)
    real = [
        name
        for name, kind in kinds
        if issubclass(kind, errors.TamisClientError) and kind is not errors.TamisClientError
    ]
    assert sorted(drawn) == sorted(real)
