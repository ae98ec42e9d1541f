"""An encoder of both modalities as a model: what it is given, and what of it comes back."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from drawings import drawing

from tamis.models import instructions
from tamis.models.encoders import Encoder
from tamis.models.errors import InputError, SettingsError
from tamis.models.types import Content, Encoding, Head, Kind, Modality, Side, Sparse
from tamis.server.cache.embeddings import EmbeddingCache
from tamis.server.cache.settings import CacheSettings
from tamis.server.config import BatchSettings, Limits
from tamis.server.encoders import Encoders
from tamis.server.oip.encoders import EncoderModel
from tamis.server.oip.messages import ModelInferRequest
from tamis.server.oip.service import by_name

PICTURE = drawing("circle", "red")


@dataclass(frozen=True, kw_only=True)
class Both(Encoder):
    """Sees if there is an image, how long the instruction is, and letters; "?" is not dense."""

    checked: ClassVar = "by definition"
    modalities: ClassVar = frozenset({Modality.TEXT, Modality.IMAGE})

    @property
    def heads(self) -> Mapping[str, Head]:
        return {
            "dense": Head(Kind.DENSE, 1, "seen"),
            "letters": Head(Kind.MULTI, 2, "letters"),
            "terms": Head(Kind.SPARSE, 0, "terms"),
        }

    @property
    def fingerprint(self) -> str:
        return "both"

    def encode(self, contents: Sequence[Content], side: Side) -> list[Encoding]:
        return [self._encoding(content) for content in contents]

    def _encoding(self, content: Content) -> Encoding:
        codes = np.array([ord(letter) for letter in content.text or ""], dtype=np.int64)
        heads: dict[str, Any] = {"dense": np.array([content.image is not None], np.float32)}
        heads["dense"] += len(content.instruction or "")
        if content.text == "?":
            del heads["dense"]
        if len(codes):
            heads["letters"] = np.stack([codes, codes], axis=1).astype(np.float32)
            heads["terms"] = Sparse(codes, codes.astype(np.float32))
        return Encoding(heads)


@pytest.fixture
async def encoders() -> AsyncIterator[Encoders]:
    cache = EmbeddingCache(CacheSettings())
    async with Encoders({"both": Both()}, cache, BatchSettings()) as encoders:
        yield encoders
    await cache.close()


@pytest.fixture
def model(encoders: Encoders) -> EncoderModel:
    return EncoderModel("both", encoders, Limits())


def request(**inputs: Sequence[bytes]) -> Any:
    made = ModelInferRequest(model_name="both")
    for name, items in inputs.items():
        tensor = made.inputs.add(name=name, datatype="BYTES", shape=[len(items)])
        tensor.contents.bytes_contents.extend(items)
    return made


def test_either_input_may_be_left_out(model: EncoderModel) -> None:
    assert [(t.name, t.optional) for t in model.inputs] == [("TEXT", True), ("IMAGE", True)]


async def test_an_empty_element_is_none(model: EncoderModel) -> None:
    asked = model.asked(request(TEXT=[b"a", b"", b"b"], IMAGE=[PICTURE, PICTURE, b""]), None)
    values = await model.values(asked)
    assert np.array_equal(values["dense"], [[1], [1], [0]])


async def test_shorter_rows_are_padded_with_zeros(model: EncoderModel) -> None:
    values = await model.values(model.asked(request(TEXT=[b"ab", b"c", b"?!"]), None))
    assert np.array_equal(values["letters_LENGTHS"], [2, 1, 2])
    expected = [[[97, 97], [98, 98]], [[99, 99], [0, 0]], [[63, 63], [33, 33]]]
    assert np.array_equal(values["letters"], expected)


async def test_a_sparse_head_is_padded_alike(model: EncoderModel) -> None:
    asked = model.asked(request(TEXT=[b"ab", b""], IMAGE=[PICTURE, PICTURE]), None)
    values = await model.values(asked)
    assert np.array_equal(values["terms_LENGTHS"], [2, 0])
    assert np.array_equal(values["terms_INDICES"], [[97, 98], [0, 0]])
    assert np.array_equal(values["terms_VALUES"], [[97, 98], [0, 0]])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "one of TEXT, IMAGE must be given"),
        ({"TEXT": [b"a", b"b"], "IMAGE": [PICTURE]}, "equally many .* TEXT has 2, IMAGE has 1"),
        ({"TEXT": [b"a", b""]}, r"items\[1\]: is empty"),
        ({"TEXT": [b"a", b"?"]}, r"items\[1\]: has nothing that dense is made of"),
        ({"IMAGE": [PICTURE, b"GIF89a"]}, r"items\[1\]: the picture is damaged"),
    ],
    ids=["none", "unequal", "empty", "nothing dense", "damaged"],
)
async def test_what_cannot_be_encoded_is_named(
    model: EncoderModel, inputs: dict[str, Sequence[bytes]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        await model.values(model.asked(request(**inputs), None))


async def test_an_answer_too_large_for_a_message_is_refused(encoders: Encoders) -> None:
    model = EncoderModel("both", encoders, replace(Limits(), max_message_bytes=100))
    asked = request(TEXT=[b"abcdefghijklm"])
    with pytest.raises(InputError, match="letters of these items is 104 bytes; at most 100"):
        await model.values(model.asked(asked, None))
    asked.outputs.add(name="dense")
    assert (await model.values(model.asked(asked, None))).keys() == {"dense"}


def test_two_models_of_one_name_are_refused(model: EncoderModel) -> None:
    with pytest.raises(SettingsError, match=r"pipelines\.both: an encoder has that name"):
        by_name([model, model])


def parametrised(**parameters: str) -> Any:
    made = request(TEXT=[b"a", b"b"])
    for name, value in parameters.items():
        made.parameters[name].string_param = value
    return made


async def test_an_instruction_holds_for_all_items(model: EncoderModel) -> None:
    task = instructions.find("mbeir/cirr_task7")
    for parameters, read in (
        ({"instruction": "Find it."}, "Find it."),
        ({"task": "mbeir/cirr_task7"}, task.instruction),
        ({}, ""),
    ):
        values = await model.values(model.asked(parametrised(**parameters), None))
        assert np.array_equal(values["dense"], [[len(read)], [len(read)]])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"task": "mbeir/nothing"}, r"parameters\[task\]: .*mbeir/nothing"),
        (
            {"task": "mbeir/cirr_task7", "instruction": "Find it."},
            r"parameters\[task\]: .* not both",
        ),
        ({"instruction": "x" * 70_000}, "instruction: 70000 bytes; at most"),
    ],
)
async def test_an_instruction_that_cannot_be_read_is_named(
    model: EncoderModel, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        await model.values(model.asked(parametrised(**parameters), None))


@pytest.mark.parametrize("name", ["instruction", "task", "side"])
def test_what_is_said_in_words_is_a_string(model: EncoderModel, name: str) -> None:
    made = request(TEXT=[b"a"])
    made.parameters[name].int64_param = 7
    with pytest.raises(InputError, match=rf"parameters\[{name}\]: must be a string"):
        model.asked(made, None)
