"""How good rankings are: ir-measures' numbers, and pseudo-recall."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import ir_measures
from ir_measures import RR, R, Success, nDCG

from tamis.server.evaluate.dataset import Topic

Values = Mapping[str, float]


def judged(
    topics: Sequence[Topic], rankings: Sequence[Sequence[str]], cutoffs: Sequence[int]
) -> list[dict[str, float]]:
    """Each topic's measures, from 0 to 1, by name.

    `Recall@k` is the part of the relevant documents that is among the first k; `hit@k` is 1 where
    any is (what UniIR and PreFLMR call recall); `MRR@k` is of the first relevant one; `nDCG@k`
    takes the relevance as gain.

    Args:
        topics: What was asked.
        rankings: The ids found for each of them, best first. None found counts 0.
        cutoffs: The values of k; MRR has the largest.
    """
    named = {R @ k: f"Recall@{k}" for k in cutoffs} | {Success @ k: f"hit@{k}" for k in cutoffs}
    named |= {RR @ max(cutoffs): f"MRR@{max(cutoffs)}"} | {nDCG @ k: f"nDCG@{k}" for k in cutoffs}
    qrels = [
        ir_measures.Qrel(str(number), document, relevance)
        for number, topic in enumerate(topics)
        for document, relevance in topic.relevant.items()
    ]
    # The score is the rank: ties, and scores of different stages, must not change the order.
    run = [
        ir_measures.ScoredDoc(str(number), document, -float(rank))
        for number, ranking in enumerate(rankings)
        for rank, document in enumerate(ranking)
    ]
    found: list[dict[str, float]] = [{} for _ in topics]
    for metric in ir_measures.iter_calc(list(named), qrels, run):
        found[int(metric.query_id)][named[metric.measure]] = metric.value
    return [{name: one[name] for name in named.values() if name in one} for one in found]


def pseudo_recall(
    answers: Sequence[str], texts: Sequence[str], cutoffs: Sequence[int]
) -> dict[str, float]:
    """1 where any of the first k texts contains any answer, whatever the case; PreFLMR's rule."""
    sought = [answer.strip().lower() for answer in answers]
    contains = [any(answer in text.lower() for answer in sought) for text in texts]
    return {f"pseudo-recall@{k}": float(any(contains[:k])) for k in cutoffs}


def means(values: Sequence[Values]) -> dict[str, float]:
    """The mean of each measure over those that have it."""
    names = dict.fromkeys(name for one in values for name in one)
    return {name: fmean(one[name] for one in values if name in one) for name in names}
