"""Late interaction over an index: what it finds, and what it makes of changes and of damage."""

import asyncio
import fcntl
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clustered import DIM, NAME, SETTINGS, VECTOR, World
from qdrant_client import models

from tamis.models.errors import InputError
from tamis.server.documents import point_id
from tamis.server.errors import MismatchError
from tamis.server.late_interaction import generations
from tamis.server.late_interaction.building import Progress, Step
from tamis.server.late_interaction.fields import having, lists_of
from tamis.server.late_interaction.open_files import Field
from tamis.server.late_interaction.upkeep import Upkeep

EVEN = models.Filter(
    must=[models.FieldCondition(key="metadata.even", match=models.MatchValue(value=True))]
)


async def recall(world: World, searches: int = 12) -> float:
    """The share of exact MaxSim's ten best that are found."""
    found = []
    for target in list(world.truth)[:: max(1, len(world.truth) // searches)]:
        query = world.topics.near(world.truth[target][:8])
        found.append(len({*await world.search(query)} & {*world.exact(query)}) / 10)
    return float(np.mean(found))


def steps(said: Iterable[Progress]) -> list[Step]:
    return list(dict.fromkeys(one.step for one in said))


async def test_a_small_collection_is_compared_whole(world: World) -> None:
    await world.fill(90)
    field = await world.build()
    assert (field.state.serving, field.copy, world.said) == (None, None, [])
    assert await recall(world) == 1


@pytest.mark.parametrize("copy", [False, True], ids=["in the index", "by the copy"])
async def test_centroids_find_what_exact_comparison_finds(world: World, copy: bool) -> None:
    await world.fill(600)
    field = await world.build(copy=copy)
    assert field.state.serving
    assert (field.copy is not None) is copy
    assert steps(world.said) == [*Step][: 4 if copy else 3]
    assert await recall(world) >= 0.9


async def test_both_ways_give_the_same_scores(world: World) -> None:
    await world.fill(200)
    query = world.topics.document()
    await world.build(copy=False)
    by_index = dict(await world.scored(query))
    assert (await world.build()).copy
    by_copy = dict(await world.scored(query))
    assert by_copy.keys() == by_index.keys()
    assert all(abs(by_copy[name] - by_index[name]) < 0.05 for name in by_copy)


async def test_the_filter_holds_in_both_steps(world: World) -> None:
    await world.fill(300)
    for copy in (False, True):
        await world.build(copy=copy)
        query = world.topics.document()
        found = await world.search(query, 60, where=EVEN)
        assert len(found) == 60  # 80 candidates, all of which pass
        assert all(int(name) % 2 == 0 for name in found)


@pytest.mark.parametrize("copy", [False, True], ids=["in the index", "by the copy"])
async def test_changes_are_seen_at_once(world: World, copy: bool) -> None:
    await world.fill(200)
    await world.build(copy=copy)
    target = world.topics.document()
    await world.put({"1000": target})
    query = world.topics.near(target)
    assert (await world.search(query))[0] == "1000"
    await world.put({"1000": world.topics.near(-target), "7": target})  # one moves, one comes
    assert (await world.search(query))[0] == "7"
    assert "1000" not in await world.search(query)
    await world.collections.documents.delete(NAME, ["7"])
    assert "7" not in await world.search(query)


async def test_a_copy_that_has_fallen_behind_leaves_it_to_the_index(world: World) -> None:
    await world.fill(200)
    field = await world.build()
    await world.fill(200)  # the same ids again, all changed
    assert await recall(world) >= 0.9
    assert field.stale > SETTINGS.copy_stale
    assert (await world.build()).stale == 0


async def test_searches_and_changes_go_on_during_a_rebuild(world: World) -> None:
    await world.fill(300)
    before = (await world.build()).state.serving
    target = world.topics.document()
    updates = world.store.update_vectors

    async def update_vectors(
        collection: str, points: list[models.PointVectors], *, where: models.Filter
    ) -> None:
        if "2000" not in world.truth:  # the first page is about to be put on the new lists
            await world.put({"2000": target, "0": target})
            assert (await world.search(world.topics.near(target)))[0] in ("2000", "0")
        await updates(collection, points, where=where)
        assert await recall(world, 3) >= 0.8

    world.store.update_vectors = update_vectors  # type: ignore[assignment,method-assign]
    field = await world.build(retrain=True)
    assert before
    assert field.state.serving
    assert (field.state.serving.number, field.state.serving.slot) == (2, 1)
    assert {*(await world.search(world.topics.near(target)))[:2]} == {"2000", "0"}
    assert await recall(world) >= 0.9


async def test_documents_of_who_did_not_know_are_put_on_the_lists(world: World) -> None:
    await world.fill(200)
    await world.build(copy=False)
    target = world.topics.document()
    await world.put({"3000": target}, listed=False)
    assert "3000" not in await world.search(world.topics.near(target))
    await world.build(copy=False)
    assert (await world.search(world.topics.near(target)))[0] == "3000"


async def test_a_rebuild_that_was_broken_off_is_gone_on_with(world: World) -> None:
    await world.fill(300)

    def cut(progress: Progress) -> None:
        if progress.step is Step.LIST:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await world.build(report=cut)
    field = await world.field()
    assert field.state.filling
    assert field.state.serving is None
    assert await recall(world) == 1  # all are compared
    field = await world.build()
    assert Step.TRAIN not in steps(world.said)
    assert field.state.serving
    assert await recall(world) >= 0.9


async def test_a_collection_that_has_grown_gets_more_centroids(world: World) -> None:
    await world.fill(120)
    first = (await world.build()).state.serving
    await world.fill(400, first=120)
    second = (await world.build()).state.serving
    assert first
    assert second
    assert second.starts[-1] > first.starts[-1]
    slots = [await world.store.count(NAME, having([name])) for name in lists_of(VECTOR)]
    assert slots[second.slot] == 520
    folder = (await world.field()).folder
    assert [path.suffix for path in folder.glob("*.npy")] == [".npy"]  # the old one is gone


async def test_new_documents_unlike_the_old_ones_are_noticed(world: World) -> None:
    await world.fill(300)
    await world.build()
    upkeep = upkeep_of(world)
    await world.fill(60, first=300)
    field = await world.field()
    assert not upkeep._drifted(field)
    rng = np.random.default_rng(9)
    for number in range(400, 480):
        strange = rng.normal(size=(6, DIM)).astype(np.float32)
        await world.put({str(number): strange / np.linalg.norm(strange, axis=1, keepdims=True)})
    assert upkeep._drifted(await world.field())


@pytest.mark.parametrize("how", ["cut", "other format", "gone"])
async def test_a_damaged_copy_is_not_used_and_made_again(
    world: World, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    await world.fill(150)
    field = await world.build()
    damage(field.folder / field.state.copy, how)
    again = await restarted(world)
    assert again.copy is None
    assert await recall(world) >= 0.9
    assert "made again" in caplog.text
    assert upkeep_of(world)._copy_is_due(again)
    assert (await world.build()).copy is not None


def damage(folder: Path, how: str) -> None:
    data, said = folder / "vectors.bin", folder / "copy.json"
    if how == "cut":
        data.write_bytes(data.read_bytes()[:-100])
    elif how == "gone":
        data.unlink()
    else:
        said.write_text(json.dumps({**json.loads(said.read_text()), "format": 99}))


async def test_damaged_centroids_are_trained_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.fill(150)
    field = await world.build()
    assert field.state.serving
    (field.folder / field.state.serving.file).write_bytes(b"\x93NUMPY nonsense")
    again = await restarted(world)
    assert await recall(world) == 1
    assert again.damaged_centroids
    after = await world.build()
    assert after.state.serving
    assert after.state.serving.file != field.state.serving.file
    assert await recall(world) >= 0.9


async def test_a_manifest_that_cannot_be_read_is_none(world: World) -> None:
    await world.fill(150)
    field = await world.build()
    path = field.folder / f"{VECTOR}.json"
    for text in ("", "[]", '{"format": 9}', path.read_text()[:-20]):
        path.write_text(text)
        state = await asyncio.to_thread(generations.read, field.folder, VECTOR)
        assert state == generations.State()
    world.revision.change()
    assert await recall(world) == 1
    assert (await world.build()).state.serving
    assert await recall(world) >= 0.9


async def test_documents_without_vectors_and_with_very_many_are_no_trouble(world: World) -> None:
    await world.fill(150)
    long = world.topics.near(np.repeat(world.topics.document(), 200, axis=0))
    await world.put({"500": long})
    await world.store.upsert(
        NAME,
        [models.PointStruct.model_construct(id=point_id("501"), vector={}, payload={"id": "501"})],
    )
    await world.build()
    assert (await world.search(world.topics.near(long[::200])))[0] == "500"
    assert await recall(world) >= 0.9


async def test_more_vectors_than_a_document_may_have_are_refused(world: World) -> None:
    world.late.settings = replace(SETTINGS, max_vectors=10, pooling={VECTOR: 2})
    with pytest.raises(InputError, match=f"{VECTOR}: 11 vectors; at most 10"):
        await world.late.pooled({VECTOR: world.topics.document(11)})
    pooled = await world.late.pooled({VECTOR: world.topics.document(10)})
    assert len(pooled[VECTOR]) == 5  # type: ignore[arg-type]


async def test_dropping_a_collection_deletes_its_files(world: World) -> None:
    await world.fill(150)
    folder = (await world.build()).folder
    await world.collections.drop(NAME)
    assert not folder.exists()
    await world.collections.create(NAME)
    assert (await world.field()).state.serving is None


async def test_the_sparse_fields_are_no_concern_of_users(world: World) -> None:
    assert [field.name for field in await world.collections.fields(NAME)] == [VECTOR]


async def test_a_process_of_its_own_builds(world: World) -> None:
    await world.fill(150)
    upkeep, schema = upkeep_of(world), await world.collections.schema(NAME)
    said = [one async for one in upkeep.optimize(NAME, schema)]
    assert steps(said) == [*Step]
    assert (said[-1].done, said[-1].total) == (150, 150)
    field = await world.field()
    assert field.state.serving
    assert field.copy
    assert await recall(world) >= 0.9


async def test_two_processes_do_not_build_the_same(world: World) -> None:
    await world.fill(150)
    upkeep, schema = upkeep_of(world), await world.collections.schema(NAME)
    folder = (await world.field()).folder
    folder.mkdir(parents=True)
    with (folder / f".{VECTOR}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MismatchError, match=f"{NAME}: {VECTOR} is being optimized already"):
            async for _ in upkeep.optimize(NAME, schema):
                pass


async def restarted(world: World) -> Field:
    """What a process that starts now makes of the files."""
    world.late.files._fields.clear()
    world.late.files._centroids.clear()
    return await world.field()


def upkeep_of(world: World) -> Upkeep:
    return Upkeep(
        late=world.late,
        store=world.store,
        settings=world.index,
        revision=world.folder / "revision",
        copies=True,
    )


async def test_it_is_done_by_itself_when_a_collection_is_large_enough(world: World) -> None:
    world.late.settings = replace(SETTINGS, look_after_s=0.05)
    await world.fill(150)
    await upkeep_of(world)._look(NAME)
    assert (await world.field()).copy
    before = (await world.field()).state
    await upkeep_of(world)._look(NAME)  # there is nothing to do
    assert (await world.field()).state == before
