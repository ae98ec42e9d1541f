"""Candidates for the rerankers' tests."""

from collections.abc import Sequence

import numpy as np

from tamis.models.rerankers import VectorReranker
from tamis.models.types import Candidate, Content, Query

QUERY = Query(Content(text="what does a fox do"))
TEXTS = ["a dog is lazy", "the fox jumps, as a fox does", "two kites and a red bicycle"]


def candidates(texts: Sequence[str | None] = TEXTS) -> list[Candidate]:
    """A candidate a text, named by its place."""
    return [
        Candidate(str(place), 1 - place / 100, Content(text=text))
        for place, text in enumerate(texts)
    ]


def score_of(reranker: VectorReranker, asked: np.ndarray, held: np.ndarray) -> float:
    """How well a candidate's vectors match a query's."""
    query = Query(Content(), {reranker.query: asked})
    candidate = Candidate("x", 0.0, Content(), {reranker.document: held})
    (ranked,) = reranker.rerank(query, [candidate])
    return ranked.score


def order(ranked: Sequence[Candidate]) -> str:
    """The candidates' names, one after the other."""
    return "".join(candidate.document_id for candidate in ranked)
