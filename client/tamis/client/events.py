"""What a stream has said so far: the same for blocking and asyncio callers."""

from tamis.client import result_messages
from tamis.client.enums import Stage
from tamis.client.errors import InternalError, UnavailableError
from tamis.client.results import (
    Event,
    SearchSummary,
    StageResult,
    StageSkipped,
    UpsertProgress,
)
from tamis.v1.retrieval_service_pb2 import SearchResponse


class SearchEvents:
    """The events of one search, as far as they have been read.

    Attributes:
        request_id: Under which the server logs the search; empty before it begins.
        results: By stage, in the order of their coming; partial ones are left out.
        skipped: The stages that were left out, in that order.
        summary: How the search went; None before its end.
    """

    request_id: str

    def __init__(self) -> None:
        self.results: dict[Stage, StageResult] = {}
        self.skipped: dict[Stage, StageSkipped] = {}
        self.summary: SearchSummary | None = None

    def _take(self, response: SearchResponse) -> Event | None:
        """Reads and remembers one event; None where this client does not know its kind."""
        event = result_messages.event(response)
        match event:
            case StageResult():
                if not event.partial:
                    self.results[event.stage] = event
            case StageSkipped():
                self.skipped[event.stage] = event
            case SearchSummary():
                self.summary = event
            case None:
                pass
        return event

    def _known(self, stage: str) -> StageResult | None:
        """The stage's result where it is there already."""
        if stage not in list(Stage):
            raise ValueError(f"stage is one of retrieve, rerank, refine; not {stage!r}")
        return self.results.get(Stage(stage))

    def _last(self) -> StageResult:
        """The best ranking of a search that is over."""
        if self.summary is None:
            raise InternalError("the search ended without a summary", request_id=self.request_id)
        if not self.results:
            why = "; ".join(
                f"{one.stage}: {one.reason} {one.message}".rstrip() for one in self.skipped.values()
            )
            raise UnavailableError(
                f"no stage has a result ({why or 'none ran'})", request_id=self.request_id
            )
        return list(self.results.values())[-1]


class UpsertTotals:
    """How far an upsert has come.

    Attributes:
        total: As the last report counts, with the failures of all reports.
    """

    def __init__(self) -> None:
        self.total = UpsertProgress()

    def _count(self, progress: UpsertProgress) -> UpsertProgress:
        failures = self.total.failures + progress.failures
        self.total = UpsertProgress(progress.upserted, progress.failed, failures)
        return progress

    def _check_end(self, waiting: int, request_id: str) -> None:
        if waiting:
            raise InternalError(
                f"the server ended the stream with {waiting} messages unanswered",
                request_id=request_id,
            )
