"""What a RepositoryModelLoad asks for."""

import json
from typing import Any

import pytest

from tamis.models.errors import InputError
from tamis.server.errors import UnimplementedError
from tamis.server.oip.messages import message
from tamis.server.oip.repository import folder_of


def parameters(**values: str | int) -> Any:
    request = message("RepositoryModelLoadRequest")(model_name="m")
    for name, value in values.items():
        kind = "string_param" if isinstance(value, str) else "int64_param"
        setattr(request.parameters[name], kind, value)
    return request.parameters


def config(value: object) -> str:
    return json.dumps({"name": "m", "parameters": {"folder": {"string_value": value}}})


def test_a_folder_is_named_by_itself_or_in_the_configuration() -> None:
    assert folder_of(parameters()) is None
    assert folder_of(parameters(folder="v2")) == "v2"
    assert folder_of(parameters(config=config("v3"))) == "v3"
    assert folder_of(parameters(config="{}")) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"folder": 2}, r"parameters\[folder\]: must be a string"),
        ({"other": "x"}, r"parameters\[other\]: unknown; known: folder, config"),
        ({"config": "{"}, r"parameters\[config\]: not a model's configuration"),
        ({"config": "[1]"}, r"parameters\[config\]: not a model's configuration"),
        ({"config": config(3)}, "string_value must be a string"),
    ],
)
def test_what_cannot_be_read_is_refused(given: dict[str, str | int], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        folder_of(parameters(**given))


def test_files_are_not_taken() -> None:
    with pytest.raises(UnimplementedError, match=r"file:1/model\.onnx: files are not taken here"):
        folder_of(parameters(**{"file:1/model.onnx": "x"}))
