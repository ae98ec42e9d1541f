"""How the cores are best divided among models: three at once, and one by itself.

Each row is a rule for a session's threads, in a process of its own, because ONNX Runtime's one pool
for all sessions is a process's choice. Three sessions of one graph run batches for a while, each
from its own thread; then one of them runs alone, as when a search waits for one encoder. The rules
take turns, so that a noisy machine is noisy for all. Texts a second, and a second of a core, which
neighbours disturb less; medians of the rounds, and then relative to the first rule.
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
    runs, began, used = [], time.perf_counter(), time.process_time()
    workers = [
        threading.Thread(target=work, args=(s, inputs, began + window_s, runs))
        for s in sessions[:busy]
    ]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    texts = count * len(runs)
    seconds = time.perf_counter() - began, time.process_time() - used
    print(*(texts / each for each in seconds), flush=True)
"""


def test_threads() -> None:
    """Prints the table."""
    print(f"\n{ALL} cores, {MODELS} sessions, {ROUNDS} rounds of {WINDOW_S} s")
    print(f"{'batch':>8} {'rule':<18}" + 2 * f" {'all busy':>9} {'a core':>7} {'alone':>6}")
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
    rates: dict[str, list[tuple[float, float, float]]] = {rule: [] for rule in workers}
    for _ in range(ROUNDS):
        for rule, worker in workers.items():
            busy, of_a_core = _rates(worker, MODELS, count, tokens)
            alone, _ = _rates(worker, 1, count, tokens)
            rates[rule].append((busy, of_a_core, alone))
    medians = {
        rule: [statistics.median(column) for column in zip(*rounds, strict=True)]
        for rule, rounds in rates.items()
    }
    first = next(iter(medians.values()))
    for rule, own in medians.items():
        busy, of_a_core, alone = (a / b for a, b in zip(own, first, strict=True))
        print(
            f"{count:>3} x {tokens:<3} {rule:<18} {own[0]:>9.0f} {own[1]:>7.0f} {own[2]:>6.0f} "
            f"{busy:>8.2f}x {of_a_core:>6.2f}x {alone:>5.2f}x"
        )


def _rates(
    worker: "subprocess.Popen[str]", models: int, count: int, tokens: int
) -> tuple[float, float]:
    """Texts a second, and texts a second of a core."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{models} {count} {tokens}\n")
    worker.stdin.flush()
    whole, of_a_core = map(float, worker.stdout.readline().split())
    return whole, of_a_core
