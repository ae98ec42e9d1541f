"""One evaluation: index the documents, ask the topics, judge what was found."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import uuid4

from tamis.client import Client, NotFoundError, TamisClientError
from tamis.server.cli.progress import index
from tamis.server.cli.tables import printable
from tamis.server.evaluate.asking import Answer, Search, ask
from tamis.server.evaluate.dataset import Dataset, Topic
from tamis.server.evaluate.measures import judged, pseudo_recall
from tamis.server.evaluate.report import Judged

BATCH = 32  # documents in one message
SHOWN = 5  # failures that are spelled out


@contextmanager
def indexed(client: Client, dataset: Dataset, collection: str | None) -> Iterator[str]:
    """A collection with the data set's documents; gives its name.

    Args:
        client: Of the server that is evaluated.
        dataset: What to index.
        collection: One that is kept, and taken as it is where it has as many documents already;
            None for one that is deleted in the end.
    """
    name = collection or f"evaluate-{uuid4().hex[:12]}"
    try:
        held = client.collection(name).documents
    except NotFoundError:
        held = 0
    try:
        if held == len(dataset.pool):
            _say(f"{name} has {held} documents already; it is searched as it is")
        else:
            index(client, dataset.pool, name, BATCH, out=sys.stderr)
        if dataset.unreachable:
            _say(f"{dataset.unreachable} relevant documents are not among those of the folder")
        yield name
    finally:
        if collection is None:
            with suppress(TamisClientError):  # it may never have been made
                client.drop_collection(name)


def evaluate(
    client: Client, collection: str, dataset: Dataset, search: Search, cutoffs: Sequence[int]
) -> list[Judged]:
    """The topics' outcomes: all without instructions, then, where any has one, all with theirs."""
    modes = [False]
    if search.task or search.instruction or any(t.task or t.instruction for t in dataset.topics):
        modes.append(True)
    outcomes: list[Judged] = []
    for mode in modes:
        answers = ask(client, collection, dataset.topics, search, k=max(cutoffs), instructed=mode)
        _say_what_is_missing(dataset.topics, answers)
        values = judged(dataset.topics, [answer.ids for answer in answers], cutoffs)
        for topic, answer, measures in zip(dataset.topics, answers, values, strict=True):
            if topic.answers:
                measures |= pseudo_recall(topic.answers, answer.texts, cutoffs)
            outcomes.append(Judged(topic, mode, answer, measures))
    return outcomes


def _say_what_is_missing(topics: Sequence[Topic], answers: Sequence[Answer]) -> None:
    pairs = zip(topics, answers, strict=True)
    failures = [(topic, answer.failure) for topic, answer in pairs if answer.failure is not None]
    for topic, failure in failures[:SHOWN]:
        _say(f"  {printable(topic.id)}: {printable(failure)}")
    if failures:
        _say(f"{len(failures)} of {len(topics)} queries failed and count as found nothing")
    if shortened := sum(answer.shortened for answer in answers):
        _say(f"{shortened} of {len(topics)} rankings are what a stage had when its time was up")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
