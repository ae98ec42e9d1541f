"""What holds for every method of a family. A new method is tested here by existing."""

import os
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pytest
from language import FirstVectors, LastWords, Parrot, WordMatch
from letters import Letters
from orderers import LastAxisFirst, SmallestFirst

from tamis.models import catalog
from tamis.models.__main__ import FAMILIES, table
from tamis.models.encoders import Encoder, TokenEncoder
from tamis.models.errors import SettingsError, UnknownMethodError
from tamis.models.method import Method
from tamis.models.ranking import Bounds
from tamis.models.refiners import Refiner, SelectRefiner, TextRefiner, VisualRefiner
from tamis.models.rerankers import Reranker
from tamis.models.retrievers import Nearest, Plan, Retriever, Scored
from tamis.models.runtimes.language import CrossEncoder, LanguageModel, SequenceClassifier
from tamis.models.runtimes.ordering import EmbeddingReader, FusionInDecoder
from tamis.models.runtimes.pair_scorer import PairScorer
from tamis.models.types import Candidate, Content, Kind, Modality, Query, Side, Sparse, VisualTokens

EVERY_METHOD = [(family, name) for family in FAMILIES.values() for name in catalog.names(family)]
# What a field without a default is given: by the field's name, so that a new method needs no entry.
GIVEN: dict[str, Any] = {
    "vector": "a.tokens",
    "vectors": ["a.tokens", "b.tokens"],
    "retrievers": [
        {"method": "bm25", "settings": {"vector": "a.terms"}},
        {"method": "dense", "settings": {"vector": "a.dense"}},
    ],
    "encoder": "letters",
    "query": "a.tokens",
    "document": "b.tokens",
    "model": "fake",
    "reranker": {"method": "monobert", "settings": {"model": "fake"}},
    "demonstrations": os.devnull,
}
SOURCES = (
    "https://arxiv.org/abs/",
    "https://doi.org/10.",
    "https://ieeexplore.ieee.org/document/",
)
# The one that prunes nothing: its budget is no bound.
PRUNES_NOTHING = {"identity"}


def ready(family: type[Method], name: str, **settings: Any) -> Any:
    """The method with its settings; those that need a model's files are tested by themselves."""
    required = [
        field.name
        for field in fields(catalog.find(family, name))  # type: ignore[arg-type]
        if field.default is MISSING and field.default_factory is MISSING
    ]
    given = {key: GIVEN[key] for key in required if key not in settings}
    openers = {
        TokenEncoder: lambda _: Letters(),
        CrossEncoder: lambda _: WordMatch(),
        SequenceClassifier: lambda _: LastWords(),
        LanguageModel: lambda _: Parrot(),
        PairScorer: lambda _: FirstVectors(),
        FusionInDecoder: lambda _: SmallestFirst(),
        EmbeddingReader: lambda _: LastAxisFirst(),
    }
    return catalog.load(family, name, given | settings, open_as=openers)


def names(family: type[Method], kind: type[Method]) -> list[str]:
    return [name for name in catalog.names(family) if issubclass(catalog.find(family, name), kind)]


PRUNERS = [name for name in names(Refiner, VisualRefiner) if name not in PRUNES_NOTHING]


@pytest.mark.parametrize(("family", "name"), EVERY_METHOD)
def test_a_method_is_a_frozen_dataclass_named_as_its_file(family: type[Method], name: str) -> None:
    method = catalog.find(family, name)
    assert vars(method)["__dataclass_params__"].frozen
    assert method.__name__.lower() == name.replace("_", "")
    assert method.__doc__


@pytest.mark.parametrize(("family", "name"), EVERY_METHOD)
def test_a_method_says_where_it_is_from_and_what_checks_it(family: type[Method], name: str) -> None:
    method = catalog.find(family, name)
    assert method.checked
    assert not method.checked.endswith(".")
    if method.paper is not None:
        assert method.paper.url.startswith(SOURCES)
        assert 1950 < method.paper.year < 2100
        assert method.paper.title.strip() == method.paper.title != ""


