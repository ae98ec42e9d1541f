"""A corpus for bulk tests, a server that holds it up halfway, and what a ledger says."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fake_server import Collections

DOCUMENTS = 400
HALF = 200


class Held(Collections):
    """Takes documents until it has half of them; the rest waits until the test lets it.

    Attributes:
        half: Half of the documents are there.
        on: The others may come.
    """

    def __init__(self) -> None:
        super().__init__()
        self.half, self.on = asyncio.Event(), asyncio.Event()

    async def UpsertDocuments(self, requests: Any, context: Any) -> None:  # noqa: N802
        async def slowed() -> AsyncIterator[Any]:
            async for request in requests:
                if sum(self.messages) >= HALF:
                    self.half.set()
                    await self.on.wait()
                yield request

        await super().UpsertDocuments(slowed(), context)


def write(path: Path, changed: int | None = None) -> None:
    texts = ("another" if n == changed else f"document {n}" for n in range(DOCUMENTS))
    rows = ({"_id": f"d{n}", "text": text} for n, text in enumerate(texts))
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def records(ledger: Path) -> list[bytes]:
    data = ledger.read_bytes().partition(b"\n")[2]
    assert len(data) % 16 == 0
    return [data[at : at + 16] for at in range(0, len(data), 16)]
