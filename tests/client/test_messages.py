"""Between the wire and the caller's values."""

import array
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as some

from tamis.client import (
    Document,
    Query,
    SkipReason,
    SparseVector,
    Stage,
    StageResult,
    Tensor,
    enums,
    messages,
    result_messages,
)
from tamis.v1 import (
    collection_service_pb2,
    context_pb2,
    document_pb2,
    embedding_service_pb2,
    failure_pb2,
    representation_pb2,
    retrieval_service_pb2,
    stage_pb2,
)

JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(1 << 53), 1 << 53)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


@given(metadata=some.dictionaries(some.text(), JSON, max_size=4))
def test_metadata_comes_back_as_it_went(metadata: dict[str, Any]) -> None:
    sent = Document("d", "x", metadata=metadata)
    assert messages.document(messages.document_message(sent)) == sent


@pytest.mark.parametrize(
    "sent",
    [
        Document("d", "words"),
        Document("d", ""),
        Document("d", image=b"png"),
        Document("d", "words", b"png", {"year": 1990, "tags": ["a"], "none": None}),
    ],
)
def test_a_document_comes_back_as_it_went(sent: Document) -> None:
    assert messages.document(messages.document_message(sent)) == sent


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a": {"b": [1, {2}]}}, r"d: metadata.a.b\[1\]: JSON has no set"),
        ({"a": float("nan")}, "JSON has no nan"),
        ({"id": 2**60}, "beyond 2\\*\\*53: give it as a text"),
    ],
)
def test_metadata_beyond_json_is_refused_by_its_place(metadata: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        messages.document_message(Document("d", "x", metadata=metadata))


def test_an_empty_text_is_a_text_and_nothing_is_not() -> None:
    assert messages.content(Query("")).HasField("text")
    with pytest.raises(ValueError, match="needs a text"):
        messages.content(Query())


def test_a_document_brings_its_own_representations() -> None:
    dense, terms = Tensor.of(np.ones(3, np.float32)), SparseVector((1, 5), (0.5, 0.25))
    sent = messages.document_message(Document("d", representations={"m.d": dense, "m.t": terms}))
    assert not sent.HasField("content")
    found = {one.name: messages.representation(one) for one in sent.representations}
    assert np.array_equal(np.asarray(found["m.d"]), [1, 1, 1])
    assert found["m.t"] == terms
    with_text = Document("d", "words", representations={"m.t": terms})
    assert messages.document_message(with_text).content.text == "words"
    with pytest.raises(ValueError, match="needs a text"):
        messages.document_message(Document("d"))


def test_frames_are_sent_in_their_order() -> None:
    for sent in (
        messages.content(Query("a kite", frames=[b"1", b"2"])),
        messages.document_message(Document("d", frames=[b"1", b"2"])).content,
    ):
        assert [frame.data for frame in sent.frames] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("enum", "wrapper"),
    [
        (enums.Stage, stage_pb2.Stage),
        (enums.SkipReason, stage_pb2.SkipReason),
        (enums.Reason, failure_pb2.Reason),
        (enums.View, document_pb2.DocumentView),
        (enums.Side, embedding_service_pb2.Side),
        (enums.CachePolicy, retrieval_service_pb2.CachePolicy),
        (enums.Priority, retrieval_service_pb2.Priority),
        (enums.EmbeddingSource, retrieval_service_pb2.EmbeddingSource),
        (enums.VectorKind, representation_pb2.VectorKind),
        (enums.OptimizeStep, collection_service_pb2.OptimizeStep),
    ],
)
def test_our_words_are_the_wire_s(enum: type[StrEnum], wrapper: Any) -> None:
    """A word that the wire gains must be added here."""
    prefix = wrapper.Name(0).removesuffix("UNSPECIFIED")
    names = {name.removeprefix(prefix).lower() for name in wrapper.keys()}  # noqa: SIM118 - no dict
    assert {*enum} - {"unknown", "none"} == names - {"unspecified"}


