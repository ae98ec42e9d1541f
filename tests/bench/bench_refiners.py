"""How long each visual refiner takes on one LLaVA-1.5 image, one core: 576 tokens of 1024 to 64."""

import os
import statistics
import subprocess
import sys

import pytest

from tamis.models import catalog
from tamis.models.refiners import Refiner, VisualRefiner

pytestmark = pytest.mark.bench
NAMES = [n for n in catalog.names(Refiner) if issubclass(catalog.find(Refiner, n), VisualRefiner)]
# A process of its own, because numpy's BLAS reads its thread count when it is loaded.
PROGRAM = """
import sys, time
import numpy as np
from tamis.models import catalog
from tamis.models.refiners import Refiner
from tamis.models.types import VisualTokens

rng = np.random.default_rng(seed=0)
embeddings = rng.normal(size=(576, 1024)).astype(np.float32)
image = VisualTokens(embeddings, rng.dirichlet(np.ones(576)), np.arange(576), (24, 24))
refiner = catalog.load(Refiner, sys.argv[1], {"budget": 64})
for _ in range(5):  # warm up
    refiner.refine(image)
for _ in range(100):
    start = time.perf_counter()
    refiner.refine(image)
    print(1e3 * (time.perf_counter() - start))
"""


@pytest.mark.parametrize("name", NAMES)
def test_refine(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    times = [float(line) for line in done.stdout.split()]
    print(f"{name:10} median {statistics.median(times):6.2f} ms  min {min(times):6.2f} ms")