def test_every_method_is_listed() -> None:
    rows = [line for line in table().splitlines() if line.startswith("| `")]
    assert len(rows) == len(EVERY_METHOD)
    assert all(row.count("|") == 5 for row in rows)


@pytest.mark.parametrize("name", catalog.names(Encoder))
def test_an_encoder_says_what_it_reads(name: str) -> None:
    assert catalog.find(Encoder, name).modalities <= set(Modality)
    assert catalog.find(Encoder, name).modalities


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("budget", [1, 7, 24])
def test_a_refiner_keeps_to_its_budget_and_the_raster_order(
    name: str, budget: int, tokens: VisualTokens
) -> None:
    refiner = ready(Refiner, name, budget=budget)
    kept = refiner.refine(tokens)
    assert len(kept) == len(kept.embeddings) == len(kept.attention) == len(kept.positions)
    assert 1 <= len(kept) <= budget
    if isinstance(refiner, SelectRefiner):
        assert len(kept) == budget
    assert (np.diff(kept.positions) > 0).all()
    assert kept.grid == tokens.grid


@pytest.mark.parametrize("name", names(Refiner, VisualRefiner))
def test_a_refiner_returns_what_already_fits(name: str, tokens: VisualTokens) -> None:
    assert ready(Refiner, name, budget=25).refine(tokens) is tokens


