"""What a search sends. Pure functions."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from tamis.client import enums, filters, messages, types, words
from tamis.v1 import context_pb2, document_pb2, retrieval_service_pb2, stage_pb2


class SearchArguments(types.SearchOptions, total=False):
    """What `hits` takes by name: the arguments of `search`, and its options."""

    text: str | None
    image: bytes | Path | None
    instruction: str | None
    task: str | None
    k: int
    pipeline: str | None
    filter: filters.Filterable | None
    view: str


@dataclass(frozen=True, slots=True)
class Search:
    """A search to be sent.

    Attributes:
        request: Complete, but for a picture that is still a path.
        picture: That path, or None.
    """

    request: retrieval_service_pb2.SearchRequest
    picture: Path | None

    def load(self) -> None:
        """Reads the picture into the request. Blocks.

        Raises:
            OSError: The file cannot be read.
        """
        if self.picture is not None:
            self.request.query.image.data = self.picture.read_bytes()


def build(
    query: types.Input | None,
    *,
    collection: str,
    text: str | None,
    image: bytes | Path | None,
    instruction: str | None,
    task: str | None,
    k: int,
    pipeline: str | None,
    filter: filters.Filterable | None,
    view: str,
    options: types.SearchOptions,
) -> Search:
    """The search that a client's `search` asks for.

    Raises:
        TypeError: An option is unknown.
        ValueError: There is nothing to search for, or a filter or an option has no known form.
    """
    if unknown := options.keys() - types.SearchOptions.__annotations__.keys():
        raise TypeError(f"search has no option {', '.join(sorted(unknown))}")
    sought = _sought(query, types.Query(text, image, instruction, task=task))
    ready = options.get("representations", {})
    content = None if sought is None and ready else messages.content(sought or types.Query())
    request = retrieval_service_pb2.SearchRequest(
        collection=collection,
        query=content,
        representations=[messages.representation_message(*one) for one in ready.items()],
        k=k,
        pipeline=pipeline,
        filter=None if filter is None else filters.message(filter),
        view=words.number_of(enums.View, document_pb2.DocumentView, view),
        options=_options(options),
        also=[messages.content(as_query(one)) for one in options.get("also", ())],
        modalities=[
            words.number_of(enums.Modality, document_pb2.DocumentModality, one)
            for one in options.get("modalities", ())
        ],
    )
    return Search(request, _path(sought))


def _sought(query: types.Input | None, named: types.Query) -> types.Query | None:
    """The query that was given by place, completed by what was given by name."""
    found = types.Query() if query is None else as_query(query)
    parts = {name: getattr(named, name) for name in ("text", "image", "instruction", "task")}
    parts = {name: part for name, part in parts.items() if part is not None}
    if any(getattr(found, name) is not None for name in parts):
        raise ValueError("the query is given twice: by place and by name")
    whole = replace(found, **parts)
    return None if whole == types.Query() else whole


def as_query(given: types.Input) -> types.Query:
    """A text, a picture's bytes or its path, as a query."""
    match given:
        case types.Query():
            return given
        case str():
            return types.Query(text=given)
        case bytes() | Path():
            return types.Query(image=given)
    raise ValueError(f"a query is a str, bytes, a Path or a Query, not {type(given).__name__}")


def _path(query: types.Query | None) -> Path | None:
    return query.image if query and isinstance(query.image, Path) else None


def _options(options: types.SearchOptions) -> retrieval_service_pb2.SearchOptions | None:
    depths = ("retrieve_depth", "rerank_depth", "refine_depth", "refine_budget")
    names = (*depths, "max_calls", "partial_results")
    fields: dict[str, Any] = {name: options.get(name) for name in names}
    for name in ("rerank_time", "refine_time"):
        seconds = options.get(f"{name}_s")
        if isinstance(seconds, int | float):
            fields[name] = Duration(
                seconds=int(seconds), nanos=round((seconds - int(seconds)) * 1e9)
            )
    chosen: tuple[tuple[str, Any, Any], ...] = (
        ("stop_after", enums.Stage, stage_pb2.Stage),
        ("cache_policy", enums.CachePolicy, retrieval_service_pb2.CachePolicy),
        ("context_delivery", enums.ContextDelivery, context_pb2.ContextDelivery),
        ("priority", enums.Priority, retrieval_service_pb2.Priority),
    )
    for name, enum, wrapper in chosen:
        word = options.get(name)
        if isinstance(word, str):
            fields[name] = words.number_of(enum, wrapper, word)
    given = {name: value for name, value in fields.items() if value is not None}
    return retrieval_service_pb2.SearchOptions(**given) if given else None
