"""A server to load, and what its metrics say meanwhile."""

import asyncio
import re
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from serving import Served, serving

from tamis.server.config import default_settings

ANSWER_S = 5


@dataclass(frozen=True)
class Sample:
    """The metrics at one moment."""

    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's values over the labels that are not given."""
        wanted = labels.items()
        return sum(v for (own, has), v in self.values.items() if own == name and wanted <= set(has))


@dataclass(frozen=True)
class Watched:
    """A server whose metrics can be read."""

    served: Served
    metrics_port: int

    async def sample(self) -> Sample:
        """What the metrics say now."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Sample:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            text = answer.read().decode()
        families = text_string_to_metric_families(text)
        samples = (sample for family in families for sample in family.samples)
        return Sample({(s.name, frozenset(s.labels.items())): s.value for s in samples})


@contextmanager
def watched(data: Path, settings: str | None = None) -> Iterator[Watched]:
    """A server of its own process, with its index below `data`.

    Args:
        data: A folder.
        settings: TOML with a `metrics_port`; the default settings where it is not given.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = settings or default_settings().read_text("utf-8")
    text, count = re.subn(r"(?m)^metrics_port = \d+", f"metrics_port = {port}", text)
    assert count == 1, "the settings have no metrics_port"
    data.mkdir(parents=True, exist_ok=True)
    own = data / "tamis.toml"
    own.write_text(text, "utf-8")
    with serving(data, settings=own) as served:
        yield Watched(served, port)
