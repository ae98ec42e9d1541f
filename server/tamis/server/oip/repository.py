"""What a RepositoryModelLoad asks for."""

import json
from collections.abc import Mapping
from typing import Any

from tamis.models.errors import InputError
from tamis.server.errors import UnimplementedError


def folder_of(parameters: Mapping[str, Any]) -> str | None:
    """The folder below `models_folder` that a request names; None for the present one.

    It is the parameter `folder`, or, for clients that send nothing but a model's configuration, the
    parameter of that name in `config`: `{"parameters": {"folder": {"string_value": "v2"}}}`.

    Raises:
        InputError: A parameter is not one of these.
        UnimplementedError: The model's files came with the call.
    """
    for name in parameters:
        if name.startswith("file:"):
            raise UnimplementedError(f"{name[:80]}: files are not taken here; name a folder")
        if name not in {"folder", "config"}:
            raise InputError(f"parameters[{name[:80]}]: unknown; known: folder, config")
        if parameters[name].WhichOneof("parameter_choice") != "string_param":
            raise InputError(f"parameters[{name}]: must be a string")
    if "folder" in parameters:
        return str(parameters["folder"].string_param)
    return _configured(parameters["config"].string_param) if "config" in parameters else None


def _configured(config: str) -> str | None:
    try:
        table = json.loads(config)
        folder = table.get("parameters", {}).get("folder", {}).get("string_value")
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"parameters[config]: not a model's configuration: {error}") from error
    if not isinstance(folder, str | None):
        raise InputError("parameters[config]: folder's string_value must be a string")
    return folder
