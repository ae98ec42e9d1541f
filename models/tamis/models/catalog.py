"""Finds methods by name. The folder is the registry: a method's name is its file's name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

from tamis.models.errors import SettingsError, UnknownMethodError
from tamis.models.method import Method
from tamis.models.settings import NONE, Openers, build

M = TypeVar("M", bound=Method)


def names(family: type[Method]) -> list[str]:
    """The names of a family's methods, sorted; imports none of them."""
    package = import_module(family.__module__)
    return sorted(module.name for module in iter_modules(package.__path__))


def name_of(method: Method) -> str:
    """What `load` knows the method by."""
    return type(method).__module__.rpartition(".")[2]


def find(family: type[M], name: str) -> type[M]:
    """The method's class, importing only its own file.

    Raises:
        UnknownMethodError: `family` has no such method.
        SettingsError: It has, but not of the kind that `family` is.
    """
    if name not in names(family):
        raise UnknownMethodError(f"{name!r} is not one of: {', '.join(names(family))}")
    module = import_module(f"{family.__module__}.{name}")
    (class_name,) = module.__all__
    method: type[M] = getattr(module, class_name)
    if not issubclass(method, family):
        raise SettingsError(f"{name!r} is not a {family.__name__}")
    return method


def load(
    family: type[M],
    name: str,
    settings: Mapping[str, Any],
    *,
    where: str = "",
    open_as: Openers = NONE,
) -> M:
    """A ready method: `load(Refiner, "divprune", {"budget": 64})`.

    A setting that is itself a method of the family is a table of `method` and `settings`.

    Raises:
        SettingsError: The method is unknown, or a setting is not one that it declares.
        ModelError: A model that it needs cannot be opened.
    """
    where = where or name

    def nested(table: Any) -> M:
        if not isinstance(table, Mapping):
            raise SettingsError(f"{where}: expected a table of method and settings, got {table!r}")
        inner = build(Nested, table, where=where)
        below = f"{where}.{inner.method}"
        return load(family, inner.method, inner.settings, where=below, open_as=open_as)

    return build(find(family, name), settings, where=where, open_as={**open_as, family: nested})


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """A method as a setting of another one."""

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
