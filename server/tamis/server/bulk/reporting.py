"""What a person sees of a bulk job: how far it is, how fast, and what failed."""

import sys
import time
from types import TracebackType
from typing import Self

from tamis.server.bulk.worker import Failures, Report
from tamis.server.cli.progress import progress_bar
from tamis.server.cli.tables import printable

LINE_EVERY_S = 10.0  # between two lines, where there is no terminal for a bar


class Meter:
    """Counts reports: a bar on a terminal, else now and then a line on stderr.

    Use it in a `with` block.

    Args:
        total: Documents of the corpus.

    Attributes:
        upserted: Documents that went in.
        held: Documents that were there already.
        failures: The others.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._began_s = self._said_s = time.monotonic()
        self._bar = progress_bar()
        self._task = self._bar.add_task("indexing", total=total, rate=0.0)
        self.upserted = self.held = 0
        self.failures: Failures = []

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def add(self, report: Report) -> None:
        """Counts one report, and shows how far the job is."""
        self.upserted += report.upserted
        self.held += report.held
        self.failures += report.failures
        self._bar.update(
            self._task,
            completed=self._done,
            rate=self._rate,
            description=f"indexing{self._said_failures}",
        )
        now_s = time.monotonic()
        if self._bar.disable and now_s - self._said_s >= LINE_EVERY_S:
            self._said_s = now_s
            sys.stderr.write(f"{self._line()}\n")

    def sum_up(self, collection: str) -> str:
        """The job's last line."""
        seconds = time.monotonic() - self._began_s
        held = f", {self.held} were there already" if self.held else ""
        return (
            f"indexed {self.upserted} documents in {seconds:.1f} s ({self._rate:.0f}/s) "
            f"into {collection}{held}{self._said_failures}"
        )

    def list_failures(self) -> None:
        """Says on stderr which documents failed, and why."""
        for name, reason in self.failures:
            sys.stderr.write(f"  {printable(name)}: {printable(reason)}\n")

    @property
    def _done(self) -> int:
        return self.upserted + self.held + len(self.failures)

    @property
    def _rate(self) -> float:
        """Documents a second, but for those that were there already."""
        return self.upserted / max(time.monotonic() - self._began_s, 1e-9)

    @property
    def _said_failures(self) -> str:
        return f", {len(self.failures)} failed" if self.failures else ""

    def _line(self) -> str:
        left = self._total - self._done
        rate = self._rate
        about = f", about {left / rate:.0f} s to go" if rate else ""
        return f"indexing: {self._done} of {self._total}, {rate:.0f}/s{about}{self._said_failures}"
