"""The log: one JSON object a line, with the request that it belongs to."""

import logging
import sys
from contextvars import ContextVar
from typing import TextIO

import structlog
from structlog.types import EventDict, FilteringBoundLogger, Processor, WrappedLogger

# The call that the present task works for; empty outside of calls.
request_id: ContextVar[str] = ContextVar("request_id", default="")
# What is the same on every line of this process.
_process: dict[str, object] = {}


def lines(stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger that writes JSON lines to a stream (stderr), whatever else is configured."""
    lazy = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        processors=[*_processors(), structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return lazy.bind()  # else it is put together again for each line


def configure(stream: TextIO | None = None, *, worker: int | None = None) -> None:
    """Sends what every other module logs, from INFO up, to the same stream in the same form.

    For the program's start; a library that did this at import would be rude.

    Args:
        stream: Where lines go; stderr by default.
        worker: This process's number, which every line then carries.
    """
    _process.clear()
    if worker is not None:
        _process["worker"] = worker
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_processors()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def _processors() -> list[Processor]:
    return [
        _add_request_id,
        _add_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def _add_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current:
        event["request_id"] = current
    return event


def _add_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.update(_process)
    return event
