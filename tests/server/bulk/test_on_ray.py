"""The same job on Ray: two actors on this machine, one of which is killed."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from commands import ended, start
from fake_server import Server, serving
from held import DOCUMENTS, Held, records, write

pytest.importorskip("ray")
SOON_S = 300.0


def actors() -> list[int]:
    """Processes of ours that are Ray's workers, and have begun as tamis's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::Indexer"):
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


async def test_an_actor_is_killed_and_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    corpus, ledger = tmp_path / "corpus.jsonl", tmp_path / "ledger"
    write(corpus)
    collections = Held()
    async with serving(collections, Server()) as target, asyncio.timeout(SOON_S):
        process = await start(
            *("index", str(corpus), "-c", "c", "--ledger", str(ledger), "--shard", "20"),
            *("--processes", "2", "--ray", "auto"),
            target=target,
            RAY_AUTH_MODE="disabled",
        )
        waiting = asyncio.create_task(collections.half.wait())
        over = asyncio.create_task(process.wait())
        await asyncio.wait({waiting, over}, return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            os.kill(actors()[0], signal.SIGKILL)
        collections.on.set()
        status, out, err = await ended(process)
    if "Ray does not start here" in err:
        pytest.skip("Ray gives up after 30 s, which a machine that is busy takes to start it")
    assert status == 0, err
    last = out.splitlines()[-1]  # Ray says before it that a worker died
    assert last.startswith(f"indexed {DOCUMENTS} documents in ")
    assert {*collections.held["c"]} == {f"d{n}" for n in range(DOCUMENTS)}
    assert DOCUMENTS <= sum(collections.messages) <= DOCUMENTS + 40
    assert len(records(ledger)) == len({*records(ledger)}) == DOCUMENTS
