"""What every model makes of a request's parameters, whatever it answers."""

import asyncio
from typing import Any

import pytest

from tamis.models.errors import InputError
from tamis.server.errors import DeadlineError
from tamis.server.oip.messages import ModelInferRequest
from tamis.server.oip.models import Answer, Asked, SingleModel
from tamis.server.oip.tensors import ANY, Tensor, Value

TEXT = Tensor("TEXT", "BYTES", (ANY, 1), most=4)
OTHER = Tensor("OTHER", "BYTES", (ANY, 1))


class Echo(SingleModel):
    """Answers TEXT, and OTHER, after a while; and knows whether it was let."""

    platform = "echo"

    def __init__(self, seconds: float = 0) -> None:
        super().__init__("echo", [TEXT], [TEXT, OTHER], max_batch=4)
        self.seconds = seconds
        self.cancelled = False

    async def values(self, asked: Asked) -> dict[str, Value]:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return {"TEXT": asked.inputs["TEXT"], "OTHER": [b""]}


def request(**parameters: object) -> Any:
    made = ModelInferRequest(model_name="echo")
    made.inputs.add(name="TEXT", datatype="BYTES", shape=[2]).contents.bytes_contents.extend(
        [b"a", b"b"]
    )
    for name, value in parameters.items():
        kind = "string_param" if isinstance(value, str) else "int64_param"
        setattr(made.parameters[name], kind, value)
    return made


async def answers(model: SingleModel, asked: Asked) -> list[Answer]:
    given: list[Answer] = []

    async def emit(answer: Answer) -> None:
        given.append(answer)

    await model.answer(asked, emit)
    return given


def test_a_request_without_parameters_is_interactive_and_unbounded() -> None:
    asked = Echo().asked(request(), None)
    assert (asked.timeout_s, asked.bulk, asked.side, asked.count) == (None, False, "query", 2)


@pytest.mark.parametrize(("priority", "bulk"), [(0, False), (1, False), (2, True), (9, True)])
def test_a_priority_below_the_highest_is_bulk(priority: int, bulk: bool) -> None:
    assert Echo().asked(request(priority=priority), None).bulk is bulk


@pytest.mark.parametrize(
    ("timeout_us", "remaining_s", "expected"),
    [(0, None, None), (1_500_000, None, 1.5), (1_500_000, 1.0, 1.0), (500_000, 1.0, 0.5)],
)
def test_the_earlier_deadline_holds(
    timeout_us: int, remaining_s: float | None, expected: float | None
) -> None:
    assert Echo().asked(request(timeout=timeout_us), remaining_s).timeout_s == expected


@pytest.mark.parametrize(
    ("name", "value"), [("timeout", "1"), ("timeout", -1), ("priority", "high"), ("side", "left")]
)
def test_a_parameter_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"parameters\[{name}\]: must"):
        Echo().asked(request(**{name: value}), None)


async def test_what_is_not_wanted_is_left_out() -> None:
    asked = request()
    asked.outputs.add(name="TEXT")
    (answer,) = await answers(Echo(), Echo().asked(asked, None))
    assert answer == Answer({"TEXT": [b"a", b"b"]}, final=True)


async def test_work_that_is_late_is_cancelled() -> None:
    model = Echo(seconds=60)
    with pytest.raises(DeadlineError, match="echo: no answer within 10 ms"):
        await answers(model, model.asked(request(timeout=10_000), None))
    assert model.cancelled
