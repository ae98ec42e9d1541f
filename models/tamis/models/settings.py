"""Builds frozen dataclasses from TOML tables, refusing what they do not declare."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from tamis.models.errors import SettingsError

T = TypeVar("T")
Openers = Mapping[Any, Callable[[Any], Any]]
NONE: Openers = MappingProxyType({})


def build(cls: type[T], table: Mapping[str, Any], *, where: str, open_as: Openers = NONE) -> T:
    """Makes a `cls` of `table`.

    Args:
        cls: A dataclass whose fields are scalars, optional scalars, tuples, tables (`dict`) or
            dataclasses of the same kind.
        table: Parsed TOML.
        where: The table's name, for error messages.
        open_as: How to make what TOML cannot hold, by field type: `{Session: open_session}` turns
            ``session = "monot5.onnx"`` into a loaded model.

    Raises:
        SettingsError: A key is unknown or missing, a value has the wrong type, or the dataclass
            refuses it. The message names the key: ``server.batch.max_size: expected int, got '8'``.
    """
    hints = get_type_hints(cls)
    known = {field.name: hints[field.name] for field in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(table.keys() - known.keys()):
        raise SettingsError(
            f"{where}.{unknown[0]}: unknown; known: {', '.join(known) or 'nothing'}"
        )
    values = {k: _value(known[k], v, f"{where}.{k}", open_as) for k, v in table.items()}
    for field in fields(cls):  # type: ignore[arg-type]
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in values:
            raise SettingsError(f"{where}.{field.name}: missing")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{where}: {error}") from error


def _value(expected: Any, value: Any, where: str, open_as: Openers) -> Any:
    if expected in open_as:
        return open_as[expected](value)
    origin, args = get_origin(expected), get_args(expected)
    if origin in (Union, UnionType):
        (inner,) = [arg for arg in args if arg is not NoneType]
        return _value(inner, value, where, open_as)
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingsError(f"{where}: expected a list, got {value!r}")
        return tuple(_value(args[0], v, f"{where}[{i}]", open_as) for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise SettingsError(f"{where}: expected a table, got {value!r}")
        return {k: _value(args[1], v, f"{where}.{k}", open_as) for k, v in value.items()}
    if is_dataclass(expected) and isinstance(expected, type) and isinstance(value, Mapping):
        return build(expected, value, where=where, open_as=open_as)
    if expected is Any:
        return value
    if expected is float and type(value) is int:
        return float(value)
    if isinstance(expected, type) and type(value) is not expected:
        raise SettingsError(f"{where}: expected {expected.__name__}, got {value!r}")
    return value
