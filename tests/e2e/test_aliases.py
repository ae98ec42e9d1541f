"""Other names of collections, indexes of metadata, and snapshots."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from drawings import documents
from serving import Served

from tamis.client import (
    AlreadyExistsError,
    Client,
    Document,
    FailedPreconditionError,
    InvalidRequestError,
    NotFoundError,
    Snapshot,
)

VECTORS = ["minilm.dense", "minilm.tokens", "bm25.terms", "tamis_mini.dense"]


def texts(word: str, count: int = 3) -> list[Document]:
    return [Document(id=f"{word}-{n}", text=f"{word} {n}") for n in range(count)]


def test_documents_are_indexed_anew_without_a_pause(client: Client, collection: str) -> None:
    """The name is switched over, and each call sees the one collection or the other."""
    old, new = f"{collection}-1", f"{collection}-2"
    client.upsert(old, texts("oak")).final()
    assert client.set_alias(collection, old) == ""
    assert client.collection(old).aliases == (collection,)
    assert client.hits("oak", collection=collection)[0].document_id.startswith("oak")
    client.upsert(collection, [Document(id="later", text="a later oak")]).final()
    assert client.collection(collection).name == old
    assert client.collection(collection).documents == 4
    client.upsert(new, texts("car")).final()
    assert client.set_alias(collection, new) == old
    assert client.hits("oak", collection=collection)[0].document_id.startswith("car")
    assert [one.id for one in client.get(collection, ["car-1", "oak-1"])] == ["car-1"]
    assert client.delete(collection, ["car-1"]) == 1
    client.drop_collection(old)  # nothing stands for it any more
    with pytest.raises(FailedPreconditionError, match="switch or delete it"):
        client.drop_collection(new)
    with pytest.raises(FailedPreconditionError, match="is an alias of"):
        client.drop_collection(collection)
    client.delete_alias(collection)
    with pytest.raises(NotFoundError):
        client.hits("oak", collection=collection)
    assert client.collection(new).documents == 2


def test_names_do_not_collide(client: Client, drawings: str, collection: str) -> None:
    client.set_alias(collection, drawings)
    with pytest.raises(AlreadyExistsError):
        client.create_collection(collection)
    with pytest.raises(AlreadyExistsError):
        client.set_alias(drawings, drawings)
    with pytest.raises(NotFoundError):
        client.set_alias(f"{collection}-x", "nowhere")
    with pytest.raises(InvalidRequestError, match="collection: "):
        client.set_alias("a b", drawings)
    client.delete_alias(collection)
    with pytest.raises(NotFoundError, match="no alias"):
        client.delete_alias(collection)


def test_metadata_has_the_indexes_that_are_asked_for(client: Client, collection: str) -> None:
    indexes = {"shape": "text", "book.year": "integer", "score": "number", "open": "bool"}
    made = client.create_collection(collection, VECTORS, indexes=indexes)
    assert dict(made.indexes) == indexes
    client.upsert(collection, documents()).final()
    hits = client.hits("a shape", collection=collection, filter={"shape": "square"}, k=12)
    assert len(hits) == 4
    with pytest.raises(ValueError, match="words"):
        client.create_collection(f"{collection}-x", indexes={"shape": "words"})
    for name in ("", "a..b", "a[]", "x."):
        with pytest.raises(InvalidRequestError, match="no name of a metadata field"):
            client.create_collection(f"{collection}-x", indexes={name: "text"})


@pytest.fixture
def snapshot(client: Client, collection: str) -> Iterator[Snapshot]:
    client.upsert(collection, documents()).final()
    yield client.create_snapshot(collection)
    client.drop_collection(collection)


def test_a_snapshot_becomes_a_collection_again(
    client: Client, collection: str, snapshot: Snapshot
) -> None:
    assert (snapshot.collection, snapshot.documents) == (collection, 12)
    assert client.snapshots(collection) == [snapshot]
    before = client.get(collection, [one.id for one in documents()], view="full")
    client.delete(collection, ["red-circle"])
    copy = f"{collection}-copy"
    assert client.restore_snapshot(collection, snapshot.name, copy).documents == 12
    assert client.get(copy, [one.id for one in documents()], view="full") == before
    hits = [client.hits("a red circle", collection=name) for name in (copy, collection)]
    assert [found[0].document_id == "red-circle" for found in hits] == [True, False]
    with pytest.raises(AlreadyExistsError):
        client.restore_snapshot(collection, snapshot.name, copy)
    client.drop_collection(copy)
    client.delete_snapshot(collection, snapshot.name)
    assert client.snapshots(collection) == []
    for name in (snapshot.name, "../../revision", "x"):
        with pytest.raises(NotFoundError, match="no snapshot"):
            client.restore_snapshot(collection, name, copy)


@pytest.mark.parametrize("damage", ["flipped", "cut off", "of another kind"])
def test_a_damaged_snapshot_becomes_nothing(
    client: Client, served: Served, collection: str, snapshot: Snapshot, damage: str
) -> None:
    file = served.data / "snapshots" / collection / snapshot.name
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    elif damage == "cut off":
        del data[len(data) * 3 // 4 :]
    else:
        data[:] = b"no archive"
    file.write_bytes(data)
    with pytest.raises(FailedPreconditionError, match=f"snapshot {snapshot.name}: "):
        client.restore_snapshot(collection, snapshot.name, f"{collection}-copy")
    assert f"{collection}-copy" not in [one.name for one in client.collections()]
    assert _left(served.data) == []


def _left(data: Path) -> list[str]:
    """What no restart would clean up."""
    found = [*(data / "snapshots").glob(".*"), *(data / "pictures").glob("*-copy")]
    return [str(path) for path in found]
