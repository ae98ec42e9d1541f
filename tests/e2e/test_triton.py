"""Triton's own client, as it comes, against a running server."""

import os
import queue
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from drawings import COLOURS, documents, drawing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import ROOT, Served
from tritonclient.utils import InferenceServerException

from tamis.client import AsyncClient, Client
from tamis.server.app import open_app
from tamis.server.config import MethodSettings, default_settings, read
from tamis.server.serve import Server
from tamis.v1 import embedding_service_pb2 as embedding
from tamis.v1.embedding_service_pb2_grpc import EmbeddingServiceStub

TEXTS = ("a red circle", "two green squares, side by side", "x")
ANSWER_S = 30
SHIPPED = read(default_settings())


@pytest.fixture(scope="module")
def client_of(served: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.target) as client:
        yield client


def tensor(name: str, values: Sequence[object], dtype: str = "BYTES") -> triton.InferInput:
    made = triton.InferInput(name, [len(values)], dtype)
    array = np.array(values, dtype=object) if dtype == "BYTES" else np.array(values, np.int32)
    return made.set_data_from_numpy(array)


def answers(
    client: triton.InferenceServerClient, count: int, *requests: dict[str, Any]
) -> list[Any]:
    """What comes back on one stream: results and errors, as they come."""
    came: queue.Queue[Any] = queue.Queue()
    client.start_stream(callback=lambda result, error: came.put(error or result))
    try:
        for request in requests:
            client.async_stream_infer(**request)
        return [came.get(timeout=ANSWER_S) for _ in range(count)]
    finally:
        client.stop_stream()


def search(collection: str, text: str, k: int = 3, **options: Any) -> dict[str, Any]:
    inputs = [tensor("QUERY_TEXT", [text]), tensor("COLLECTION", [collection])]
    return {"model_name": "default", "inputs": [*inputs, tensor("K", [k], "INT32")], **options}


def embedded(target: str, encoder: str, texts: Sequence[str], head: str) -> list[np.ndarray]:
    """The same by tamis' own Embed."""
    request = embedding.EmbedRequest(encoder=encoder, heads=[head])
    for text in texts:
        request.inputs.add(text=text)
    with grpc.insecure_channel(target) as channel:
        response = EmbeddingServiceStub(channel).Embed(request)
    tensors = [result.embedding.representations[0].tensor for result in response.results]
    return [np.frombuffer(t.data, np.float32).reshape(t.shape) for t in tensors]


def test_server_and_models_are_ready(client_of: triton.InferenceServerClient) -> None:
    assert client_of.is_server_live()
    assert client_of.is_server_ready()
    assert client_of.is_model_ready("minilm")
    assert client_of.is_model_ready("minilm", "1")
    assert not client_of.is_model_ready("minilm", "2")
    assert not client_of.is_model_ready("nobody")
    metadata = client_of.get_server_metadata()
    assert metadata.name == "tamis"
    assert "statistics" in metadata.extensions


def test_every_encoder_reranker_and_pipeline_is_a_model(
    client_of: triton.InferenceServerClient,
) -> None:
    index = client_of.get_model_repository_index()
    assert {model.name: model.state for model in index.models} == dict.fromkeys(
        (
            *("bm25", "minilm", "tamis_mini"),
            *("default", "default.rerank", "pictures", "pictures.rerank"),
        ),
        "READY",
    )


def test_metadata_and_config_say_what_an_encoder_takes(
    client_of: triton.InferenceServerClient,
) -> None:
    metadata = client_of.get_model_metadata("minilm")
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("TEXT", "BYTES", [-1, 1])
    ]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [
        ("dense", "FP32", [-1, 384]),
        ("tokens", "FP32", [-1, -1, 384]),
        ("tokens_LENGTHS", "INT64", [-1]),
    ]
    config = client_of.get_model_config("minilm").config
    assert config.max_batch_size == 256
    assert not config.model_transaction_policy.decoupled
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("TEXT", 13, [1])]


def test_a_pipeline_is_decoupled(client_of: triton.InferenceServerClient) -> None:
    config = client_of.get_model_config("default").config
    assert config.model_transaction_policy.decoupled
    assert config.max_batch_size == 0
    assert {t.name: t.optional for t in config.input} == {
        "QUERY_TEXT": True,
        "QUERY_IMAGE": True,
        "COLLECTION": False,
        "K": True,
    }
    with pytest.raises(InferenceServerException, match="ModelStreamInfer"):
        client_of.infer("default", [tensor("COLLECTION", ["c"])])


