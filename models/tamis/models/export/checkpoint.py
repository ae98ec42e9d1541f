"""Published weights: found, read, and put into a network to the last key.

Reads safetensors only. A pickle runs code when it is opened, so it is refused.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tamis.models.errors import ModelError

WEIGHTS = "model.safetensors"  # Hugging Face's name for it; where it is not there, the only one
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
FETCHED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model")
CONVERT = (
    "a pickle can run code when it is opened: convert it with safetensors.torch.save_file("
    "torch.load(path, weights_only=True), 'model.safetensors')"
)


@dataclass(frozen=True)
class Checkpoint:
    """A folder with published weights.

    Attributes:
        folder: Where its files are.
        name: What it was asked for by: a hub id, or the folder's name.
        config: What its `config.json` says; empty where there is none.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]

    @classmethod
    def open(cls, source: str | Path) -> "Checkpoint":
        """Finds a checkpoint.

        Args:
            source: A folder, or what is no folder: the id of a model on the Hugging Face hub, of
                which everything but pickles is fetched.

        Raises:
            ModelError: There is no such folder or model, or its `config.json` is damaged.
        """
        folder = Path(source)
        name = folder.resolve().name
        if not folder.is_dir():
            folder, name = _fetched(str(source)), str(source)
        path = folder / "config.json"
        return cls(folder, name, json_table(path) if path.exists() else {})

    @property
    def files(self) -> frozenset[str]:
        """The names of its files."""
        return frozenset(path.name for path in self.folder.iterdir() if path.is_file())

    def part(self, name: str) -> Path:
        """One of its folders.

        Raises:
            ModelError: It has no such folder.
        """
        path = self.folder / name
        if not path.is_dir():
            raise ModelError(f"{path}: no such folder")
        return path

    def table(self, name: str) -> dict[str, Any]:
        """What one of its JSON files says; empty where there is no such file.

        Raises:
            ModelError: The file is damaged.
        """
        path = self.folder / name
        return json_table(path) if path.exists() else {}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """What one of its JSON files lists.

        Raises:
            ModelError: The file is missing, or no list of objects.
        """
        path = self.folder / name
        parsed = _json(path)
        if not isinstance(parsed, list) or not all(isinstance(row, dict) for row in parsed):
            raise ModelError(f"{path}: not a list of JSON objects")
        return parsed

    def tensors(self) -> dict[str, Tensor]:
        """The weights by their keys, floating ones in float32.

        Raises:
            ModelError: There are none, they are pickled, or a file is missing or damaged.
        """
        indexes = sorted(self.folder.glob("*.safetensors.index.json"))
        if not indexes:
            return read_tensors(self._weights())
        shards: Mapping[str, str] = json_table(indexes[0]).get("weight_map", {})
        found: dict[str, Tensor] = {}
        for shard in sorted(set(shards.values())):
            found |= read_tensors(self.folder / Path(shard).name)
        if missing := sorted(shards.keys() - found.keys()):
            raise ModelError(f"{indexes[0]}: {missing[0]}: is not in {shards[missing[0]]}")
        return found

    def _weights(self) -> Path:
        files = sorted(self.folder.glob("*.safetensors"))
        if len(files) > 1:
            files = [path for path in files if path.name == WEIGHTS] or files
        if len(files) == 1:
            return files[0]
        if files:
            names = ", ".join(path.name for path in files)
            raise ModelError(f"{self.folder}: which of these holds the weights? {names}")
        for path in sorted(self.folder.iterdir()):
            if path.suffix in PICKLES:
                raise ModelError(f"{path}: {CONVERT}")
        raise ModelError(f"{self.folder}: has no .safetensors file")


def load(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str | None] = lambda key: key,
    ignore: Collection[str] = (),
) -> None:
    """Puts a checkpoint's tensors into a network, each key into its place.

    A parameter that shares its memory with one that is there may be missing: it is tied.

    Args:
        module: The network.
        tensors: The checkpoint's, by its own keys.
        rename: From a checkpoint's key to the network's; None for one that is not read.
        ignore: Keys of the checkpoint that are not read, as `fnmatch` patterns.

    Raises:
        ModelError: A key is missing or unknown, or its tensor has another shape.
    """
    places = module.state_dict(keep_vars=True)
    found: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if any(fnmatchcase(key, pattern) for pattern in ignore):
            continue
        name = rename(key)
        if name is None:
            continue
        if name not in places:
            raise ModelError(f"{key}: unknown: {type(module).__name__} has no place for it")
        if name in found:
            raise ModelError(f"{key}: a second tensor for {name}")
        if tensor.shape != places[name].shape:
            expected, got = list(places[name].shape), list(tensor.shape)
            raise ModelError(f"{key}: expected {expected}, got {got}")
        found[name] = tensor
    filled = {places[name].data_ptr() for name in found}
    for name, place in places.items():
        if name not in found and place.data_ptr() not in filled:
            raise ModelError(f"{name}: missing")
    module.load_state_dict(found, strict=False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """One safetensors file's tensors by their keys, floating ones in float32.

    Raises:
        ModelError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    return {
        key: tensor.to(torch.float32) if tensor.is_floating_point() else tensor
        for key, tensor in held.items()
    }


def json_table(path: Path) -> dict[str, Any]:
    """A JSON file's object.

    Raises:
        ModelError: The file is missing or no JSON object.
    """
    parsed = _json(path)
    if not isinstance(parsed, dict):
        raise ModelError(f"{path}: not a JSON object")
    return parsed


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}") from error


def _fetched(name: str) -> Path:
    """The hub's files of a model, all but pickles."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FETCHED)))
    except HFValidationError as error:
        raise ModelError(f"{name}: no such folder, and no id of a model on the hub") from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{name}: no such folder, and the hub does not give a model of that id: {error}"
        ) from error
