"""A served model: a folder with a graph and a `model.toml` that says what the graph is."""

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Generic, TypeVar

from tamis.models.errors import ModelError, SettingsError
from tamis.models.settings import build

NAME = "model.toml"
DIGITS = 16  # of a fingerprint: 64 bits, so that no two models of one collection share one


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every `model.toml` says; a method adds the keys of its own input recipe.

    Attributes:
        name: What the model is called.
        method: The encoder that reads it, as its file is named.
        licence: Of the weights, as an SPDX identifier.
        graph: The ONNX file in the folder.
        sha256: Of that file, in hexadecimal.
        space: Embeddings may be compared when their spaces are equal.
        dim: The length of one embedding.
    """

    name: str
    method: str
    licence: str
    graph: str
    sha256: str
    space: str
    dim: int


R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class ModelFolder(Generic[R]):
    """A folder whose files are those that its `model.toml` names.

    Attributes:
        path: The folder.
        recipe: What its `model.toml` says.
        fingerprint: A short digest of all that decides what the model makes of an input.
    """

    path: Path
    recipe: R
    fingerprint: str

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.path / self.recipe.graph

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        recipe: type[R],
        method: str,
        *,
        also: Sequence[str] = (),
        choose: Callable[[R], R] = lambda recipe: recipe,
    ) -> "ModelFolder[R]":
        """Reads a folder's `model.toml` and checks its graph against it.

        Args:
            path: The folder.
            recipe: What its `model.toml` must declare, to the key.
            method: What its `method` must be.
            also: Further files that decide what the model makes of an input.
            choose: Turns what is declared into the recipe of one of a folder's several graphs.

        Raises:
            ModelError: A file is missing or is not the one that was exported, or `model.toml`
                has an unknown, missing or mistyped key.
        """
        folder = Path(path)
        declared = build_recipe(folder / NAME, recipe)
        if declared.method != method:
            raise ModelError(f"{folder / NAME}: method: {declared.method!r}, not {method!r}")
        declared = choose(declared)
        found = file_sha256(folder / declared.graph)
        if found != declared.sha256:
            raise ModelError(
                f"{folder / declared.graph}: damaged, or of another model: its SHA-256 is "
                f"{found}, and {NAME} says {declared.sha256}"
            )
        others = [file_sha256(folder / name) for name in also]
        return cls(folder, declared, fingerprint(declared, others))


def build_recipe(path: Path, recipe: type[R]) -> R:
    """What a `model.toml` says.

    Raises:
        ModelError: The file is missing or no TOML, or a key is unknown, missing or mistyped.
    """
    try:
        return build(recipe, tomllib.loads(path.read_text(encoding="utf-8")), where=str(path))
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file: {path.parent} is not a model folder") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    except SettingsError as error:
        raise ModelError(str(error)) from error


def fingerprint(recipe: Recipe, others: Sequence[str] = ()) -> str:
    """A digest of a recipe, the graph's own digest included, and of the `others`.

    What a model is called and where its file lies make no difference.
    """
    said = asdict(recipe)
    for key in ("name", "licence", "graph"):
        del said[key]
    parts = [f"{key}={said[key]!r}" for key in sorted(said)]
    return hashlib.sha256("\n".join([*parts, *others]).encode()).hexdigest()[:DIGITS]


def file_sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal.

    Raises:
        ModelError: The file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def text(recipe: Recipe) -> str:
    """The recipe as the text of a `model.toml`."""
    said = {key: value for key, value in asdict(recipe).items() if value is not None}
    lines = [
        f"{key} = {_toml(value)}" for key, value in said.items() if not isinstance(value, dict)
    ]
    for name, table in said.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