def test_vectors_are_those_of_embed(
    client_of: triton.InferenceServerClient, served: Served
) -> None:
    result = client_of.infer("minilm", [tensor("TEXT", TEXTS)], request_id="7")
    assert result.get_response().id == "7"
    dense, tokens = result.as_numpy("dense"), result.as_numpy("tokens")
    lengths = result.as_numpy("tokens_LENGTHS")
    # A batch of other lengths may round otherwise: both are asked for the same one.
    assert np.array_equal(dense, np.stack(embedded(served.target, "minilm", TEXTS, "dense")))
    for row, length, own in zip(
        tokens, lengths, embedded(served.target, "minilm", TEXTS, "tokens"), strict=True
    ):
        assert np.array_equal(row[:length], own)
        assert not row[length:].any()


def test_only_the_outputs_that_are_named_come_back(
    client_of: triton.InferenceServerClient,
) -> None:
    result = client_of.infer(
        "minilm",
        [tensor("TEXT", ["a"])],
        outputs=[triton.InferRequestedOutput("tokens_LENGTHS")],
    )
    assert [output.name for output in result.get_response().outputs] == ["tokens_LENGTHS"]


def test_sparse_heads_are_indices_and_values(client_of: triton.InferenceServerClient) -> None:
    result = client_of.infer("bm25", [tensor("TEXT", ["red red circle", "?"])])
    assert result.as_numpy("terms_LENGTHS").tolist() == [2, 0]
    assert sorted(result.as_numpy("terms_VALUES")[0].tolist()) == [1, 2]
    assert result.as_numpy("terms_INDICES").shape == (2, 2)


def test_a_side_is_named_by_a_parameter(client_of: triton.InferenceServerClient) -> None:
    text = [tensor("TEXT", ["red red"])]
    for side in ("query", "document"):  # whose counts are the same: collections weigh them
        result = client_of.infer("bm25", text, parameters={"side": side})
        assert result.as_numpy("terms_VALUES").tolist() == [[2.0]]
    with pytest.raises(InferenceServerException, match=r"parameters\[side\]: .*left"):
        client_of.infer("bm25", text, parameters={"side": "left"})


def test_a_task_is_one_that_has_an_instruction(client_of: triton.InferenceServerClient) -> None:
    text = [tensor("TEXT", ["a red circle"])]
    plain = client_of.infer("minilm", text).as_numpy("dense")
    told = client_of.infer("minilm", text, parameters={"task": "mbeir/cirr_task7"})
    assert np.array_equal(told.as_numpy("dense"), plain)  # this one was trained without any
    with pytest.raises(InferenceServerException, match=r"parameters\[task\]: .*mbeir/nothing"):
        client_of.infer("minilm", text, parameters={"task": "mbeir/nothing"})


def test_pictures_are_encoded(client_of: triton.InferenceServerClient) -> None:
    pictures = [drawing("circle", colour) for colour in COLOURS]
    result = client_of.infer("tamis_mini", [tensor("IMAGE", pictures)])
    dense = result.as_numpy("dense")
    assert dense.shape == (4, 384)
    assert len(np.unique(dense, axis=0)) == 4


def test_an_item_that_cannot_be_read_is_named(client_of: triton.InferenceServerClient) -> None:
    pictures = [drawing("circle", "red"), b"not a picture"]
    with pytest.raises(InferenceServerException, match=r"items\[1\]: not a picture") as refused:
        client_of.infer("tamis_mini", [tensor("IMAGE", pictures)])
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([tensor("TEXT", [b"\xff"])], r"TEXT\[0\]: is not UTF-8"),
        ([tensor("TEXT", ["a", ""])], r"items\[1\]: is empty"),
        ([tensor("TEXT", ["a", 70_000 * "b"])], r"items\[1\].text: 70000 bytes; at most 65536"),
        ([tensor("TEXT", 257 * ["a"])], "TEXT: 257 elements; from 1 to 256"),
        ([tensor("TEXT", [1], "INT32")], "TEXT: must be BYTES, not 'INT32'"),
        ([], "TEXT: must be given"),
    ],
    ids=["not utf-8", "empty", "long", "many", "numbers", "none"],
)
def test_limits_hold(
    client_of: triton.InferenceServerClient, inputs: list[triton.InferInput], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message) as refused:
        client_of.infer("minilm", inputs)
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_an_answer_that_is_too_large_is_refused(client_of: triton.InferenceServerClient) -> None:
    texts = ["word " * 300, *99 * ["a"]]
    with pytest.raises(InferenceServerException, match=r"outputs: tokens .* at most 33554432"):
        client_of.infer("minilm", [tensor("TEXT", texts)])


