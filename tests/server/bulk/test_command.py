"""`tamis index` with workers that are killed and runs that are interrupted, on a real port."""

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from commands import ended, start, tamis
from fake_server import Collections, Server, serving
from held import DOCUMENTS, HALF, Held, records, write

from tamis.client import Client
from tamis.server.bulk import command, reporting
from tamis.server.bulk.corpus import corpus as corpus_of
from tamis.server.bulk.ledger import LedgerError
from tamis.server.bulk.reporting import Meter
from tamis.server.bulk.running import StoppedError

SOON_S = 60.0


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    write(path)
    return path


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger"
    monkeypatch.setenv("TAMIS_LEDGER", str(path))
    return path


def workers(parent: int) -> list[int]:
    """The worker processes of a `tamis index`."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def news(err: str) -> list[str]:
    """What it says beside how far it is."""
    return [line for line in err.splitlines() if not line.startswith("indexing: ")]


def there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def during(
    collections: Held, *arguments: str, act: Callable[[asyncio.subprocess.Process], Awaitable[None]]
) -> tuple[int | None, str, str]:
    """A run to which something happens when half of the documents are there."""
    async with serving(collections, Server()) as target:
        process = await start("index", *arguments, target=target)
        async with asyncio.timeout(SOON_S):
            await collections.half.wait()
        await act(process)
        collections.on.set()
        return await ended(process)


async def test_a_worker_is_killed_and_nothing_is_lost_or_twice(corpus: Path, ledger: Path) -> None:
    async def kill(process: asyncio.subprocess.Process) -> None:
        first, _ = workers(process.pid)
        os.kill(first, signal.SIGKILL)

    collections = Held()
    arguments = (str(corpus), "-c", "c", "--processes", "2", "--shard", "20")
    status, out, err = await during(collections, *arguments, act=kill)
    assert (status, news(err)) == (0, [])
    assert out.startswith(f"indexed {DOCUMENTS} documents in ")
    assert {*collections.held["c"]} == {f"d{n}" for n in range(DOCUMENTS)}
    assert DOCUMENTS <= sum(collections.messages) <= DOCUMENTS + 20  # one shard was sent again
    assert len(records(ledger)) == len({*records(ledger)}) == DOCUMENTS


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_an_interrupted_run_goes_on(corpus: Path, ledger: Path, processes: str) -> None:
    async def interrupt(process: asyncio.subprocess.Process) -> None:
        children.extend(workers(process.pid))
        process.send_signal(signal.SIGINT)
        await process.wait()
        assert not any(map(there, children))

    collections, children = Held(), list[int]()
    arguments = (str(corpus), "-c", "c", "--processes", processes, "--shard", "20")
    status, out, err = await during(collections, *arguments, act=interrupt)
    assert status == 130
    assert news(err) == ["tamis: interrupted"]
    known = len(records(ledger))
    assert out.startswith("indexed ")
    assert 0 < known <= HALF + 20

    before = sum(collections.messages)
    async with serving(collections, Server()) as target:
        run = await tamis("index", *arguments, target=target)
    assert run.status == 0
    assert run.out.startswith(f"indexed {DOCUMENTS - known} documents in ")
    assert run.out.endswith(f" into c, {known} were there already\n")
    assert sum(collections.messages) - before == DOCUMENTS - known  # and no other was sent again
    assert len(collections.held["c"]) == DOCUMENTS
    assert len({*records(ledger)}) == DOCUMENTS


async def index(target: str, path: Path, collection: str = "c", **options: Any) -> Meter:
    """What `tamis index` does, in this process."""

    def run() -> Meter:
        with Client(target) as client:
            return command.index(client, corpus_of(path), collection, command.Plan(**options))

    return await asyncio.to_thread(run)


async def test_what_changed_or_went_is_sent_again(
    corpus: Path, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collections = Collections()
    async with serving(collections, Server()) as target:
        await index(target, corpus, ledger=ledger)
        del collections.held["c"]["d7"]
        write(corpus, changed=9)
        again = await index(target, corpus, ledger=ledger)
        assert (again.upserted, again.held) == (2, DOCUMENTS - 2)
        assert collections.held["c"]["d9"].content.text == "another"
        assert len(collections.held["c"]) == DOCUMENTS
        fresh = await index(target, corpus, ledger=ledger, fresh=True)
        assert (fresh.upserted, fresh.held) == (DOCUMENTS, 0)
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("indexed 2 documents in ")
    assert said[1].endswith(f" into c, {DOCUMENTS - 2} were there already")


async def test_bad_documents_are_listed_and_tried_again(
    tmp_path: Path, ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        '{"_id": "good", "text": "x"}\n{"_id": "bad", "text": "x"}\nnot JSON\n'
        f'{{"_id": "long", "text": "{"x" * 1001}"}}\n'
    )
    collections = Collections()
    async with serving(collections, Server()) as target:
        first = await index(target, path, ledger=ledger)
        second = await index(target, path, ledger=ledger)
    assert list(collections.held["c"]) == ["good"]
    assert (first.upserted, second.upserted, second.held) == (1, 0, 1)
    assert first.failures == second.failures
    out, err = capsys.readouterr()
    assert out.splitlines()[0].endswith(" into c, 3 failed")
    assert out.splitlines()[1].endswith(" into c, 1 were there already, 3 failed")
    assert err.splitlines()[:3] == [
        f"  {path}:3: not JSON: Expecting value: line 1 column 1 (char 0)",
        f"  {path}:4: 1001 bytes; the server takes at most 1000",
        "  bad: not a picture",
    ]


async def test_a_server_that_refuses_stops_the_job(corpus: Path, ledger: Path) -> None:
    async with serving(Collections(), Server()) as target:
        with pytest.raises(StoppedError, match="closed for writing"):
            await index(target, corpus, "closed", ledger=ledger)


async def test_a_ledger_of_another_collection_is_refused(corpus: Path, ledger: Path) -> None:
    async with serving(Collections(), Server()) as target:
        await index(target, corpus, ledger=ledger)
        with pytest.raises(LedgerError, match="of another job"):
            await index(target, corpus, "d", ledger=ledger)


async def test_where_there_is_no_terminal_lines_tell_how_far_it_is(
    corpus: Path, ledger: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "LINE_EVERY_S", 0.0)
    async with serving(Collections(), Server()) as target:
        await index(target, corpus, ledger=ledger, shard=200)
    _, halfway, end = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"indexing: 204 of 400, \d+/s, about \d+ s to go", halfway)
    assert end.startswith("indexing: 400 of 400, ")
