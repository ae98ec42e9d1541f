"""Retrieval of every kind through a real server: what a search finds, and when it says so."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from drawings import documents, drawing
from serving import serving

from tamis.client import (
    Client,
    Document,
    InvalidRequestError,
    SparseVector,
    StageResult,
    Tensor,
    TermWeighting,
)
from tamis.models.blocks.words import dimension

SETTINGS = """
[encoders.bm25]
method = "bm25"
[encoders.tamis_mini]
method = "tamis_mini"
[encoders.minilm]
method = "minilm"
settings = { folder = "artifacts/minilm" }
[encoders.splade]
method = "external"
settings = { space = "splade-test" }
[encoders.deepct]
method = "external"
settings = { space = "deepct-test", weighting = { k1 = 10.0, b = 0.9, average_length = 100.0 } }

[store]
vectors = ["bm25.terms", "tamis_mini.dense", "minilm.dense", "splade.given", "deepct.given"]

[pipelines.default.retrieve]
method = "hybrid"
stream = true
[[pipelines.default.retrieve.settings.retrievers]]
method = "bm25"
[[pipelines.default.retrieve.settings.retrievers]]
method = "dense"
settings = { vector = "tamis_mini.dense", query = ["minilm.dense", "tamis_mini.dense"] }

[pipelines.weighted.retrieve]
method = "convex_combination"
[pipelines.weighted.retrieve.settings]
weights = [0.2, 0.8]
[[pipelines.weighted.retrieve.settings.retrievers]]
method = "bm25"
[[pipelines.weighted.retrieve.settings.retrievers]]
method = "dense"
settings = { vector = "minilm.dense" }

[pipelines.words.retrieve]
method = "bm25"

[pipelines.feedback.expand]
method = "rm3"
settings = { documents = 2, terms = 5 }
[pipelines.feedback.retrieve]
method = "bm25"

[pipelines.ready.retrieve]
method = "bm25"
settings = { vector = "splade.given" }

[pipelines.counts.retrieve]
method = "bm25"
settings = { vector = "deepct.given" }

[pipelines.pictures.retrieve]
method = "dense"
settings = { vector = "tamis_mini.dense", query = ["minilm.dense", "tamis_mini.dense"] }
"""
POOL = [
    Document(id="text", text="A red circle."),
    Document(id="image", image=drawing("circle", "red")),
    Document(id="both", text="A red circle.", image=drawing("circle", "red")),
    Document(id="other", image=drawing("square", "blue")),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server with these pipelines."""
    folder: Path = tmp_path_factory.mktemp("retrieval")
    settings = folder / "tamis.toml"
    settings.write_text(SETTINGS)
    with serving(folder / "data", settings=settings) as running, Client(running.target) as client:
        yield client


def stages(client: Client, query: str, collection: str, **options: object) -> list[StageResult]:
    events = client.search(query, collection=collection, **options)  # type: ignore[arg-type]
    return [event for event in events if isinstance(event, StageResult)]


def ids(result: StageResult) -> list[str]:
    return [hit.document_id for hit in result.hits]


def test_the_first_ranking_comes_before_the_fused_one(own: Client, collection: str) -> None:
    own.upsert(collection, documents()).final()
    first, last = stages(own, "a yellow triangle", collection, stop_after="retrieve")
    assert (first.stage, first.partial, first.method) == ("retrieve", True, "bm25")
    assert ids(first)[0] == "yellow-triangle"
    assert (last.stage, last.partial, last.method) == ("retrieve", False, "hybrid")
    assert len(last.hits) == 10


def test_a_streamed_search_ends_as_one_that_asks_the_index_once(
    own: Client, collection: str
) -> None:
    """Where only one retriever has something to say, its own scores stand too."""
    own.upsert(collection, documents()).final()
    for query in ("a blue circle", "green"):
        for pipeline in ("default", "weighted"):
            whole = stages(own, query, collection, k=12, pipeline=pipeline, stop_after="retrieve")
            shown = stages(
                own,
                query,
                collection,
                k=12,
                pipeline=pipeline,
                stop_after="retrieve",
                partial_results=True,
            )
            assert [result.partial for result in shown] == [True, False]
            assert ids(whole[-1]) == ids(shown[-1])


