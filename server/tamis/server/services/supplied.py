"""Documents that a caller brings along, instead of searching for them."""

from collections.abc import Iterable, Sequence

from tamis.models.errors import InputError, TamisError
from tamis.server.config import Limits
from tamis.server.content import RawContent, raw_content
from tamis.server.errors import failure_of
from tamis.v1 import document_pb2

Supplied = tuple[str, RawContent]


def supplied(
    documents: Sequence[document_pb2.Document], limits: Limits, most: int
) -> tuple[list[Supplied], list[document_pb2.DocumentFailure]]:
    """The documents that can be read, and why the others cannot.

    Raises:
        InputError: There are none, too many, or two of one id.
    """
    if not 1 <= len(documents) <= most:
        raise InputError(f"documents: {len(documents)}; from 1 to {most}")
    if len({document.id for document in documents}) < len(documents):
        raise InputError("documents: two of them have the same id")
    read, failures = [], []
    for document in documents:
        try:
            read.append((document.id, raw_content(document.content, limits, where="content")))
        except TamisError as error:
            failures.append((document.id, error))
    return read, failed(failures)


def failed(failures: Iterable[tuple[str, Exception]]) -> list[document_pb2.DocumentFailure]:
    """Failures as messages."""
    return [
        document_pb2.DocumentFailure(document_id=name, failure=failure_of(error))
        for name, error in failures
    ]