@pytest.mark.parametrize("name", names(Refiner, VisualRefiner))
def test_a_refiner_gives_the_same_for_the_same(name: str, tokens: VisualTokens) -> None:
    first, again = (ready(Refiner, name, budget=7).refine(tokens).positions for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", names(Refiner, VisualRefiner))
def test_a_refiner_changes_nothing_that_it_is_given(name: str, tokens: VisualTokens) -> None:
    before = tokens.embeddings.copy()
    ready(Refiner, name, budget=7).refine(tokens)
    assert np.array_equal(tokens.embeddings, before)


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_refiner_takes_tokens_of_any_precision(
    name: str, dtype: type[np.floating[Any]], tokens: VisualTokens
) -> None:
    """And those of an image that is all one colour."""
    for embeddings in (tokens.embeddings.astype(dtype), np.ones((25, 8), dtype=dtype)):
        given = VisualTokens(embeddings, tokens.attention, tokens.positions, tokens.grid)
        kept = ready(Refiner, name, budget=7).refine(given)
        assert 1 <= len(kept) <= 7
        assert kept.embeddings.dtype == dtype
        assert np.isfinite(kept.embeddings).all()


@pytest.mark.parametrize("name", names(Refiner, TextRefiner))
def test_a_text_refiner_returns_what_already_fits(name: str) -> None:
    refiner = ready(Refiner, name, budget=3)
    assert refiner.refine(Query(Content(text="dog")), "Ant bee. Cat") == "Ant bee. Cat"
    assert refiner.refine(Query(Content()), "") == ""


def asked(reranker: Reranker, rng: np.random.Generator) -> tuple[Query, list[Candidate]]:
    """A query and six candidates with what the reranker needs."""
    candidates = [
        Candidate(
            str(i),
            1 - i / 10,
            Content(text=f"document {i}"),
            {need: rng.normal(size=(3, 4)).astype(np.float32) for need in reranker.needs},
        )
        for i in range(6)
    ]
    query = Query(
        Content(text="query"),
        {need: rng.normal(size=(2, 4)).astype(np.float32) for need in reranker.needs},
    )
    return query, candidates


@pytest.mark.parametrize("name", catalog.names(Reranker))
def test_a_reranker_returns_each_candidate_once_best_first(
    name: str, rng: np.random.Generator
) -> None:
    reranker = ready(Reranker, name)
    query, candidates = asked(reranker, rng)
    ranked = reranker.rerank(query, candidates)
    assert sorted(candidate.document_id for candidate in ranked) == list("012345")
    scores = [candidate.score for candidate in ranked]
    assert scores == sorted(scores, reverse=True)
    assert reranker.rerank(query, []) == []


@pytest.mark.parametrize("name", catalog.names(Reranker))
@pytest.mark.parametrize("max_calls", [None, 0, 1, 3])
def test_a_reranker_s_every_order_is_whole(
    name: str, max_calls: int | None, rng: np.random.Generator
) -> None:
    reranker = ready(Reranker, name)
    query, candidates = asked(reranker, rng)
    rankings = list(reranker.rankings(query, candidates, Bounds(max_calls=max_calls)))
    for ranking in rankings:
        assert sorted(candidate.document_id for candidate in ranking.candidates) == list("012345")
        scores = [candidate.score for candidate in ranking.candidates]
        assert scores == sorted(scores, reverse=True)
    assert not any(ranking.done for ranking in rankings[:-1])
    assert len(rankings) == 1 or reranker.anytime
    if max_calls is None or not reranker.anytime:
        assert rankings[-1].done
        assert rankings[-1].candidates == reranker.rerank(query, candidates)
    elif max_calls == 0:
        assert not rankings[-1].done


def representation(name: str) -> Any:
    """One of the kind that the head's name says."""
    if name.endswith(".terms"):
        return Sparse(np.array([3, 7]), np.array([1.0, 2.0]))
    return np.ones(4) if name.endswith(".dense") else np.ones((2, 4))


def every(plan: Plan) -> list[Plan]:
    return [plan, *(inner for part in plan.prefetch for inner in every(part))]


@pytest.mark.parametrize("name", catalog.names(Retriever))
@pytest.mark.parametrize("limit", [1, 10, 500])
def test_a_plan_respects_the_limit_and_searches_what_was_named(name: str, limit: int) -> None:
    retriever = ready(Retriever, name)
    query = Query(Content(), {need: representation(need) for need in retriever.needs})
    plan = retriever.plan(query, limit)
    assert plan.limit == limit
    assert all(part.limit >= limit for part in plan.prefetch)
    searched = {p.order.vector for p in every(plan) if isinstance(p.order, Nearest)}
    read = {name for p in every(plan) if isinstance(p.order, Scored) for name in p.order.vectors}
    assert searched | read == set(retriever.vectors)


@pytest.mark.parametrize("name", catalog.names(Retriever))
def test_a_query_that_gives_nothing_has_no_plan(name: str) -> None:
    assert ready(Retriever, name).plan(Query(Content(text="words")), 10) is None


def test_an_encoder_without_weights_gives_the_heads_that_it_names() -> None:
    encoder = catalog.load(Encoder, "bm25", {})
    (encoding,) = encoder.encode([Content(text="a red bicycle")], Side.DOCUMENT)
    assert encoding.heads.keys() == encoder.heads.keys()
    assert [head.kind for head in encoder.heads.values()] == [Kind.SPARSE]
    assert encoder.runtime == ""


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(UnknownMethodError, match=r"'divprun' is not one of: .*divprune"):
        catalog.load(Refiner, "divprun", {})


def test_a_method_of_another_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="'cpc' is not a VisualRefiner"):
        catalog.load(VisualRefiner, "cpc", {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budgt": 8}, r"divprune\.budgt: unknown; known: budget"),
        ({"budget": "8"}, r"divprune\.budget: expected int, got '8'"),
        ({"budget": True}, r"divprune\.budget: expected int, got True"),
        ({"budget": 0}, r"divprune: budget must be at least 1 token, not 0"),
    ],
)
def test_a_bad_setting_names_its_key(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        catalog.load(Refiner, "divprune", settings)


def test_an_error_says_where_the_setting_stands() -> None:
    with pytest.raises(SettingsError, match=r"^pipelines\.default\.refine\.visual\.budgt: unknown"):
        catalog.load(Refiner, "divprune", {"budgt": 1}, where="pipelines.default.refine.visual")


def test_the_settings_are_the_fields() -> None:
    known = [field.name for field in fields(catalog.find(Refiner, "gprune"))]
    assert known == ["budget", "similarity", "temperature", "iterations"]
