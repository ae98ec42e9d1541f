"""A served model: a folder with graphs and a `model.toml` that says what they are."""

import hashlib
import logging
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeVar

from tamis.models.errors import ModelError, SettingsError
from tamis.models.runtimes import Session, tensorrt
from tamis.models.runtimes.onnx import OnnxSession
from tamis.models.runtimes.profiles import limits
from tamis.models.runtimes.tokenizer import Tokenizer
from tamis.models.settings import build

logger = logging.getLogger(__name__)

NAME = "model.toml"
DIGITS = 16  # of a fingerprint: 64 bits, so that no two models of one collection share one


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every `model.toml` says; a method adds the keys of its own input recipe.

    Attributes:
        name: What the model is called.
        method: The method that reads it, as its file is named.
        licence: Of the weights, as an SPDX identifier.
        files: The SHA-256, in hexadecimal, of every file that decides what the model makes of an
            input: graphs, their weights if they are in files of their own, `tokenizer.json`.
        precision: Of the graphs' arithmetic: ``float32``, ``float16`` or ``int8``.
    """

    name: str
    method: str
    licence: str
    files: dict[str, str]
    precision: str = "float32"


@dataclass(frozen=True, kw_only=True)
class EncoderRecipe(Recipe):
    """What an encoder's `model.toml` says besides.

    Attributes:
        space: Embeddings may be compared when their spaces are equal.
        dim: The length of one embedding.
    """

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

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        recipe: type[R],
        method: str,
        *,
        choose: Callable[[R], R] = lambda recipe: recipe,
    ) -> "ModelFolder[R]":
        """Reads a folder's `model.toml` and checks its files against it.

        Args:
            path: The folder.
            recipe: What its `model.toml` must declare, to the key.
            method: What its `method` must be.
            choose: Narrows the recipe of a folder with graphs for several settings to the files
                of one.

        Raises:
            ModelError: A file is missing or is not the one that was exported, or `model.toml`
                has an unknown, missing or mistyped key.
        """
        folder = Path(path)
        declared = build_recipe(folder / NAME, recipe)
        if declared.method != method:
            raise ModelError(f"{folder / NAME}: method: {declared.method!r}, not {method!r}")
        declared = choose(declared)
        for name, sha256 in declared.files.items():
            found = file_sha256(folder / name)
            if found != sha256:
                raise ModelError(
                    f"{folder / name}: damaged, or of another model: its SHA-256 is "
                    f"{found}, and {NAME} says {sha256}"
                )
        return cls(folder, declared, fingerprint(declared))

    def session(self, name: str, *, threads: int = 0) -> Session:
        """Loads one of the folder's graphs, or its engine where one was built for this GPU.

        Args:
            name: Its role, which is its file's name without the suffix, such as ``text``.
            threads: Threads that one run may use; 0 for one a core.

        Raises:
            ModelError: The folder has no such graph, or it cannot be loaded.
        """
        graph = self._file(f"{name}.onnx")
        sha256 = self.recipe.files[graph.name]
        engine = tensorrt.built(self.path, name, sha256, limits(self.recipe))
        session: Session
        if engine is not None:
            session = tensorrt.TensorRtSession.open(engine)
        else:
            session = OnnxSession.open(graph, threads=threads)
        logger.info("%s: %s: runs on %s", self.recipe.name, name, session.runtime)
        return session

    def tokenizer(self, *, max_length: int) -> Tokenizer:
        """The folder's tokenizer, which leaves out what is beyond `max_length` tokens.

        Raises:
            ModelError: The folder has none, or it is damaged.
        """
        self._file("tokenizer.json")
        return Tokenizer.open(self.path, max_length=max_length)

    def _file(self, name: str) -> Path:
        if name not in self.recipe.files:
            known = ", ".join(sorted(self.recipe.files))
            raise ModelError(f"{self.path / NAME}: files: {name} is not one of: {known}")
        return self.path / name


def build_recipe(path: Path, recipe: type[R]) -> R:
    """What a `model.toml` says.

    Raises:
        ModelError: The file is missing or no TOML, or a key is unknown, missing or mistyped.
    """
    try:
        return build(recipe, _table(path), where=str(path))
    except SettingsError as error:
        raise ModelError(str(error)) from error


def method_of(path: str | PathLike[str]) -> str:
    """The method that a folder's `model.toml` names.

    Raises:
        ModelError: The file is missing or no TOML, or names none.
    """
    file = Path(path) / NAME
    method = _table(file).get("method")
    if not isinstance(method, str):
        raise ModelError(f"{file}: method: expected a text, got {method!r}")
    return method


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file: {path.parent} is not a model folder") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def fingerprint(recipe: Recipe) -> str:
    """A digest of a recipe, its files' own digests included.

    What a model is called and under which licence it is make no difference.
    """
    said = asdict(recipe)
    for key in ("name", "licence"):
        del said[key]
    said["files"] = sorted(said["files"].items())
    parts = [f"{key}={said[key]!r}" for key in sorted(said)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


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
    return "\n".join(_lines(asdict(recipe), ())) + "\n"


def _lines(table: Mapping[str, Any], above: tuple[str, ...]) -> list[str]:
    """A table's own keys, then the tables in it: TOML has no way back to the outer one."""
    said = {key: value for key, value in table.items() if value is not None}
    lines = [
        f"{_key(key)} = {_toml(value)}"
        for key, value in said.items()
        if not isinstance(value, dict)
    ]
    for key, value in said.items():
        if isinstance(value, dict):
            path = (*above, _key(key))
            lines += ["", f"[{'.'.join(path)}]", *_lines(value, path)]
    return lines


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _toml(key)


def _toml(value: object) -> str:
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(letter, letter) for letter in value) + '"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)


# A basic string may hold anything but these; a template may hold line ends.
_ESCAPES = {chr(code): f"\\u{code:04x}" for code in (*range(0x20), 0x7F)} | {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
}
