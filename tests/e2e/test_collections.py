"""Documents in, out and away."""

import numpy as np
import pytest
from drawings import documents, drawing
from serving import Served

from tamis.client import AlreadyExistsError, Client, Document, InvalidRequestError, NotFoundError


def test_indexing_again_changes_nothing(client: Client, collection: str) -> None:
    for _ in range(2):
        assert client.upsert(collection, documents(), batch=5).final().upserted == 12
    assert client.collection(collection).documents == 12
    ids = [hit.document_id for hit in client.hits("a shape", collection=collection, k=20)]
    assert len(ids) == len(set(ids)) == 12


def test_a_document_is_replaced_by_its_id(client: Client, collection: str) -> None:
    client.upsert(collection, [Document(id="x", text="An old oak.")]).final()
    client.upsert(collection, [Document(id="x", text="A new car.", metadata={"new": True})]).final()
    (document,) = client.get(collection, ["x"])
    assert (document.text, document.metadata) == ("A new car.", {"new": True})
    assert client.collection(collection).documents == 1


def test_documents_come_back_as_they_went(client: Client, collection: str) -> None:
    metadata = {"n": 1, "f": 0.5, "list": ["a", 2], "nested": {"deep": None}, "word": "naïve"}
    given = Document("ü/x", "Text.", drawing("circle", "red"), metadata)
    client.upsert(collection, [given]).final()
    assert client.get(collection, ["ü/x", "unknown"], view="full") == [given]
    assert client.get(collection, ["ü/x"])[0].image is None


def test_deleted_documents_are_not_found(client: Client, collection: str) -> None:
    client.upsert(collection, documents()).final()
    assert client.delete(collection, ["red-circle", "unknown"]) == 1
    assert client.delete(collection, filter={"shape": "square"}) == 4
    left = {hit.document_id for hit in client.hits("a shape", collection=collection, k=20)}
    assert left == {d.id for d in documents() if d.metadata["shape"] != "square"} - {"red-circle"}


def test_a_deleted_picture_is_gone_unless_another_document_has_it(
    client: Client, served: Served, collection: str
) -> None:
    shared, own = drawing("circle", "red"), drawing("square", "blue")
    given = [
        Document(id=name, image=data)
        for name, data in zip("abc", (shared, shared, own), strict=True)
    ]
    client.upsert(collection, given).final()
    pictures = served.data / "pictures" / collection
    assert sum(path.is_file() for path in pictures.rglob("*")) == 2
    client.delete(collection, ["a", "c"])
    assert sum(path.is_file() for path in pictures.rglob("*")) == 1
    assert client.get(collection, ["b"], view="full")[0].image == shared
    client.drop_collection(collection)
    assert not pictures.exists()


def test_texts_alone_and_pictures_alone_go_in_too(client: Client, collection: str) -> None:
    client.upsert(
        collection,
        [
            Document(id="text", text="The tallest mountain is Everest."),
            Document(id="picture", image=drawing("circle", "red")),
        ],
    ).final()
    assert client.hits("highest mountain", collection=collection)[0].document_id == "text"
    hits = client.hits(image=drawing("circle", "red"), collection=collection)
    assert hits[0].document_id == "picture"


def test_a_collection_lives_from_create_to_drop(client: Client, collection: str) -> None:
    made = client.create_collection(collection, ["minilm.dense", "bm25.terms"])
    assert [field.name for field in made.vectors] == ["bm25.terms", "minilm.dense"]
    assert all(field.fingerprint for field in made.vectors)
    with pytest.raises(AlreadyExistsError):
        client.create_collection(collection)
    assert collection in [known.name for known in client.collections()]
    client.drop_collection(collection)
    with pytest.raises(NotFoundError):
        client.collection(collection)


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 65, "spa ce"])
def test_a_bad_name_is_refused(client: Client, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="collection: "):
        client.create_collection(name)


def test_embedding_gives_unit_vectors_and_fails_one_by_one(client: Client) -> None:
    good, bad = client.embed("tamis_mini", [drawing("circle", "red"), b"not a picture"])
    dense = np.asarray(good.representations["tamis_mini.dense"])  # type: ignore[union-attr]
    assert np.linalg.norm(dense) == pytest.approx(1, abs=1e-3)
    assert bad.reason == "invalid_request"  # type: ignore[union-attr]
