"""Other names of collections, in one file of the engine's folder."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from qdrant_client import grpc

from tamis.server.store.engine.errors import CollectionThereError, NoCollectionError


class Aliases:
    """Which collection a name stands for, where it is not the collection's own.

    Args:
        path: The file; it need not be there yet.
        there: Whether there is a collection of a name.
    """

    def __init__(self, path: Path, there: Callable[[str], bool]) -> None:
        self._path = path
        self._there = there
        self._known: dict[str, str] = {}
        if path.exists():
            self._known = dict(json.loads(path.read_text(encoding="utf-8")))

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(sorted(self._known.items()))

    def resolve(self, name: str) -> str:
        """The collection that a name stands for, which may be its own."""
        return self._known.get(name, name)

    def change(self, actions: Iterable[grpc.AliasOperations]) -> None:
        """Does all of it, or nothing.

        Raises:
            CollectionThereError: A collection has the name.
            NoCollectionError: There is no collection, or no alias, of a name.
        """
        known = dict(self._known)
        for action in actions:
            kind = action.WhichOneof("action")
            if kind == "create_alias":
                self._add(known, action.create_alias.alias_name, action.create_alias)
            elif kind == "delete_alias":
                known.pop(action.delete_alias.alias_name, None)
            elif kind == "rename_alias":
                self._rename(known, action.rename_alias)
        self._write(known)

    def _add(self, known: dict[str, str], alias: str, message: grpc.CreateAlias) -> None:
        if self._there(alias):
            raise CollectionThereError(f"there is a collection {alias!r} already")
        if not self._there(message.collection_name):
            raise NoCollectionError(f"no collection {message.collection_name!r}")
        known[alias] = message.collection_name

    def _rename(self, known: dict[str, str], message: grpc.RenameAlias) -> None:
        if message.old_alias_name not in known:
            raise NoCollectionError(f"no alias {message.old_alias_name!r}")
        if self._there(message.new_alias_name):
            raise CollectionThereError(f"there is a collection {message.new_alias_name!r} already")
        known[message.new_alias_name] = known.pop(message.old_alias_name)

    def forget(self, collection: str) -> None:
        """The collection is gone, and with it all that stood for it."""
        left = {alias: name for alias, name in self._known.items() if name != collection}
        if left != self._known:
            self._write(left)

    def _write(self, known: dict[str, str]) -> None:
        new = self._path.with_name(self._path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(known, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        self._known = known
