"""MaxP over windows of words."""

import pytest
from candidates import QUERY, candidates, order
from language import Parrot, WordMatch

from tamis.models.errors import SettingsError
from tamis.models.rerankers.cream import CREAM
from tamis.models.rerankers.max_p import MaxP
from tamis.models.rerankers.monobert import MonoBERT


def test_a_document_scores_as_its_best_window() -> None:
    model = WordMatch()
    long = "fox a b c d e f g what does do h i"  # the query's words stand apart
    reranker = MaxP(reranker=MonoBERT(model=model), window=4, stride=2)
    ranked = reranker.rerank(QUERY, candidates(["x y", long, None]))
    assert order(ranked) == "102"
    words = long.split()
    windows = [" ".join(words[i : i + 4]) for i in range(0, 11, 2)]
    assert [text for _, text in model.pairs] == ["x y", *windows]
    assert ranked[0].score == max(
        len({*w.split()} & {*str(QUERY.content.text).split()}) for w in windows
    )


def test_every_word_is_in_a_window() -> None:
    reranker = MaxP(reranker=MonoBERT(model=WordMatch()), window=5, stride=3)
    for count in range(30):
        words = [str(i) for i in range(count)]
        seen = {
            word for window in reranker._windows(" ".join(words)) for word in (window or "").split()
        }
        assert seen == {*words}


def test_only_a_pointwise_method_scores_windows() -> None:
    with pytest.raises(SettingsError, match="CREAM is not pointwise"):
        MaxP(reranker=CREAM(model=Parrot()))
    with pytest.raises(ValueError, match="1 <= stride <= window"):
        MaxP(reranker=MonoBERT(model=WordMatch()), window=3, stride=4)
