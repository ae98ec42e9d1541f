"""PRP-Graph: the sureness of answers, few of them, and beliefs beforehand."""

import pytest
from language import Parrot

from tamis.models.rerankers.prp_graph import PRPGraph
from tamis.models.types import Candidate, Content, Query

QUERY = Query(Content(text="number"))
CANDIDATES = [
    Candidate(str(n), 1 - i / 9, Content(text=str(n))) for i, n in enumerate([2, 5, 1, 4])
]


def larger(prompt: str, word: str) -> float:
    """A logit for "A" or "B": the number in the passage of that name, well above other words'."""
    passages = dict(part.split(": ", 1) for part in prompt.split("\n\n")[1:3])
    return 8 + float(passages[f"Passage {word}"])


def test_the_winners_of_the_games_come_first() -> None:
    model = Parrot(logits=larger)
    ranked = PRPGraph(model=model, rounds=3, prior="swiss").rerank(QUERY, CANDIDATES)
    assert [candidate.document_id for candidate in ranked] == ["5", "4", "2", "1"]
    assert sum(candidate.score for candidate in ranked) == pytest.approx(1.0)
    assert len(model.read) == 3 * 4


def test_a_model_that_does_not_know_leaves_it_to_the_first_stage() -> None:
    model = Parrot(logits=lambda prompt, word: 3.0)
    scores = PRPGraph(model=model, rounds=3, damping=0.0).rerank(QUERY, CANDIDATES)
    assert [candidate.document_id for candidate in scores] == ["2", "5", "1", "4"]
    total = sum(candidate.score for candidate in CANDIDATES)
    assert scores[0].score == pytest.approx(1 / total)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="prior must be scores or swiss, not 'bm25'"):
        PRPGraph(model=Parrot(), prior="bm25")
    with pytest.raises(ValueError, match="needs rounds >= 1"):
        PRPGraph(model=Parrot(), rounds=0)
