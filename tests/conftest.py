"""What every test may use."""

import gc
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from tamis.models.types import VisualTokens

TALKS = {"client", "e2e", "server"}  # the folders of tests that open channels


def pytest_configure() -> None:
    """Lets interrupts reach the processes that tests start, in a shell's background too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails any test that blocks the event loop."""
    with blockbuster_ctx(["tamis.server", "tamis.client"]) as blocking:
        yield blocking


@pytest.fixture(autouse=True, scope="module")
def frozen() -> None:
    """What is loaded stays: the collector need not look at it after each test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def swept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lets go of what a test leaves behind, before another one's event loop has to.

    gRPC's channels and servers end with a lock, and in cycles: the collector would find them
    anywhere, and blockbuster would take them for a fault of whoever runs then.
    """
    yield
    if TALKS & {*request.path.parts}:
        gc.collect()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(seed=0)


@pytest.fixture
def tokens(rng: np.random.Generator) -> VisualTokens:
    """A 5 x 5 grid of tokens, with attention that sums to 1."""
    return VisualTokens(
        embeddings=rng.normal(size=(25, 8)),
        attention=rng.dirichlet(np.ones(25)),
        positions=np.arange(25),
        grid=(5, 5),
    )
