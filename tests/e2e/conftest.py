"""One server for all end-to-end tests that do not break it; each takes a collection of its own."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from drawings import documents
from serving import Served, serving

from tamis.client import Client


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.target) as client:
        yield client


@pytest.fixture(scope="session")
def drawings(served: Served) -> str:
    """A collection of twelve captioned drawings, which no test changes."""
    with Client(served.target) as client:
        progress = client.upsert("drawings", documents()).final()
    assert (progress.upserted, progress.failed) == (12, 0)
    return "drawings"


@pytest.fixture
def collection() -> str:
    """A name that no other test uses."""
    return f"c-{uuid4().hex[:12]}"
