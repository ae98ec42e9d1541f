"""The log's lines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tamis.server import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leaves logging to the other tests as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.configure()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_every_line_of_a_worker_carries_its_number() -> None:
    output = io.StringIO()
    own = logs.lines(output)
    logs.configure(output, worker=3)
    own.info("call")
    logging.getLogger("tamis.somewhere").info("done")
    logs.configure(output)
    own.info("alone")
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [(line["event"], line.get("worker")) for line in lines] == [
        ("call", 3),
        ("done", 3),
        ("alone", None),
    ]
