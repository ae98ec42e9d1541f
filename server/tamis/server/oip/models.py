"""What the inference service calls a model: its tensors, and a function of a request."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, final

from tamis.models.errors import InputError
from tamis.server.errors import DeadlineError
from tamis.server.oip.messages import DATA_TYPES, ModelConfig, ModelMetadataResponse
from tamis.server.oip.statistics import Watch
from tamis.server.oip.tensors import Tensor, Value, read, wanted

BULK_PRIORITY: Final = 2  # in Triton 1 is the highest priority and 0 the default


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read and checked.

    Attributes:
        inputs: By the tensors' names.
        outputs: The names of the outputs that are wanted.
        count: Items in it, for models that take batches; else 1.
        timeout_s: How long it may take, in seconds; None for no bound.
        bulk: Whether it gives way to interactive requests.
        side: ``query`` or ``document``; for encoders.
        instruction: What kind of answer is wanted, in words; for encoders trained with that.
        task: One with a known instruction, in its place.
        watch: Is told what each item waits for.
    """

    inputs: Mapping[str, Value]
    outputs: frozenset[str]
    count: int = 1
    timeout_s: float | None = None
    bulk: bool = False
    side: str = "query"
    instruction: str | None = None
    task: str | None = None
    watch: Watch = field(default_factory=Watch, compare=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a request.

    Attributes:
        values: By the tensors' names.
        final: Whether no other answer follows.
        parameters: What else the caller should know.
    """

    values: Mapping[str, Value]
    final: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)


Emit = Callable[[Answer], Awaitable[None]]


class Model(ABC):
    """Answers requests: once, or, if it is decoupled, as often as it likes.

    Args:
        name: What requests call it.
        inputs: What it takes.
        outputs: What it gives.
        max_batch: Items of one request, at most; 0 if its tensors have no batch axis.
    """

    platform: ClassVar[str]
    decoupled: ClassVar[bool] = False

    def __init__(
        self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, max_batch: int = 0
    ) -> None:
        self.name = name
        self.inputs = inputs
        self.outputs = outputs
        self.max_batch = max_batch

    @abstractmethod
    async def answer(self, asked: Asked, emit: Emit) -> None:
        """Gives each answer to `emit`.

        Raises:
            TamisError: The request cannot be answered.
        """

    def asked(self, request: Any, remaining_s: float | None) -> Asked:
        """A `ModelInferRequest`, read and checked.

        Args:
            request: The message.
            remaining_s: What is left of the call's own deadline, in seconds; None for all.

        Raises:
            InputError: It breaks a rule; the message names the tensor or the parameter.
        """
        inputs = read(request, self.inputs)
        parameters = request.parameters
        timeout_us = _whole(parameters, "timeout")
        times = [1e-6 * timeout_us] if timeout_us else []
        if remaining_s is not None:
            times.append(remaining_s)
        side = _text(parameters, "side")
        if side is None:
            side = "query"
        if side not in {"query", "document"}:
            raise InputError(f"parameters[side]: must be 'query' or 'document', not {side!r}")
        return Asked(
            inputs=inputs,
            outputs=wanted(request, self.outputs),
            count=max(map(len, inputs.values()), default=1) if self.max_batch else 1,
            timeout_s=min(times, default=None),
            bulk=_whole(parameters, "priority") >= BULK_PRIORITY,
            side=side,
            instruction=_text(parameters, "instruction"),
            task=_text(parameters, "task"),
        )

    def metadata(self, versions: Sequence[str]) -> Any:
        """Its `ModelMetadataResponse`."""
        made = ModelMetadataResponse(name=self.name, versions=versions, platform=self.platform)
        for field_, tensors in ((made.inputs, self.inputs), (made.outputs, self.outputs)):
            for tensor in tensors:
                field_.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return made

    def config(self) -> Any:
        """Its `ModelConfig`; shapes are without the batch axis there."""
        made = ModelConfig(name=self.name, platform=self.platform, max_batch_size=self.max_batch)
        made.model_transaction_policy.decoupled = self.decoupled
        if self.max_batch:
            made.dynamic_batching.SetInParent()
        for tensor in self.inputs:
            made.input.add(**self._configured(tensor), optional=tensor.optional)
        for tensor in self.outputs:
            made.output.add(**self._configured(tensor))
        return made

    def _configured(self, tensor: Tensor) -> dict[str, Any]:
        kind = DATA_TYPES.index(tensor.datatype.replace("BYTES", "STRING"))
        dims = tensor.shape[1:] if self.max_batch else tensor.shape
        return {"name": tensor.name, "data_type": kind, "dims": dims}


class SingleModel(Model):
    """Answers a request once."""

    @abstractmethod
    async def values(self, asked: Asked) -> dict[str, Value]:
        """The answer's tensors, by name; those that are not wanted are left out of the answer.

        Raises:
            TamisError: The request cannot be answered.
        """

    @final
    async def answer(self, asked: Asked, emit: Emit) -> None:
        timeout = asyncio.timeout(asked.timeout_s)
        try:
            async with timeout:
                values = await self.values(asked)
        except TimeoutError:
            if timeout.expired():
                ms = 1e3 * (asked.timeout_s or 0.0)
                raise DeadlineError(f"{self.name}: no answer within {ms:.0f} ms") from None
            raise
        await emit(Answer({name: value for name, value in values.items() if name in asked.outputs}))


def _whole(parameters: Any, name: str) -> int:
    """A parameter that is a whole number from 0; 0 where it is not given."""
    if name not in parameters:
        return 0
    kind = parameters[name].WhichOneof("parameter_choice")
    if kind not in {"int64_param", "uint64_param"}:
        raise InputError(f"parameters[{name}]: must be an int64 or a uint64")
    value = int(getattr(parameters[name], kind))
    if value < 0:
        raise InputError(f"parameters[{name}]: must not be below 0, not {value}")
    return value


def _text(parameters: Any, name: str) -> str | None:
    """A parameter that is a text; None where it is not given."""
    if name not in parameters:
        return None
    if parameters[name].WhichOneof("parameter_choice") != "string_param":
        raise InputError(f"parameters[{name}]: must be a string")
    return str(parameters[name].string_param)