def test_what_is_not_there_is_not_found(client_of: triton.InferenceServerClient) -> None:
    calls: tuple[Callable[[], Any], ...] = (
        lambda: client_of.infer("nobody", [tensor("TEXT", ["a"])]),
        lambda: client_of.infer("minilm", [tensor("TEXT", ["a"])], model_version="2"),
        lambda: client_of.get_model_config("nobody"),
    )
    for call in calls:
        with pytest.raises(InferenceServerException) as refused:
            call()
        assert refused.value.status() == "StatusCode.NOT_FOUND"


def test_what_is_not_done_here_says_so(client_of: triton.InferenceServerClient) -> None:
    calls: tuple[Callable[[], Any], ...] = (
        lambda: client_of.get_system_shared_memory_status(),
        lambda: client_of.get_cuda_shared_memory_status(),
        lambda: client_of.get_trace_settings(),
        lambda: client_of.get_log_settings(),
    )
    for call in calls:
        with pytest.raises(InferenceServerException, match="here") as refused:
            call()
        assert refused.value.status() == "StatusCode.UNIMPLEMENTED"


def test_a_timeout_ends_a_request(client_of: triton.InferenceServerClient) -> None:
    texts = [f"{n} " + "word " * 250 for n in range(64)]  # hundreds of milliseconds
    with pytest.raises(
        InferenceServerException, match=r"no answer within 1 ms|no time was left"
    ) as late:
        client_of.infer("minilm", [tensor("TEXT", texts)], timeout=1_000)
    assert late.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def test_priority_and_timeout_are_whole_numbers(client_of: triton.InferenceServerClient) -> None:
    texts = [tensor("TEXT", ["a"])]
    client_of.infer("minilm", texts, priority=2, timeout=10_000_000)
    with pytest.raises(InferenceServerException, match=r"parameters\[timeout\]: must not be below"):
        client_of.infer("minilm", texts, timeout=-1)


def test_passages_are_ranked(client_of: triton.InferenceServerClient) -> None:
    passages = ["a blue square", "a red circle", "nothing of the kind"]
    inputs = [tensor("QUERY", ["a red circle"]), tensor("PASSAGE", passages)]
    result = client_of.infer("default.rerank", inputs)
    scores = result.as_numpy("SCORE")
    assert result.as_numpy("INDEX").tolist() == [1, 0, 2]
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def test_a_pipeline_answers_once_a_stage(
    client_of: triton.InferenceServerClient, served: Served, drawings: str
) -> None:
    asked = search(drawings, "a red circle", request_id="7")
    results = answers(client_of, 3, asked)
    stages = [result.as_numpy("STAGE")[0] for result in results]
    assert stages == [b"retrieve", b"rerank", b"refine"]
    finals = [r.get_response().parameters["triton_final_response"].bool_param for r in results]
    assert finals == [False, False, True]
    assert [result.get_response().id for result in results] == 3 * ["7"]
    with Client(served.target) as client:
        hits = client.hits("a red circle", collection=drawings, k=3)
    ids = [name.decode() for name in results[-1].as_numpy("IDS")]
    assert ids == [hit.document_id for hit in hits]
    assert results[-1].as_numpy("SCORES") == pytest.approx([hit.score for hit in hits])


def test_a_stage_that_is_left_out_says_why(
    client_of: triton.InferenceServerClient, drawings: str
) -> None:
    asked = search(drawings, "a red circle") | {"model_name": "pictures"}
    *_, last = answers(client_of, 3, asked)
    parameters = last.get_response().parameters
    assert parameters["skipped"].string_param == "its depth is 0"
    assert parameters["triton_final_response"].bool_param
    assert last.as_numpy("IDS").shape == (3,)


def test_k_must_be_at_least_1(client_of: triton.InferenceServerClient, drawings: str) -> None:
    (error,) = answers(client_of, 1, search(drawings, "a red circle", k=-1))
    assert "K: must be at least 1, not -1" in str(error)


def test_no_timeout_is_too_long(client_of: triton.InferenceServerClient, drawings: str) -> None:
    longest = 2**63 - 1
    client_of.infer("minilm", [tensor("TEXT", ["a"])], timeout=longest)
    *_, last = answers(client_of, 3, search(drawings, "a red circle", timeout=longest))
    assert last.as_numpy("STAGE")[0] == b"refine"


