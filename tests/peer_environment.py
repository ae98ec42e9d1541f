"""Other people's software for benchmarks, each in an environment of its own that is made once."""

import json
import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(
    os.environ.get("TAMIS_BENCH_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis" / "bench"
)


def environment(peer: str, *needs: str) -> Path:
    """The Python of an environment with this peer in it, and what it needs beside its own."""
    folder = CACHE / peer.replace("==", "-")
    mark, wanted = folder / "installed.json", [peer, *needs]
    if not mark.exists() or json.loads(mark.read_text("utf-8")) != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *wanted], check=True)
        mark.write_text(json.dumps(wanted), "utf-8")
    return folder / "bin" / "python"
