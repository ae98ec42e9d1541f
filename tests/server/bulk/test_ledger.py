"""What the ledger says after a crash, of another job, and of whom."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tamis.client import Document
from tamis.server.bulk.ledger import DIGEST_BYTES, Digests, Ledger, LedgerError, digest

JOB = {"collection": "stamps", "vectors": {"mini.dense": "f"}}
DIGESTS = some.lists(some.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES), max_size=40)


@given(DIGESTS, DIGESTS)
def test_digests_are_a_set(there: list[bytes], asked: list[bytes]) -> None:
    digests = Digests(b"".join(there))
    assert len(digests) == len(set(there))
    assert all(one in digests for one in there)
    assert [one in digests for one in asked] == [one in there for one in asked]


def test_what_was_added_is_there_at_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger"
    with Ledger(path, JOB) as ledger:
        assert len(ledger.acknowledged) == 0
        ledger.add(b"a" * 16 + b"b" * 16)
        ledger.add(b"")
        ledger.add(b"c" * 16)
    with Ledger(path, JOB) as ledger:
        assert len(ledger.acknowledged) == 3
        assert b"b" * 16 in ledger.acknowledged
    with Ledger(path, JOB, fresh=True) as ledger:
        assert len(ledger.acknowledged) == 0
    with Ledger(path, JOB) as ledger:
        assert len(ledger.acknowledged) == 0


@pytest.mark.parametrize("kept", range(0, 80, 7))
def test_a_file_cut_anywhere_keeps_its_whole_records(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "ledger"
    with Ledger(path, JOB) as ledger:
        head = path.stat().st_size
        ledger.add(b"a" * 16 + b"b" * 16)
    path.write_bytes(path.read_bytes()[: head - 40 + kept])
    whole = max(0, (kept - 40) // DIGEST_BYTES)
    with Ledger(path, JOB) as ledger:
        assert len(ledger.acknowledged) == whole
        ledger.add(b"c" * 16)
    with Ledger(path, JOB) as ledger:
        assert len(ledger.acknowledged) == whole + 1
        assert b"c" * 16 in ledger.acknowledged


def test_a_ledger_of_another_job_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    Ledger(path, JOB).__exit__(None, None, None)
    with pytest.raises(LedgerError, match=r"of another job .*\"g\".* --fresh"):
        Ledger(path, {**JOB, "vectors": {"mini.dense": "g"}})
    with Ledger(path, {**JOB, "vectors": {}}, fresh=True):
        pass


def test_what_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# Mine\n\nof some length\n")
    for fresh in (False, True):
        with pytest.raises(LedgerError, match="not a ledger"):
            Ledger(path, JOB, fresh=fresh)
    assert path.read_text() == "# Mine\n\nof some length\n"


def test_one_run_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path, JOB) as ledger:
        ledger.add(b"a" * 16)
        with pytest.raises(LedgerError, match="another run is using this ledger"):
            Ledger(path, JOB, fresh=True)
    with Ledger(path, JOB) as ledger:
        assert len(ledger.acknowledged) == 1


@pytest.mark.parametrize(
    "other",
    [
        Document("b", "x", b"1", {"a": 1}),
        Document("a", "y", b"1", {"a": 1}),
        Document("a", None, b"x1", {"a": 1}),
        Document("a", "x", b"2", {"a": 1}),
        Document("a", "x", None, {"a": 1}),
        Document("a", "x", b"", {"a": 1}),
        Document("a", "x", b"1", {"a": 2}),
        Document("a", "x", b"1", {"a": 1}, [b"1"]),
    ],
)
def test_a_digest_tells_documents_apart(other: Document) -> None:
    one = Document("a", "x", b"1", {"a": 1})
    assert digest(one) == digest(Document("a", "x", b"1", {"a": 1}))
    assert digest(one) != digest(other)