def test_partial_results_are_for_those_who_ask(own: Client, collection: str) -> None:
    own.upsert(collection, documents()).final()
    (only,) = stages(own, "red", collection, pipeline="weighted", stop_after="retrieve")
    assert not only.partial
    scores = [hit.score for hit in only.hits]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] < scores[0] <= 1


def test_documents_bring_their_own_weights(own: Client, collection: str) -> None:
    weights = {"a": {1: 2.0, 7: 0.5}, "b": {7: 1.0}, "c": {9: 1.0}}
    own.upsert(
        collection,
        [
            Document(
                id=name,
                representations={"splade.given": SparseVector(tuple(own_), tuple(own_.values()))},
            )
            for name, own_ in weights.items()
        ],
    ).final()
    asked = SparseVector((1, 7), (0.25, 3.0))
    hits = own.hits(
        collection=collection, pipeline="ready", representations={"splade.given": asked}
    )
    assert [(hit.document_id, hit.score) for hit in hits] == [("b", 3.0), ("a", 2.0)]


def test_counts_of_others_are_weighed_as_bm25(own: Client, collection: str) -> None:
    """DeepCT's way: a word's weight, times 100, is how often the index thinks that it occurs."""
    counts = [{"sieve": 90.0, "fine": 10.0}, {"sieve": 5.0, "drum": 95.0}, {"other": 100.0}]
    own.upsert(
        collection,
        [
            Document(
                id=str(number),
                text="A text that is not read for this.",
                representations={
                    "deepct.given": SparseVector(tuple(map(dimension, tf)), tuple(tf.values()))
                },
            )
            for number, tf in enumerate(counts)
        ],
    ).final()
    asked = SparseVector((dimension("sieve"),), (1.0,))
    hits = own.hits(
        collection=collection, pipeline="counts", representations={"deepct.given": asked}
    )
    idf = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    expected = [("0", idf * 90 / (90 + 10)), ("1", idf * 5 / (5 + 10))]
    assert [hit.document_id for hit in hits] == [name for name, _ in expected]
    assert [hit.score for hit in hits] == pytest.approx([s for _, s in expected], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("splade.given", SparseVector((1, 1), (1.0, 2.0)), "as many values as distinct indices"),
        ("splade.given", SparseVector((1,), (float("nan"),)), "not finite"),
        ("splade.given", Tensor.of(np.ones(3, np.float32)), "needs to be sparse"),
        ("minilm.dense", Tensor.of(np.ones(3, np.float32)), r"has shape \[3\]; needs 1 axes"),
        ("minilm.tokens", Tensor.of(np.ones((2, 384), np.float32)), "does not index it"),
        ("deepct.given", SparseVector((1,), (-1.0,)), "not below 0"),
    ],
)
def test_what_no_encoder_could_have_made_fails_its_document_alone(
    own: Client, collection: str, name: str, given: object, message: str
) -> None:
    bad = Document(id="bad", text="A text.", representations={name: given})  # type: ignore[dict-item]
    with own.upsert(collection, [bad, Document(id="good", text="A text.")]) as progress:
        failures = [failure for step in progress for failure in step.failures]
    assert [failure.document_id for failure in failures] == ["bad"]
    assert re.search(message, failures[0].failure.message)
    assert own.collection(collection).documents == 1


def test_other_wordings_are_searched_too(own: Client, collection: str) -> None:
    own.upsert(collection, documents()).final()
    alone = own.hits("yellow", collection=collection, pipeline="words")
    hits = own.hits("yellow", also=["circle"], collection=collection, pipeline="words")
    assert {hit.document_id.partition("-")[0] for hit in alone} == {"yellow"}
    assert hits[0].document_id == "yellow-circle"  # which both ask for
    assert len(hits) == 3 + 4 - 1
    with pytest.raises(InvalidRequestError, match="also: 17 wordings; at most 16"):
        own.hits("triangle", also=["red"] * 17, collection=collection)


