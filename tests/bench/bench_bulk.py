"""Documents a second into a collection: the server encodes, or one or two processes of the job do.

Short passages, encoded by all-MiniLM-L6-v2 on the CPU: one vector each, and one a token. On a
machine with two cores the workers share them with the server and the index.
"""

import asyncio
import json
import os
from pathlib import Path

import pytest
from commands import tamis
from serving import serving

DOCUMENTS = int(os.environ.get("TAMIS_BENCH_BULK", "1000"))
WORDS = ("red", "old", "small", "kite", "harbour", "river", "stone", "bridge", "garden", "winter")
SETTINGS = """
[encoders.minilm]
method = "minilm"
settings = { folder = "artifacts/minilm" }

[pipelines.default.retrieve]
method = "dense"
settings = { vector = "minilm.dense", query = ["minilm.dense"] }
"""
RUNS = (
    ("the server encodes", ()),
    ("1 process encodes", ("--processes", "1")),
    ("2 processes encode", ("--processes", "2")),
)


def write(path: Path) -> Path:
    """Passages of some 40 words that differ."""
    with path.open("w") as lines:
        for n in range(DOCUMENTS):
            words = (WORDS[n * (place + 7) % len(WORDS)] for place in range(40))
            lines.write(json.dumps({"_id": f"d{n}", "text": f"{n} {' '.join(words)}"}) + "\n")
    return path


@pytest.mark.bench
def test_bulk_indexing(tmp_path: Path) -> None:
    settings = tmp_path / "tamis.toml"
    settings.write_text(SETTINGS)
    corpus = write(tmp_path / "corpus.jsonl")
    print(f"\n{DOCUMENTS} passages of 41 words, {os.cpu_count()} cores")
    with serving(tmp_path / "data", settings=settings) as served:
        for number, (name, arguments) in enumerate(RUNS):
            encode = ("--encode-with", str(settings)) if arguments else ()
            ledger = str(tmp_path / f"{number}.ledger")
            given = ("index", str(corpus), "-c", f"c{number}", "--ledger", ledger, *arguments)
            run = asyncio.run(tamis(*given, *encode, target=served.target))
            assert run.status == 0, run.err
            print(f"{name:20} {run.out.strip()}")
