"""MaxSim in whole numbers: the same result from several kernels, of which one is fastest here.

Documents are uint8 with 128 for zero, as processors multiply bytes fastest; a query's vectors are
int8, each with a scale of its own. Products are added up exactly, so that every kernel that is not
at fault gives the same.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from jaxtyping import Float, Int8, UInt8

from tamis.models.errors import ModelError
from tamis.models.runtimes.onnx import options

logger = logging.getLogger(__name__)

GRAPH = Path(__file__).parents[1] / "weights" / "max_sim.onnx"
ZERO = 128  # of a document's bytes
REACH = 127  # the largest number of either side
TRIED = 5  # times that the self-test runs each kernel

Documents = UInt8[np.ndarray, "documents tokens dim"]
Score = Callable[[Documents, "Quantized"], Float[np.ndarray, " documents"]]


@dataclass(frozen=True, slots=True)
class Quantized:
    """A query in whole numbers.

    Attributes:
        vectors: From -127 to 127.
        scales: What each vector's numbers are to be multiplied with.
    """

    vectors: Int8[np.ndarray, "query_tokens dim"]
    scales: Float[np.ndarray, " query_tokens"]

    @classmethod
    def of(cls, query: Float[np.ndarray, "query_tokens dim"]) -> "Quantized":
        """Each vector by its own largest number; a vector of zeros stays one."""
        reach = np.abs(query).max(axis=1, keepdims=True)
        scales = (np.where(reach > 0, reach, 1) / REACH).astype(np.float32)
        return cls(np.rint(query / scales).astype(np.int8), scales[:, 0])


@dataclass(frozen=True, slots=True)
class Kernel:
    """One way to score documents of equally many vectors.

    Attributes:
        name: What it runs on.
        score: Each document's sum, over the query's vectors, of the best match among its own, still
            to be multiplied with the document's scale. Lets other threads run.
    """

    name: str
    score: Score


def onnx_kernel(threads: int = 1) -> Kernel:
    """The graph in ONNX Runtime, on as many threads.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    try:
        session = onnxruntime.InferenceSession(GRAPH, options(threads))
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise ModelError(f"{GRAPH}: ONNX Runtime cannot load it: {error}") from error

    def score(documents: Documents, query: Quantized) -> Float[np.ndarray, " documents"]:
        count, tokens, dim = documents.shape
        (scores,) = session.run(
            None,
            {
                "documents": documents.reshape(count * tokens, dim),
                "query": np.ascontiguousarray(query.vectors.T),
                "scales": query.scales,
                "shape": np.array([count, tokens, len(query.vectors)]),
            },
        )
        return np.asarray(scores)

    return Kernel("onnxruntime uint8", score)


def numpy_kernel() -> Kernel:
    """The same in float32, whose sums of such products are whole numbers too, up to 2^24."""

    def score(documents: Documents, query: Quantized) -> Float[np.ndarray, " documents"]:
        count, tokens, dim = documents.shape
        numbers = documents.reshape(count * tokens, dim).astype(np.float32) - ZERO
        products = numbers @ query.vectors.T.astype(np.float32)
        return products.reshape(count, tokens, -1).max(axis=1) @ query.scales

    return Kernel("numpy float32", score)


def fastest(kernels: Sequence[Kernel] = (), *, dim: int = 128) -> Kernel:
    """The kernel that scores some documents in the least time, of those that score them right.

    On processors without instructions for bytes, the graph takes longer than float32; there are
    some on which such products overflow.

    Args:
        kernels: Which to try; none for all that there are. The last one is trusted.
        dim: The length of the vectors to try them on.
    """
    tried = kernels or (onnx_kernel(), numpy_kernel())
    rng = np.random.default_rng(0)
    documents = rng.integers(1, 256, (64, 32, dim), dtype=np.uint8)
    documents[0], documents[1] = ZERO + REACH, ZERO - REACH  # where products overflow first
    query = Quantized(rng.integers(-REACH, REACH + 1, (32, dim), dtype=np.int8), np.ones(32, "f4"))
    query.vectors[0], query.vectors[1] = REACH, -REACH
    wanted = tried[-1].score(documents, query)
    times = {}
    for kernel in tried:
        if not np.allclose(kernel.score(documents, query), wanted, rtol=1e-6):
            logger.warning("MaxSim: %s is wrong on this machine, and not used", kernel.name)
            continue
        times[kernel.name] = min(_seconds(kernel, documents, query) for _ in range(TRIED))
    best = min((kernel for kernel in tried if kernel.name in times), key=lambda k: times[k.name])
    figures = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in times.items())
    logger.info("MaxSim: by %s (%s)", best.name, figures)
    return best


def _seconds(kernel: Kernel, documents: Documents, query: Quantized) -> float:
    started = time.perf_counter()
    kernel.score(documents, query)
    return time.perf_counter() - started
