"""How the cores are best divided among models: three at once, and one by itself.

Each row is a rule for a session's threads, in a process of its own, because ONNX Runtime's one pool
for all sessions is a process's choice. Three sessions of one graph run batches for a while, each
from its own thread; then one of them runs alone, as when a search waits for one encoder. The rules
take turns, so that a noisy machine is noisy for all. Texts a second, medians of the rounds; the
last columns are relative to the first rule.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tamis.server.loading import cores

pytestmark = pytest.mark.bench

GRAPH = Path(__file__).parents[2] / "artifacts" / "minilm" / "text.onnx"
MODELS, ROUNDS, WINDOW_S = 3, 5, 1.0
SHAPES = ((1, 16), (8, 32))  # texts in a batch, tokens of each
ALL = cores()
RULES = {
    "all cores each": ALL,
    "a share each": max(1, ALL // MODELS),
    "one each": 1,
    "one pool for all": 0,
}

WORKER = """
import sys, threading, time
import numpy as np, onnxruntime
graph, models, threads, cores, window_s = sys.argv[1], *map(float, sys.argv[2:])
chosen = onnxruntime.SessionOptions()
chosen.inter_op_num_threads = 1
chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
if threads:
    chosen.intra_op_num_threads = int(threads)
else:
    onnxruntime.set_global_thread_pool_sizes(int(cores), 1)
    chosen.use_per_session_threads = False
sessions = [onnxruntime.InferenceSession(graph, chosen) for _ in range(int(models))]
names = [one.name for one in sessions[0].get_inputs()]

def work(session, inputs, until, runs):
    while time.perf_counter() < until:
        session.run(None, inputs)
        runs.append(1)

print("ready", flush=True)
for line in sys.stdin:
    busy, count, tokens = map(int, line.split())
    inputs = {name: np.ones((count, tokens), np.int64) for name in names}
    runs, began = [], time.perf_counter()
    workers = [
        threading.Thread(target=work, args=(s, inputs, began + window_s, runs))
        for s in sessions[:busy]
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    print(count * len(runs) / (time.perf_counter() - began), flush=True)
"""


def test_threads() -> None:
    """Prints the table."""
    print(f"\n{ALL} cores, {MODELS} sessions, {ROUNDS} rounds of {WINDOW_S} s")
    print(f"{'batch':>8} {'rule':<18} {'all busy':>9} {'alone':>9} {'all busy':>9} {'alone':>9}")
    with ExitStack() as stack:
        workers = {rule: stack.enter_context(_worker(threads)) for rule, threads in RULES.items()}
        for count, tokens in SHAPES:
            _table(workers, count, tokens)


@contextmanager
def _worker(threads: int) -> "Iterator[subprocess.Popen[str]]":
    arguments = [str(GRAPH), *map(str, (MODELS, threads, ALL, WINDOW_S))]
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def _table(workers: "dict[str, subprocess.Popen[str]]", count: int, tokens: int) -> None:
    rates: dict[str, list[tuple[float, float]]] = {rule: [] for rule in workers}
    for _ in range(ROUNDS):
        for rule, worker in workers.items():
            busy, alone = (_rate(worker, models, count, tokens) for models in (MODELS, 1))
            rates[rule].append((busy, alone))
    medians = {
        rule: [statistics.median(column) for column in zip(*pairs, strict=True)]
        for rule, pairs in rates.items()
    }
    first_busy, first_alone = next(iter(medians.values()))
    for rule, (busy, alone) in medians.items():
        print(
            f"{count:>3} x {tokens:<3} {rule:<18} {busy:>9.0f} {alone:>9.0f} "
            f"{busy / first_busy:>8.2f}x {alone / first_alone:>8.2f}x"
        )


def _rate(worker: "subprocess.Popen[str]", models: int, count: int, tokens: int) -> float:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{models} {count} {tokens}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())
