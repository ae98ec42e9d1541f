"""The command line, as a process of its own whose output is no terminal's."""

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PATH = os.pathsep.join(str(ROOT / root) for root in ("protos", "client", "models", "server"))
NOWHERE = "127.0.0.1:1"


class Run(NamedTuple):
    status: int | None
    out: str
    err: str


async def start(*arguments: str, target: str = NOWHERE, **env: str) -> asyncio.subprocess.Process:
    """Starts `tamis`."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tamis.server.cli",
        *arguments,
        env=os.environ | {"PYTHONPATH": PATH, "TAMIS_TARGET": target} | env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> Run:
    """What became of a `tamis` that was started."""
    out, err = await process.communicate()
    return Run(process.returncode, out.decode(), err.decode())


async def tamis(*arguments: str, target: str = NOWHERE, **env: str) -> Run:
    """Runs `tamis` to its end."""
    return await ended(await start(*arguments, target=target, **env))
