"""The baseline."""

from tamis.models.rerankers.identity import Identity
from tamis.models.types import Candidate, Content, Query


def test_nothing_changes() -> None:
    candidates = [Candidate("b", 0.5), Candidate("a", 0.25), Candidate("c", 0.5)]
    assert Identity().rerank(Query(Content(text="red")), candidates) == candidates
