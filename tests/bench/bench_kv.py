"""A compressed context against recomputing it: Gemma 3 270M, 1,000 tokens, one core.

The time to the first token of an answer, from the bytes that were stored (read, decoded, moved into
a cache, the question's tokens computed), beside reading context and question together: CPU time of
one thread, so that what else a machine does hardly counts. Beside it the same by the clock on the
wall, with the fetch from a real redis-server on this machine, as GetContext does it. Then what it
costs: of the next token's distribution, the total variation distance to the whole context's, of the
cache as the press left it, and of what was stored of that.

Needs the wheels of `tests/gemma.py`; they and the model are kept in TAMIS_BENCH_CACHE.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from gemma import gemma
from redis_server import running
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from tamis.models import catalog
from tamis.models.contexts.artefact import Artefact, Precisions
from tamis.models.contexts.key_values import KeyValues, compressed
from tamis.models.contexts.precision import Precision
from tamis.models.refiners import KVRefiner
from tamis.models.runtimes.hf.contexts import to_hf
from tamis.models.runtimes.hf.loading import Checkpoint
from tamis.models.runtimes.hf.prefill import prefill
from tamis.server.cache.contexts import ContextCache
from tamis.server.cache.settings import CacheSettings

pytestmark = pytest.mark.bench
CACHE = Path(os.environ.get("TAMIS_BENCH_CACHE", Path.home() / ".cache" / "tamis"))
TOKENS = 1_000
QUESTION = " In short, the name of the"
HANDLE = ContextCache.handle("f00d", 32 * "a")
PRESSES = ["keydiff", "expected_attention", "snapkv", "streaming_llm"]


def prose() -> str:
    """A licence, which every machine has: it is long, and does not repeat itself as lists do."""
    return (Path(__file__).parents[2] / "LICENSE").read_text()


def timed(
    run: Callable[[], Tensor], times: int, clock: Callable[[], float] = time.process_time
) -> tuple[Tensor, float]:
    """What it makes, and the median of the seconds it takes: of the CPU, or by another clock."""
    made, took = run(), []
    for _ in range(times):
        start = clock()
        run()
        took.append(clock() - start)
    return made, statistics.median(took)


def distance(left: Tensor, right: Tensor) -> float:
    """The total variation: 0 for the same distribution, 1 for no token in common."""
    return float((left - right).abs().sum() / 2)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


async def opened(url: str) -> ContextCache:
    contexts = ContextCache(CacheSettings(redis_url=url, context_timeout_ms=5_000))
    await contexts.warm_up()
    return contexts


@pytest.mark.usefixtures("one_thread")
@torch.inference_mode()
def test_a_stored_context(tmp_path: Path) -> None:
    checkpoint = Checkpoint(model=str(gemma(CACHE / "gemma")), device="cpu")
    network, tokenizer = checkpoint.network(AutoModelForCausalLM), checkpoint.tokenizer()
    ids = tokenizer(prose()).input_ids[:TOKENS]
    question = tokenizer(QUESTION, add_special_tokens=False).input_ids

    def told(before: DynamicCache | None, read: list[int]) -> Tensor:
        made = network(torch.tensor([read]), past_key_values=before, logits_to_keep=1)
        distribution: Tensor = made.logits[0, -1].float().softmax(-1)
        return distribution

    def resumed(data: bytes) -> Tensor:
        cache = Artefact.from_bytes(data).payload
        assert isinstance(cache, KeyValues)
        return told(to_hf(cache, network), question)

    layers = prefill(network, ids)
    whole, recomputed_s = timed(lambda: told(None, ids + question), times=1)
    _, waited_s = timed(lambda: told(None, ids + question), times=3, clock=time.perf_counter)
    print(
        f"\n{len(ids)} tokens recomputed in {1e3 * recomputed_s:.0f} ms of CPU time, "
        f"{1e3 * waited_s:.0f} ms by the clock"
    )
    with running(tmp_path) as redis, asyncio.Runner() as runner:
        contexts = runner.run(opened(redis.url))

        def fetched() -> Tensor:
            # The runner's own `run` writes out the result, for the handler of Ctrl-C: 140 ms.
            return resumed(runner.get_loop().run_until_complete(contexts.fetch(HANDLE)))

        for name in PRESSES:
            cache = compressed(layers, len(ids), catalog.load(KVRefiner, name, {"ratio": 0.5}))
            left = told(to_hf(cache, network), question)
            for values in (Precision.INT8, Precision.FLOAT8):
                data = Artefact(cache).to_bytes(Precisions(values=values))
                stored, first_s = timed(partial(resumed, data), times=3)
                runner.run(contexts.keep(HANDLE, data, 600))
                _, fetched_s = timed(fetched, times=3, clock=time.perf_counter)
                print(
                    f"{name:18} {values:11} {len(data) / 1e6:5.2f} MB  "
                    f"first token {1e3 * first_s:4.0f} ms = {first_s / recomputed_s:5.3f}x  "
                    f"from Redis {1e3 * fetched_s:4.0f} ms = {fetched_s / waited_s:5.3f}x  "
                    f"distance of the press {distance(left, whole):.4f}, "
                    f"stored {distance(stored, whole):.4f}, by storing {distance(stored, left):.4f}"
                )
        runner.run(contexts.close())