def test_feedback_finds_what_the_query_does_not_name(own: Client, collection: str) -> None:
    """The second document shares no word with the query, but two with the first one."""
    texts = {"1": "A tamis is a drum sieve", "2": "The drum and its sieve", "3": "An oak in a wood"}
    own.upsert(collection, [Document(id=i, text=text) for i, text in texts.items()]).final()
    found = {
        pipeline: [
            h.document_id for h in own.hits("tamis", collection=collection, pipeline=pipeline)
        ]
        for pipeline in ("words", "feedback")
    }
    assert found == {"words": ["1"], "feedback": ["1", "2", "3"]}


def test_a_collection_weighs_words_in_its_own_way(own: Client, collection: str) -> None:
    texts = ["red red red", "red blue", "blue green", "green", "yellow"]
    for variant in ("lucene", "robertson"):
        name = f"{collection}-{variant}"
        how = TermWeighting(variant=variant, k1=0.9, b=0.4, average_length=2.0)
        made = own.create_collection(name, ["bm25.terms"], weightings={"bm25.terms": how})
        assert made.vectors[0].weighting == TermWeighting(
            variant=variant, k1=0.9, b=0.4, delta=0.5, average_length=2.0
        )
        own.upsert(name, [Document(id=str(i), text=t) for i, t in enumerate(texts)]).final()
        hits = own.hits("red", collection=name, pipeline="words")
        rarity = (5 - 2 + 0.5) / (2 + 0.5)
        idf = np.log(1 + rarity) if variant == "lucene" else np.log(rarity)
        long = 3 / (3 + 0.9 * (0.6 + 0.4 * 3 / 2))
        short = 1 / (1 + 0.9 * 1.0)
        assert [hit.score for hit in hits] == pytest.approx([idf * long, idf * short], rel=1e-4)


def test_an_average_length_is_measured_on_the_first_documents(own: Client, collection: str) -> None:
    own.upsert(
        collection, [Document(id=str(i), text="one two three " * 3) for i in range(9)]
    ).final()
    fields = {field.name: field for field in own.collection(collection).vectors}
    weighting = fields["bm25.terms"].weighting
    assert weighting is not None
    assert (weighting.variant, weighting.average_length) == ("lucene", 9.0)
    given = fields["deepct.given"].weighting
    assert given is not None
    assert given.average_length == 100.0


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        (TermWeighting(b=2.0), r"weightings\['bm25\.terms'\]: b must be from 0 to 1, not 2\.0"),
        (TermWeighting(k1=-1.0), "k1 must be at least 0"),
    ],
)
def test_a_weighting_out_of_range_is_refused(
    own: Client, collection: str, weighting: TermWeighting, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        own.create_collection(collection, ["bm25.terms"], weightings={"bm25.terms": weighting})
    with pytest.raises(InvalidRequestError, match="is no field of counts"):
        own.create_collection(
            collection, ["minilm.dense"], weightings={"minilm.dense": TermWeighting()}
        )


@pytest.mark.parametrize(
    ("modalities", "found"),
    [
        ([], {"text", "image", "both", "other"}),
        (["text"], {"text"}),
        (["image"], {"image", "other"}),
        (["image_text"], {"both"}),
        (["image", "image_text"], {"image", "both", "other"}),
    ],
)
def test_a_search_of_a_mixed_pool_may_ask_for_some_modalities(
    own: Client, collection: str, modalities: list[str], found: set[str]
) -> None:
    """Texts, pictures, and pictures with texts in one collection, as M-BEIR's pools are."""
    own.upsert(collection, POOL).final()
    hits = own.hits(
        image=drawing("circle", "red"),
        collection=collection,
        pipeline="pictures",
        modalities=modalities,
    )
    expected = found & {"image", "both", "other"}  # a text alone has no picture to compare
    assert {hit.document_id for hit in hits} == expected
    if len(expected) > 1:
        assert hits[-1].document_id == "other"


def test_latency_is_told_in_parts_that_rise(own: Client, collection: str) -> None:
    own.upsert(collection, documents()).final()
    results = stages(own, "a green square", collection, stop_after="retrieve")
    totals = [result.timing.total_us for result in results]
    assert all(early <= late for early, late in pairwise(totals))
