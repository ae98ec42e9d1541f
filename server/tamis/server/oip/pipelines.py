"""Pipelines as decoupled models: a query in, the ranking out after every stage."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from tamis.models.errors import InputError
from tamis.server.oip.models import Answer, Asked, Emit, Model
from tamis.server.oip.tensors import ANY, Tensor, Value, text
from tamis.server.pipeline import Pipeline
from tamis.server.services.session import Answer as Search
from tamis.v1 import document_pb2, stage_pb2
from tamis.v1 import retrieval_service_pb2 as pb


class PipelineModel(Model):
    """One pipeline.

    A stage that is left out is answered as well, with the ranking as it stands and the reason as
    the parameter `skipped`: the last answer is known when it is sent, and says that it is the last.

    Args:
        name: The pipeline's.
        pipeline: What it is made of.
        search: Answers a search of `tamis.v1`, event by event.
    """

    platform: ClassVar = "tamis_pipeline"
    decoupled: ClassVar = True

    def __init__(self, name: str, pipeline: Pipeline, search: Search) -> None:
        super().__init__(
            name,
            [
                Tensor("QUERY_TEXT", "BYTES", (1,), optional=True),
                Tensor("QUERY_IMAGE", "BYTES", (1,), optional=True),
                Tensor("COLLECTION", "BYTES", (1,)),
                Tensor("K", "INT32", (1,), optional=True),
            ],
            [
                Tensor("STAGE", "BYTES", (1,)),
                Tensor("IDS", "BYTES", (ANY,)),
                Tensor("SCORES", "FP32", (ANY,)),
            ],
        )
        self._last = pipeline.stages[-1].kind
        self._search = search

    async def answer(self, asked: Asked, emit: Emit) -> None:
        hits: Sequence[stage_pb2.Hit] = ()

        async def write(response: pb.SearchResponse) -> None:
            nonlocal hits
            parameters = {}
            match response.WhichOneof("event"):
                case "result":
                    hits = response.result.hits
                case "skipped":
                    parameters["skipped"] = response.skipped.message
                case _:
                    return
            values = _values(response.stage, hits)
            final = response.stage == self._last
            wanted = {name: value for name, value in values.items() if name in asked.outputs}
            await emit(Answer(wanted, final, parameters))

        await self._search(_request(self.name, asked), write, timeout_s=asked.timeout_s)


def _request(pipeline: str, asked: Asked) -> pb.SearchRequest:
    inputs = asked.inputs
    request = pb.SearchRequest(
        pipeline=pipeline,
        collection=text("COLLECTION", 0, _only(inputs, "COLLECTION")),
        view=document_pb2.DOCUMENT_VIEW_ID,
    )
    if data := _only(inputs, "QUERY_TEXT"):
        request.query.text = text("QUERY_TEXT", 0, data)
    if data := _only(inputs, "QUERY_IMAGE"):
        request.query.image.data = data
    if "K" in inputs:
        k = int(inputs["K"][0])
        if k < 1:
            raise InputError(f"K: must be at least 1, not {k}")
        request.k = k
    if asked.bulk:
        request.options.priority = pb.PRIORITY_BULK
    return request


def _only(inputs: Mapping[str, Value], name: str) -> bytes:
    """The one element of an input; nothing where it is not given."""
    return bytes(inputs[name][0]) if name in inputs else b""


def _values(stage: stage_pb2.Stage.ValueType, hits: Sequence[stage_pb2.Hit]) -> dict[str, Value]:
    name = stage_pb2.Stage.Name(stage).removeprefix("STAGE_").lower()
    return {
        "STAGE": [name.encode()],
        "IDS": [hit.document_id.encode() for hit in hits],
        "SCORES": np.array([hit.score for hit in hits]),
    }