def test_what_a_newer_server_says_is_unknown_and_no_error() -> None:
    response = retrieval_service_pb2.SearchResponse(
        stage=17,  # type: ignore[arg-type]
        skipped=stage_pb2.StageSkipped(reason=99),  # type: ignore[arg-type]
    )
    event = result_messages.event(response)
    assert event is not None
    assert (event.stage, event.reason) == (Stage.UNKNOWN, SkipReason.UNKNOWN)  # type: ignore[union-attr]
    assert result_messages.event(retrieval_service_pb2.SearchResponse(stage=1)) is None  # type: ignore[arg-type]


def test_a_result_says_how_much_it_looked_at() -> None:
    result = stage_pb2.StageResult(method="max_sim", depth=12, shortened=True)
    event = result_messages.event(
        retrieval_service_pb2.SearchResponse(stage=stage_pb2.STAGE_RERANK, result=result)
    )
    assert isinstance(event, StageResult)
    assert (event.stage, event.depth, event.shortened) == (enums.Stage.RERANK, 12, True)


def test_a_context_comes_back_whole() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    tokens = context_pb2.VisualTokens(
        embeddings=representation_pb2.Tensor(
            dtype=representation_pb2.DATA_TYPE_FLOAT32, shape=[2, 3], data=rows.tobytes()
        ),
        positions=[1, 8],
        grid_height=3,
        grid_width=4,
        fingerprint="f",
    )
    when = datetime(2026, 11, 21, tzinfo=UTC)
    stamp = Timestamp()
    stamp.FromDatetime(when)
    found = messages.context(
        context_pb2.Context(
            parts=[
                context_pb2.ContextPart(document_id="a", text="one.", method="cpc"),
                context_pb2.ContextPart(document_id="b", visual_tokens=tokens, method="divprune"),
                context_pb2.ContextPart(document_id="c", text="two.", method="cpc"),
            ],
            tokens_before=40,
            tokens_after=4,
            handle="h",
            expire_time=stamp,
        )
    )
    assert found.text == "one.\n\ntwo."
    assert (found.tokens_before, found.tokens_after, found.handle) == (40, 4, "h")
    assert found.expires == when
    kept = found.parts[1].visual_tokens
    assert kept is not None
    assert found.parts[1].text is None
    assert (kept.positions, kept.grid) == ((1, 8), (3, 4))
    assert np.array_equal(np.asarray(kept.embeddings), rows)
    flat = np.frombuffer(kept.embeddings.data, kept.embeddings.dtype)
    assert np.array_equal(flat.reshape(kept.embeddings.shape), rows)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 4)])
def test_numpy_arrays_go_and_come(dtype: str, shape: tuple[int, ...]) -> None:
    sent = np.ones(shape, dtype)
    message = messages.representation_message("m.dense", Tensor.of(sent))
    found = np.asarray(messages.representation(message))
    assert found.dtype == dtype
    assert np.array_equal(found, sent)


def test_a_tensor_needs_no_numpy() -> None:
    assert Tensor.of(array.array("f", [1, 2])).shape == (2,)


def test_a_tensor_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="float32 2x3 takes 24 bytes, not 4"):
        Tensor("float32", (2, 3), memoryview(b"abcd"))
    with pytest.raises(ValueError, match="not 'float33'"):
        Tensor("float33", (), memoryview(b""))
    with pytest.raises(ValueError, match="C-contiguous"):
        Tensor.of(np.ones((4, 4), np.float32)[:, ::2])
    with pytest.raises(ValueError, match="C-contiguous array of float32"):
        Tensor.of(np.ones(3))
    with pytest.raises(TypeError, match="numpy has no bfloat16"):
        np.asarray(Tensor("bfloat16", (1,), memoryview(b"ab")))


def test_sparse_vectors_go_and_come() -> None:
    sent = SparseVector((1, 5), (0.5, 0.25))
    assert messages.representation(messages.representation_message("m.terms", sent)) == sent
