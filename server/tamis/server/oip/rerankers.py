"""Rerankers as models: a query and passages in, the passages' order and scores out."""

from typing import ClassVar

import numpy as np

from tamis.models.rerankers import Reranker
from tamis.models.types import Candidate, Content, Representation, Side
from tamis.server.config import Limits
from tamis.server.content import RawContent, raw_content
from tamis.server.encoders import Encoders
from tamis.server.oip.models import Asked, SingleModel
from tamis.server.oip.tensors import ANY, Tensor, Value, text
from tamis.server.reranking import best_ranking, clock_until
from tamis.server.services.rerank import MAX_DOCUMENTS
from tamis.server.tasks import together
from tamis.v1 import content_pb2


class RerankModel(SingleModel):
    """A pipeline's reranker, under the tensors' names of NVIDIA's NIM.

    `INDEX` is the places of the passages in the request, best first, and `SCORE` their scores in
    that order.
    """

    platform: ClassVar = "tamis_reranker"

    def __init__(self, name: str, reranker: Reranker, encoders: Encoders, limits: Limits) -> None:
        super().__init__(
            name,
            [
                Tensor("QUERY", "BYTES", (1,)),
                Tensor("PASSAGE", "BYTES", (ANY,), most=MAX_DOCUMENTS),
            ],
            [Tensor("INDEX", "INT64", (ANY,)), Tensor("SCORE", "FP32", (ANY,))],
        )
        self._reranker = reranker
        self._encoders = encoders
        self._limits = limits

    async def values(self, asked: Asked) -> dict[str, Value]:
        clock, needs = clock_until(asked.timeout_s), self._reranker.needs
        contents = {name: self._contents(name, asked.inputs[name]) for name in ("QUERY", "PASSAGE")}
        query, _ = await self._encoders.query(contents["QUERY"][0], needs, bulk=asked.bulk)
        candidates = await together(
            *(self._candidate(n, c, asked) for n, c in enumerate(contents["PASSAGE"]))
        )
        ranked = await best_ranking(self._reranker, query, candidates, clock)
        return {
            "INDEX": np.array([int(candidate.document_id) for candidate in ranked]),
            "SCORE": np.array([candidate.score for candidate in ranked]),
        }

    def _contents(self, name: str, elements: Value) -> list[RawContent]:
        texts = [text(name, n, data) for n, data in enumerate(elements)]
        return [
            raw_content(content_pb2.Content(text=one), self._limits, where=f"{name}[{n}]")
            for n, one in enumerate(texts)
        ]

    async def _candidate(self, n: int, content: RawContent, asked: Asked) -> Candidate:
        found: dict[str, Representation] = {}
        for name in sorted({full.partition(".")[0] for full in self._reranker.needs}):
            if self._encoders[name].modalities & content.modalities:
                encoding = await self._encoders.encode(
                    name, content, Side.DOCUMENT, bulk=asked.bulk
                )
                found |= {f"{name}.{head}": value for head, value in encoding.heads.items()}
        return Candidate(str(n), 0.0, Content(content.text), found)
