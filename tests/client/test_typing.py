"""What a type checker sees of the client; mypy checks this file with the others."""

from typing import TYPE_CHECKING, assert_type

import tamis.client as t


def test_the_package_is_typed() -> None:
    """The checks below are mypy's; here they only need to be there."""
    assert t.__file__


if TYPE_CHECKING:

    def blocking(client: t.Client) -> None:
        with client.search("red", collection="c", k=3, stop_after="rerank") as events:
            for event in events:
                assert_type(event, t.StageResult | t.StageSkipped | t.SearchSummary)
            assert_type(events.final(), t.StageResult)
            assert_type(events.summary, t.SearchSummary | None)
        assert_type(client.hits(t.Query("red"), collection="c", k=1), list[t.Hit])
        assert_type(client.upsert("c", [t.Document("d")]).final(), t.UpsertProgress)
        assert_type(client.collections(timeout=1.0), list[t.Collection])
        with client.session() as session, session.search("red", collection="c") as found:
            assert_type(session, t.Session)
            assert_type(found, t.SearchStream)
        assert_type(client.batch_search(["red"], collection="c"), list[t.StageResult | t.Failure])
        assert_type(client.get_context("handle"), t.Context)
        assert_type(client.rerank("red", [t.Document("d")]), t.Ranked)
        client.hits("red", collection="c", top_n=1)  # type: ignore[call-arg]
        client.hits("red", collection="c", k="1")  # type: ignore[arg-type]
        client.collections(rerank_depth=1)  # type: ignore[call-arg]

    async def on_a_loop(client: t.AsyncClient) -> None:
        async with client.search(image=b"", collection="c") as events:
            async for event in events:
                assert_type(event, t.StageResult | t.StageSkipped | t.SearchSummary)
            assert_type(await events.first("rerank"), t.StageResult | None)
        assert_type(await client.hits("red", collection="c"), list[t.Hit])
        async with client.session() as session:
            assert_type(session, t.AsyncSession)
            assert_type(session.search("red", collection="c"), t.AsyncSearchStream)
        assert_type(await client.refine("red", [t.Document("d")]), t.Refined)
        assert_type(await client.get_context("handle"), t.Context)
        async for step in client.upsert("c", [t.Document("d")]):
            assert_type(step, t.UpsertProgress)
        assert_type(await client.get("c", ["d"]), list[t.Document])
        assert_type(await client.embed("mini", ["red"]), list[t.Embedding | t.Failure])
