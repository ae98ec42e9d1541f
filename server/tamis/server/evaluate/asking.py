"""Asks a server the topics of a data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tamis.client import Client, Failure, Limits, Query, StageResult
from tamis.models.errors import InputError, TamisError
from tamis.models.instructions import find
from tamis.server.cli.progress import progress_bar
from tamis.server.evaluate.dataset import Topic

BATCH = 32  # queries in one call, at most
HITS = 3_200  # of one call, with their texts: some megabytes
TIMEOUT_S = 600.0  # of one call: work in bulk may wait behind other callers'


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How topics are searched.

    Attributes:
        pipeline: One of the server's; None for its default.
        stage: The last one that runs, `retrieve` or `rerank`.
        task: Every topic's, in place of its own; None for its own.
        instruction: The same in words.
    """

    pipeline: str | None = None
    stage: str = "rerank"
    task: str | None = None
    instruction: str | None = None

    def __post_init__(self) -> None:
        if self.task and self.instruction:
            raise InputError("give --task or --instruction, not both")
        if self.task:
            find(self.task)  # it is refused before anything is indexed

    def query(self, topic: Topic, *, instructed: bool) -> Query:
        """The topic as it is asked, with its instruction or without."""
        if not instructed:
            return Query(topic.text, topic.image)
        if self.task or self.instruction:
            return Query(topic.text, topic.image, self.instruction, task=self.task)
        return Query(topic.text, topic.image, topic.instruction, task=topic.task)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a topic found.

    Attributes:
        ids: Of the documents, best first.
        texts: Theirs.
        failure: Why nothing was found, where the search failed.
        shortened: Whether the last stage looked at less than it should have.
    """

    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    failure: str | None = None
    shortened: bool = False


def ask(
    client: Client,
    collection: str,
    topics: Sequence[Topic],
    search: Search,
    *,
    k: int,
    instructed: bool,
) -> list[Answer]:
    """Searches for all topics, with a progress bar. One that fails does not end the others.

    Args:
        client: Of the server that is asked.
        collection: Where it searches.
        topics: What it is asked.
        search: How it searches.
        k: Hits of each topic.
        instructed: Whether topics are asked with their instructions.

    Raises:
        TamisError: All failed; the message has the first one's reason.
    """
    answers: list[Answer] = []
    limits = client.info().limits
    what = "searching with instructions" if instructed else "searching"
    with progress_bar() as bar:
        task = bar.add_task(what, total=len(topics), rate=0.0)
        for batch in _batches(topics, max(1, min(BATCH, HITS // k)), limits):
            found = client.batch_search(
                [search.query(topic, instructed=instructed) for topic in batch],
                collection=collection,
                k=k,
                pipeline=search.pipeline,
                view="payload" if any(topic.answers for topic in batch) else "id",
                stop_after=search.stage,
                priority="bulk",
                timeout=TIMEOUT_S,
            )
            answers += map(_answer, found)
            bar.update(task, completed=len(answers), rate=bar.tasks[task].speed or 0.0)
    failures = [one.failure for one in answers if one.failure is not None]
    if len(failures) == len(topics):
        raise TamisError(f"no query was answered: {failures[0]}")
    return answers


def _batches(topics: Sequence[Topic], most: int, limits: Limits) -> Iterator[list[Topic]]:
    """The topics, `most` at a time or as many as a message has room for."""
    batch: list[Topic] = []
    room = limits.max_message_bytes // 2
    for topic in topics:
        size = len((topic.text or "").encode())
        size += topic.image.stat().st_size if topic.image else 0
        if batch and (size > room or len(batch) == most):
            yield batch
            batch, room = [], limits.max_message_bytes // 2
        batch.append(topic)
        room -= size
    yield batch


def _answer(found: StageResult | Failure) -> Answer:
    if isinstance(found, Failure):
        return Answer(failure=f"{found.reason}: {found.message}")
    texts = tuple((hit.document.text if hit.document else None) or "" for hit in found.hits)
    ids = tuple(hit.document_id for hit in found.hits)
    return Answer(ids, texts, shortened=found.shortened)
