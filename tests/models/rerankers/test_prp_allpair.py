"""Pairwise ranking prompting: what is asked, and what follows from any answers."""

from collections.abc import Sequence

import pytest
from language import Parrot

from tamis.models.rerankers.prp_allpair import PRPAllPair
from tamis.models.types import Candidate, Content, Query

QUERY = Query(Content(text="red bicycle"))
TEXTS = ["a kite", "a red kite", "red red bicycle", "bicycle"]
CANDIDATES = [Candidate(text, 1 - i / 9, Content(text=text)) for i, text in enumerate(TEXTS)]


def matches(passage: str) -> int:
    return sum(passage.split().count(word) for word in ("red", "bicycle"))


def judge(prompt: str, word: str) -> float:
    """A logit for "A" or "B": how often the passage of that name has the query's words."""
    passages = dict(part.split(": ", 1) for part in prompt.split("\n\n")[1:3])
    return float(matches(passages[f"Passage {word}"]))


def ids(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.document_id for candidate in candidates]


@pytest.mark.parametrize("pairs", ["allpair", "heapsort", "sliding"])
def test_the_more_relevant_ones_win(pairs: str) -> None:
    ranked = PRPAllPair(model=Parrot(logits=judge), pairs=pairs).rerank(QUERY, CANDIDATES)
    assert ids(ranked) == ["red red bicycle", "a red kite", "bicycle", "a kite"]


def test_wins_are_points_and_ties_half_points() -> None:
    ranked = PRPAllPair(model=Parrot(logits=judge)).rerank(QUERY, CANDIDATES)
    assert [candidate.score for candidate in ranked] == [3.0, 1.5, 1.5, 0.0]


def test_a_model_that_always_says_the_first_changes_nothing() -> None:
    model = Parrot(logits=lambda prompt, word: 5.0 if word == "A" else 0.0)
    for pairs in ("allpair", "heapsort", "sliding"):
        assert ids(PRPAllPair(model=model, pairs=pairs).rerank(QUERY, CANDIDATES)) == TEXTS


def test_every_pair_is_asked_about_in_both_orders() -> None:
    model = Parrot(logits=judge)
    PRPAllPair(model=model).rerank(QUERY, CANDIDATES)
    assert len(model.read) == 4 * 3
    shown = [tuple(part[11:] for part in prompt.split("\n\n")[1:3]) for prompt in model.read]
    assert {*shown} == {(a, b) for a in TEXTS for b in TEXTS if a != b}
    assert all(prompt.endswith("Output Passage A or Passage B:Passage") for prompt in model.read)


def test_long_texts_are_cut() -> None:
    model = Parrot(logits=lambda prompt, word: 0.0)
    long = [Candidate(str(i), 1.0, Content(text="word " * 500)) for i in range(2)]
    query = Query(Content(text="much " * 90))
    PRPAllPair(model=model, query_tokens=4, passage_tokens=6).rerank(query, long)
    assert all(prompt.split().count("word") == 12 for prompt in model.read)
    assert all(sum("much" in word for word in prompt.split()) == 4 for prompt in model.read)


def test_a_query_without_words_changes_nothing() -> None:
    model = Parrot()
    assert ids(PRPAllPair(model=model).rerank(Query(Content()), CANDIDATES)) == TEXTS
    assert model.read == []


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="pairs must be allpair, heapsort or sliding, not 'swiss'"):
        PRPAllPair(model=Parrot(), pairs="swiss")
    with pytest.raises(ValueError, match="passes must be at least 1, not 0"):
        PRPAllPair(model=Parrot(), passes=0)