def test_no_empty_response_follows_a_final_one(
    client_of: triton.InferenceServerClient, drawings: str
) -> None:
    first = search(drawings, "a red circle", enable_empty_final_response=True)
    second = search(drawings, "a blue circle", enable_empty_final_response=True, request_id="b")
    results = [result.get_response() for result in answers(client_of, 6, first, second)]
    assert all(len(result.outputs) == 3 for result in results)
    assert sum(r.parameters["triton_final_response"].bool_param for r in results) == 2


def test_a_bad_request_on_a_stream_fails_alone(
    client_of: triton.InferenceServerClient, drawings: str
) -> None:
    bad = search("nowhere", "a red circle", request_id="bad")
    error, *_ = answers(client_of, 1, bad)
    assert isinstance(error, InferenceServerException)
    assert "nowhere" in str(error)
    came = answers(client_of, 4, bad, search(drawings, "a red circle"))
    assert sum(isinstance(answer, InferenceServerException) for answer in came) == 1


def test_encoders_answer_a_stream_in_order(client_of: triton.InferenceServerClient) -> None:
    requests = [
        {
            "model_name": model,
            "inputs": [tensor("TEXT", [text])],
            "request_id": str(n),
        }
        for n, (model, text) in enumerate(
            [("minilm", "word " * 200), ("bm25", "a"), ("minilm", "b"), ("bm25", "c")]
        )
    ]
    results = answers(client_of, 4, *requests)
    assert [result.get_response().id for result in results] == ["0", "1", "2", "3"]


def test_a_model_is_loaded_again(client_of: triton.InferenceServerClient) -> None:
    """bm25, which another test's calls do not ask for by version."""
    before = int(client_of.get_model_metadata("bm25").versions[0])
    client_of.load_model("bm25")
    now = str(before + 1)
    index = {m.name: (m.version, m.state) for m in client_of.get_model_repository_index().models}
    assert index["bm25"] == (now, "READY")
    assert client_of.is_model_ready("bm25", now)
    assert not client_of.is_model_ready("bm25", str(before))
    result = client_of.infer("bm25", [tensor("TEXT", ["a red circle"])])
    assert result.get_response().model_version == now


def test_a_model_that_cannot_change_stays(client_of: triton.InferenceServerClient) -> None:
    elsewhere = '{"parameters": {"folder": {"string_value": "v2"}}}'
    calls: tuple[tuple[Callable[[], Any], str, str], ...] = (
        (
            lambda: client_of.unload_model("minilm"),
            "FAILED_PRECONDITION",
            "minilm: needed by pipelines: default, pictures",
        ),
        (
            lambda: client_of.unload_model("default.rerank"),
            "FAILED_PRECONDITION",
            "part of pipeline default",
        ),
        (
            lambda: client_of.load_model("minilm", config=elsewhere),
            "FAILED_PRECONDITION",
            "models_folder is not set",
        ),
        (lambda: client_of.load_model("minilm", config="[]"), "INVALID_ARGUMENT", "not a model's"),
        (
            lambda: client_of.load_model("minilm", config="{}", files={"file:1/model.onnx": b"x"}),
            "UNIMPLEMENTED",
            "files are not taken here",
        ),
        (lambda: client_of.load_model("nobody"), "NOT_FOUND", "'nobody' is not one of"),
    )
    for call, code, message in calls:
        with pytest.raises(InferenceServerException, match=message) as refused:
            call()
        assert refused.value.status() == f"StatusCode.{code}"
    assert client_of.is_model_ready("minilm")


def test_statistics_tell_of_the_queue_and_of_batches(
    client_of: triton.InferenceServerClient,
) -> None:
    """More texts than one batch holds: some wait while the others run."""

    def counts() -> Any:
        return client_of.get_inference_statistics("minilm").model_stats[0]

    before = counts()
    client_of.infer("minilm", [tensor("TEXT", [f"{n} word" for n in range(100)])])
    after = counts()
    queue, infer = after.inference_stats.queue, after.inference_stats.compute_infer
    assert queue.ns > before.inference_stats.queue.ns
    assert infer.ns > before.inference_stats.compute_infer.ns
    assert after.inference_count - before.inference_count == 100
    assert 4 <= after.execution_count - before.execution_count < 100
    sizes = {batch.batch_size for batch in after.batch_stats}
    assert max(sizes) <= SHIPPED.batch.max_size
    assert sum(batch.compute_infer.ns for batch in after.batch_stats) > 0


