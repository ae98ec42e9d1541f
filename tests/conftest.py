"""What every test may use."""

from collections.abc import Iterator

import numpy as np
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from tamis.models.types import VisualTokens


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fails any test that blocks the event loop."""
    with blockbuster_ctx(["tamis.server", "tamis.client"]) as blocking:
        yield blocking


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
