"""Encoders as models: texts and images in, each head as a tensor out."""

import asyncio
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tamis.models.errors import InputError
from tamis.models.types import Encoding, Head, Kind, Modality, Representation, Side, Sparse
from tamis.server.config import Limits
from tamis.server.content import RawContent, instruction_of, raw_content
from tamis.server.encoders import Encoders
from tamis.server.oip.models import Asked, SingleModel
from tamis.server.oip.tensors import ANY, Tensor, Value, padded, padded_bytes, text
from tamis.server.tasks import together
from tamis.v1 import content_pb2

# Items whose tensors are put together in less time than a change of threads takes.
FEW = 8
INPUTS = {Modality.TEXT: "TEXT", Modality.IMAGE: "IMAGE"}


class EncoderModel(SingleModel):
    """One encoder.

    The request's parameters `side`, and for encoders that were trained with instructions
    `instruction`, in words, or `task`, by a name such as ``mbeir/cirr_task7``, hold for all items.

    It reads `TEXT`, `IMAGE` or both; an empty element is none. A dense head `h` is FP32 [n, dim].
    The vectors of a head of many are FP32 [n, longest, dim], zeros after the shorter ones, and
    `h_LENGTHS` says how many are real. A sparse head is `h_INDICES`, `h_VALUES` and `h_LENGTHS`.
    """

    platform: ClassVar = "tamis_encoder"

    def __init__(self, name: str, encoders: Encoders, limits: Limits) -> None:
        most, encoder = limits.max_batch_inputs, encoders[name]
        modalities = [modality for modality in INPUTS if modality in encoder.modalities]
        super().__init__(
            name,
            [
                Tensor(INPUTS[m], "BYTES", (ANY, 1), optional=len(modalities) > 1, most=most)
                for m in modalities
            ],
            [tensor for head, kind in encoder.heads.items() for tensor in _tensors(head, kind)],
            max_batch=most,
        )
        self._encoders = encoders
        self._heads = dict(encoder.heads)
        self._limits = limits

    async def values(self, asked: Asked) -> dict[str, Value]:
        contents = self._contents(asked)
        until = math.inf
        if asked.timeout_s is not None:
            until = asyncio.get_running_loop().time() + asked.timeout_s
        encodings = await together(
            *(self._encode(n, content, asked, until) for n, content in enumerate(contents))
        )
        if len(encodings) <= FEW:
            return self._values(encodings, asked.outputs)
        return await asyncio.to_thread(self._values, encodings, asked.outputs)

    def _contents(self, asked: Asked) -> list[RawContent]:
        inputs = asked.inputs
        counts = {name: len(elements) for name, elements in inputs.items()}
        if not counts:
            raise InputError(
                f"inputs: one of {', '.join(t.name for t in self.inputs)} must be given"
            )
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise InputError(f"inputs: must have equally many elements; {said}")
        instruction = instruction_of(asked.instruction, asked.task, where="parameters[task]")
        messages = [
            content_pb2.Content(instruction=instruction) for _ in range(next(iter(counts.values())))
        ]
        for n, data in enumerate(inputs.get("TEXT", ())):
            if data:
                messages[n].text = text("TEXT", n, data)
        for n, data in enumerate(inputs.get("IMAGE", ())):
            if data:
                messages[n].image.data = data
        return [raw_content(m, self._limits, where=f"items[{n}]") for n, m in enumerate(messages)]

    async def _encode(self, n: int, content: RawContent, asked: Asked, until: float) -> Encoding:
        try:
            with asked.watch.item() as item:
                return await self._encoders.encode(
                    self.name,
                    content,
                    Side(asked.side),
                    bulk=asked.bulk,
                    deadline=until,
                    watch=item,
                )
        except InputError as error:
            raise InputError(f"items[{n}]: {error}") from error

    def _values(self, encodings: Sequence[Encoding], wanted: frozenset[str]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for head, kind in self._heads.items():
            if wanted.isdisjoint(tensor.name for tensor in _tensors(head, kind)):
                continue
            made = [encoding.heads.get(head) for encoding in encodings]
            if kind.kind is Kind.DENSE:
                values[head] = _dense(head, made)
            elif kind.kind is Kind.MULTI:
                none = np.empty((0, kind.dim))
                rows = [row if isinstance(row, np.ndarray) else none for row in made]
                values |= self._many(head, head, "FP32", rows, (kind.dim,))
            else:
                values |= self._sparse(head, made)
        return values

    def _sparse(self, head: str, made: Sequence[Representation | None]) -> dict[str, Value]:
        none = Sparse(np.empty(0, np.int64), np.empty(0, np.float32))
        terms = [one if isinstance(one, Sparse) else none for one in made]
        indices, values = [t.indices for t in terms], [t.values for t in terms]
        return {
            **self._many(head, f"{head}_INDICES", "INT64", indices),
            **self._many(head, f"{head}_VALUES", "FP32", values),
        }

    def _many(
        self,
        head: str,
        name: str,
        dtype: str,
        rows: Sequence[np.ndarray],
        tail: tuple[int, ...] = (),
    ) -> dict[str, Value]:
        lengths = [len(row) for row in rows]
        size, most = padded_bytes(lengths, tail, dtype), self._limits.max_message_bytes
        if size > most:
            raise InputError(
                f"outputs: {name} of these items is {size} bytes; at most {most}: ask for fewer "
                "items, or for other outputs"
            )
        return {name: padded(rows, tail, dtype), f"{head}_LENGTHS": np.array(lengths)}


def _tensors(head: str, kind: Head) -> list[Tensor]:
    if kind.kind is Kind.DENSE:
        return [Tensor(head, "FP32", (ANY, kind.dim))]
    lengths = Tensor(f"{head}_LENGTHS", "INT64", (ANY,))
    if kind.kind is Kind.MULTI:
        return [Tensor(head, "FP32", (ANY, ANY, kind.dim)), lengths]
    return [
        Tensor(f"{head}_INDICES", "INT64", (ANY, ANY)),
        Tensor(f"{head}_VALUES", "FP32", (ANY, ANY)),
        lengths,
    ]


def _dense(head: str, made: Sequence[Representation | None]) -> np.ndarray:
    rows = []
    for n, row in enumerate(made):
        if not isinstance(row, np.ndarray):
            raise InputError(f"items[{n}]: has nothing that {head} is made of")
        rows.append(row)
    return np.stack(rows)