def test_statistics_grow(client_of: triton.InferenceServerClient) -> None:
    def counts() -> Any:
        return client_of.get_inference_statistics("minilm").model_stats[0]

    before = counts()
    client_of.infer("minilm", [tensor("TEXT", ["a", "b"])])
    with pytest.raises(InferenceServerException):
        client_of.infer("minilm", [])
    after = counts()
    assert after.inference_count - before.inference_count == 2
    for part in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        grown = getattr(after.inference_stats, part).count
        assert grown - getattr(before.inference_stats, part).count == 1, part
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert after.last_inference >= before.last_inference
    assert len(client_of.get_inference_statistics().model_stats) == 7


async def test_nothing_blocks_the_event_loop(tmp_path: Path) -> None:
    """The server runs in the test's own loop, so that blockbuster sees what blocks it."""
    minilm = MethodSettings(
        method="minilm", settings={"folder": str(ROOT / "artifacts" / "minilm")}
    )
    own = replace(
        SHIPPED,
        listen="127.0.0.1:0",
        encoders=SHIPPED.encoders | {"minilm": minilm},
        store=replace(SHIPPED.store, folder=str(tmp_path)),
    )
    async with (
        open_app(own) as app,
        Server(app) as server,
        AsyncClient(f"127.0.0.1:{server.port}") as tamis,
        triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client,
    ):
        assert (await tamis.upsert("c", documents()).final()).upserted == 12

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield search("c", "a red circle")
            yield {
                "model_name": "tamis_mini",
                "inputs": [tensor("IMAGE", [drawing("circle", "red")])],
            }

        came = [pair async for pair in client.stream_infer(requests())]
        assert [error for _, error in came] == 4 * [None]
        await client.get_server_metadata()
        passages = [tensor("QUERY", ["a"]), tensor("PASSAGE", ["a", "b"])]
        await client.infer("default.rerank", passages)
        await client.infer("minilm", [tensor("TEXT", TEXTS)])


ANALYZER = Path(os.environ.get("PERF_ANALYZER_CACHE", "~/.cache/tamis/perf_analyzer")).expanduser()


@pytest.mark.skipif(not ANALYZER.exists(), reason="tests/load/perf_analyzer.sh has fetched nothing")
def test_perf_analyzer_is_content(served: Served, drawings: str) -> None:
    """Unary, async, streaming, Poisson: each run exits 0."""
    done = subprocess.run(
        [ROOT / "tests/load/perf_analyzer.sh", served.target, drawings],
        env=os.environ | {"REQUESTS": "20", "RATE": "10"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    model=st.sampled_from(["minilm", "bm25", "tamis_mini", "default.rerank"]),
    name=st.sampled_from(["TEXT", "IMAGE", "QUERY", "PASSAGE", "?"]),
    datatype=st.sampled_from(["BYTES", "INT32", "FP32", "NONE"]),
    shape=st.lists(st.integers(-2, 3), max_size=3),
    data=st.binary(max_size=24),
)
def test_random_bytes_are_answered_or_refused(
    served: Served, model: str, name: str, datatype: str, shape: list[int], data: bytes
) -> None:
    request = triton.service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[data])
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    with grpc.insecure_channel(served.target) as channel:
        stub = triton.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        try:
            assert stub.ModelInfer(request).raw_output_contents
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017
    assert served.process.poll() is None


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.binary(max_size=8), min_size=1, max_size=3),
    collections=st.lists(st.binary(max_size=8), min_size=1, max_size=3),
    k=st.integers(-(2**31), 2**31 - 1),
)
def test_a_random_search_fails_alone(
    served: Served, texts: list[bytes], collections: list[bytes], k: int
) -> None:
    """The stream is still good for the next request."""
    random = triton.service_pb2.ModelInferRequest(model_name="default", id="random")
    for name, values in (("QUERY_TEXT", texts), ("COLLECTION", collections)):
        given_ = random.inputs.add(name=name, datatype="BYTES", shape=[len(values)])
        given_.contents.bytes_contents.extend(values)
    random.inputs.add(name="K", datatype="INT32", shape=[1]).contents.int_contents.append(k)
    good = triton.service_pb2.ModelInferRequest(model_name="bm25", id="good")
    good.inputs.add(name="TEXT", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
    with grpc.insecure_channel(served.target) as channel:
        stub = triton.service_pb2_grpc.GRPCInferenceServiceStub(channel)
        came = {a.infer_response.id: a for a in stub.ModelStreamInfer(iter([random, good]))}
    assert came["random"].error_message not in {"", "internal error"}
    assert came["good"].infer_response.raw_output_contents


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=64))
def test_a_call_of_random_bytes_is_answered_or_refused(served: Served, data: bytes) -> None:
    with grpc.insecure_channel(served.target) as channel:
        call: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            call(data)
    assert refused.value.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
