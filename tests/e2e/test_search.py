"""A real client against a real server over a real port: what a search gives."""

from functools import partial

import numpy as np
import pytest
from drawings import drawing
from serving import Served

from tamis.client import (
    AsyncClient,
    Client,
    Document,
    Event,
    InvalidRequestError,
    NotFoundError,
    SearchSummary,
    Stage,
    StageResult,
    StageSkipped,
)

QUERIES = {
    "text": {"text": "a red circle"},
    "image": {"image": drawing("circle", "red", side=64)},
    "both": {"text": "red", "image": drawing("circle", "blue", side=64)},
}


def stages(events: list[Event]) -> list[StageResult]:
    return [event for event in events if isinstance(event, StageResult)]


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_each_kind_of_query_goes_through_all_three_stages(
    client: Client, drawings: str, query: dict[str, str | bytes]
) -> None:
    *results, summary = client.search(**query, collection=drawings, k=5)  # type: ignore[arg-type]
    assert [result.stage for result in stages(results)] == list(Stage)[:3]
    assert all(len(result.hits) == 5 for result in stages(results))
    assert isinstance(summary, SearchSummary)
    assert summary.final_stage == Stage.REFINE


def test_words_find_what_they_name(client: Client, drawings: str) -> None:
    hits = client.hits("a yellow triangle", collection=drawings, k=3)
    assert hits[0].document_id == "yellow-triangle"
    assert hits[0].document is not None
    assert hits[0].document.text == "A yellow triangle."
    assert hits[0].document.metadata == {"shape": "triangle", "colour": "yellow", "corners": 3}


def test_a_picture_finds_itself(client: Client, drawings: str) -> None:
    found = client.hits(
        image=drawing("square", "green"), collection=drawings, k=1, pipeline="pictures"
    )
    assert found[0].document_id == "green-square"
    assert found[0].score == pytest.approx(1, abs=1e-3)


def test_scores_fall_within_a_ranking_and_movement_adds_up(client: Client, drawings: str) -> None:
    for result in stages(list(client.search("blue", collection=drawings, k=12))):
        scores = [hit.score for hit in result.hits]
        assert scores == sorted(scores, reverse=True)
        assert sum(hit.movement for hit in result.hits) == 0


def test_the_context_holds_fewer_tokens_than_the_documents(client: Client, drawings: str) -> None:
    with client.search("a red square", collection=drawings, refine_budget=20) as events:
        final = events.final()
    assert final.context is not None
    assert final.context.tokens_after < final.context.tokens_before
    for part in final.context.parts:
        if part.visual_tokens:
            assert len(part.visual_tokens.positions) == 20
            assert np.asarray(part.visual_tokens.embeddings).shape[0] == 20
    texts = [part.text for part in final.context.parts if part.text]
    assert texts[0] == "A red square."


def test_a_filter_holds_in_every_stage(client: Client, drawings: str) -> None:
    events = list(
        client.search("red circle", collection=drawings, filter={"shape": "square"}, k=12)
    )
    for result in stages(events):
        assert {hit.document_id.partition("-")[2] for hit in result.hits} == {"square"}
        assert len(result.hits) == 4


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ({"corners": {"gte": 3}}, 8),
        ({"corners": 4}, 4),
        ({"colour": "red", "shape": "circle"}, 1),
        ({"nothing": "of the kind"}, 0),
        ({"corners": "4"}, 0),
    ],
    ids=str,
)
def test_filters_by_number_and_text(
    client: Client, drawings: str, condition: dict[str, object], count: int
) -> None:
    """A document without the field fails the test, and that is no error."""
    hits = client.hits("a shape", collection=drawings, k=12, filter=condition)
    assert len(hits) == count


