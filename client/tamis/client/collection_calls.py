"""What the calls on collections send and how their answers read. Pure functions."""

from collections.abc import Mapping, Sequence

from tamis.client import enums, filters, messages, results, types, words
from tamis.client.unary import Unary
from tamis.v1 import collection_service_pb2, document_pb2


def create_collection(
    name: str,
    vectors: Sequence[str],
    weightings: Mapping[str, types.TermWeighting],
    indexes: Mapping[str, str],
) -> Unary[types.Collection]:
    """Makes an empty collection.

    Raises:
        ValueError: A weighting's variant, or what an index is of, is unknown.
    """
    asked = collection_service_pb2.CreateCollectionRequest(name=name, vectors=vectors)
    for field, how in weightings.items():
        asked.weightings[field].CopyFrom(messages.weighting_message(how))
    for field, kind in indexes.items():
        asked.indexes[field] = words.number_of(
            enums.FieldType, collection_service_pb2.FieldType, kind
        )
    return Unary(
        lambda stubs: stubs.collections.CreateCollection,
        asked,
        lambda response: messages.collection(response.collection),
    )


def collection(name: str) -> Unary[types.Collection]:
    """What a collection holds."""
    return Unary(
        lambda stubs: stubs.collections.DescribeCollection,
        collection_service_pb2.DescribeCollectionRequest(name=name),
        lambda response: messages.collection(response.collection),
    )


def collections() -> Unary[list[types.Collection]]:
    """What every collection holds."""
    return Unary(
        lambda stubs: stubs.collections.ListCollections,
        collection_service_pb2.ListCollectionsRequest(),
        lambda response: [messages.collection(one) for one in response.collections],
    )


def optimize(name: str, retrain: bool) -> collection_service_pb2.OptimizeCollectionRequest:
    """Makes late interaction over a large collection fast."""
    return collection_service_pb2.OptimizeCollectionRequest(name=name, retrain=retrain)


def optimize_progress(
    message: collection_service_pb2.OptimizeCollectionResponse,
) -> results.OptimizeProgress:
    """How far that has come."""
    step = words.OPTIMIZE_STEPS.get(message.step, enums.OptimizeStep.UNKNOWN)
    return results.OptimizeProgress(message.vector, step, message.done, message.total)


def drop_collection(name: str) -> Unary[None]:
    """Deletes a collection with all that it holds."""
    return Unary(
        lambda stubs: stubs.collections.DeleteCollection,
        collection_service_pb2.DeleteCollectionRequest(name=name),
        lambda _: None,
    )


def _listed(ids: Sequence[str]) -> Sequence[str]:
    if isinstance(ids, str):  # a text is a sequence of texts too: its characters
        raise ValueError(f"ids is a list of texts, not the text {ids!r}")  # noqa: TRY004
    return ids


def delete(collection: str, ids: Sequence[str], filter: filters.Filterable | None) -> Unary[int]:
    """Deletes documents by id or by filter.

    Raises:
        ValueError: Both are given, or neither, or the filter is empty.
    """
    tests = None if filter is None else filters.message(filter)
    if bool(_listed(ids)) == (tests is not None):
        raise ValueError("delete takes ids or a filter: exactly one of the two")
    if tests is not None and not (tests.must or tests.must_not or tests.should):
        raise ValueError("an empty filter would delete everything: drop the collection instead")
    return Unary(
        lambda stubs: stubs.collections.DeleteDocuments,
        collection_service_pb2.DeleteDocumentsRequest(collection=collection, ids=ids, filter=tests),
        lambda response: int(response.deleted),
    )


def get(collection: str, ids: Sequence[str], view: str) -> Unary[list[types.Document]]:
    """Documents by id."""
    return Unary(
        lambda stubs: stubs.collections.GetDocuments,
        collection_service_pb2.GetDocumentsRequest(
            collection=collection,
            ids=_listed(ids),
            view=words.number_of(enums.View, document_pb2.DocumentView, view),
        ),
        lambda response: [messages.document(one) for one in response.documents],
    )


def set_alias(alias: str, collection: str) -> Unary[str]:
    """Lets another name stand for a collection."""
    return Unary(
        lambda stubs: stubs.collections.SetAlias,
        collection_service_pb2.SetAliasRequest(alias=alias, collection=collection),
        lambda response: str(response.previous),
    )


def delete_alias(alias: str) -> Unary[None]:
    """Takes another name away."""
    return Unary(
        lambda stubs: stubs.collections.DeleteAlias,
        collection_service_pb2.DeleteAliasRequest(alias=alias),
        lambda _: None,
    )


def create_snapshot(collection: str) -> Unary[types.Snapshot]:
    """Writes a collection to a file."""
    return Unary(
        lambda stubs: stubs.collections.CreateSnapshot,
        collection_service_pb2.CreateSnapshotRequest(collection=collection),
        lambda response: messages.snapshot(response.snapshot),
    )


def snapshots(collection: str) -> Unary[list[types.Snapshot]]:
    """The snapshots of a collection."""
    return Unary(
        lambda stubs: stubs.collections.ListSnapshots,
        collection_service_pb2.ListSnapshotsRequest(collection=collection),
        lambda response: [messages.snapshot(one) for one in response.snapshots],
    )


def delete_snapshot(collection: str, snapshot: str) -> Unary[None]:
    """Deletes a snapshot."""
    return Unary(
        lambda stubs: stubs.collections.DeleteSnapshot,
        collection_service_pb2.DeleteSnapshotRequest(collection=collection, snapshot=snapshot),
        lambda _: None,
    )


def restore_snapshot(collection: str, snapshot: str, name: str) -> Unary[types.Collection]:
    """Makes a collection of a snapshot."""
    return Unary(
        lambda stubs: stubs.collections.RestoreSnapshot,
        collection_service_pb2.RestoreSnapshotRequest(
            collection=collection, snapshot=snapshot, name=name
        ),
        lambda response: messages.collection(response.collection),
    )