def test_a_filter_takes_ten_thousand_values_and_no_more(client: Client, drawings: str) -> None:
    values = ["red", *(f"colour {number}" for number in range(9_998)), "blue"]
    hits = client.hits("a shape", collection=drawings, k=12, filter={"colour": values})
    assert {hit.document_id.partition("-")[0] for hit in hits} == {"red", "blue"}
    assert len(hits) == 6
    said = r"filter\.must\[0\]\.any_of: 10001 values; from 1 to 10000"
    with pytest.raises(InvalidRequestError, match=said):
        client.hits("a shape", collection=drawings, filter={"colour": [*values, "green"]})


def test_a_search_that_finds_nothing_leaves_the_later_stages_out(
    client: Client, drawings: str
) -> None:
    events = list(client.search("a shape", collection=drawings, filter={"shape": "none"}))
    assert [type(event) for event in events] == [
        StageResult, StageSkipped, StageSkipped, SearchSummary
    ]  # fmt: skip


def test_pictures_without_words_keep_the_retrievers_order(client: Client, collection: str) -> None:
    """A text query has nothing to compare with patches, so the reranker leaves itself out."""
    pictures = [Document(id=f"{c}", image=drawing("circle", c)) for c in ("red", "blue")]
    client.upsert(collection, pictures).final()
    events = list(client.search("red", collection=collection))
    assert [(e.stage, e.reason) for e in events if isinstance(e, StageSkipped)] == [
        ("rerank", "no_input")
    ]
    assert len(stages(events)[-1].hits) == 2


def test_a_request_chooses_where_to_stop(client: Client, drawings: str) -> None:
    events = list(client.search("a shape", collection=drawings, stop_after="rerank"))
    assert [event.stage for event in stages(events)] == [Stage.RETRIEVE, Stage.RERANK]


def test_a_stage_without_time_is_left_out_and_the_search_ends_well(
    client: Client, drawings: str
) -> None:
    events = list(client.search("a shape", collection=drawings, rerank_time_s=0.0))
    skipped = [event for event in events if isinstance(event, StageSkipped)]
    assert [(event.stage, event.reason) for event in skipped] == [("rerank", "budget_exceeded")]


def test_a_query_asked_again_is_remembered(client: Client, drawings: str) -> None:
    first, again = (list(client.search("remember me", collection=drawings))[-1] for _ in range(2))
    assert isinstance(first, SearchSummary)
    assert isinstance(again, SearchSummary)
    assert (first.embedding_source, again.embedding_source) == ("encoder", "local_cache")


def test_a_search_of_what_is_remembered_only_meets_no_model(client: Client, drawings: str) -> None:
    ask = partial(client.hits, "never asked before", collection=drawings)
    with pytest.raises(NotFoundError, match="not remembered"):
        ask(cache_policy="only")
    assert ask(cache_policy="default") == ask(cache_policy="only")


def test_a_text_that_is_not_read_to_its_end_is_a_warning(client: Client, drawings: str) -> None:
    for words, warned in ((5, False), (2_000, True)):
        summary = list(client.search("blue " * words, collection=drawings))[-1]
        assert isinstance(summary, SearchSummary)
        messages = [warning.message for warning in summary.warnings]
        assert messages == ["query.text: minilm does not read it to its end"] * warned


def test_a_ready_made_representation_is_searched_as_it_is(client: Client, drawings: str) -> None:
    (embedded,) = client.embed("tamis_mini", [drawing("circle", "blue")], side="document")
    dense = embedded.representations["tamis_mini.dense"]  # type: ignore[union-attr]
    hits = client.hits(
        collection=drawings,
        k=1,
        pipeline="pictures",
        representations={"tamis_mini.dense": dense},
    )
    assert hits[0].document_id == "blue-circle"


async def test_many_searches_at_once_get_their_own_answers(served: Served, drawings: str) -> None:
    import asyncio

    names = [f"{colour}-{shape}" for colour in ("red", "blue") for shape in ("circle", "square")]
    async with AsyncClient(served.target) as client:
        answers = await asyncio.gather(
            *(
                client.hits(f"a {name.replace('-', ' ')}", collection=drawings, k=1)
                for name in names * 8
            )
        )
    assert [hits[0].document_id for hits in answers] == names * 8
