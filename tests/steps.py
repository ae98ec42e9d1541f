"""Stages for tests: what every stage must have, but for what it does."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

from tamis.server.collections import Collections
from tamis.server.pace import Pace
from tamis.server.search import Search
from tamis.v1 import stage_pb2 as pb


@dataclass(frozen=True)
class Step:
    """A stage that looks at the candidates that there are, as far as `rerank_depth` lets it."""

    kind: pb.Stage.ValueType
    method: str = "step"
    pace: Pace = field(default_factory=Pace)
    limit_s: float | None = None

    def time_s(self, search: Search) -> float | None:
        return self.limit_s

    def size(self, search: Search) -> int:
        depth = search.options.rerank_depth
        return len(search.candidates) if depth is None else min(depth, len(search.candidates))

    def shortened(self, search: Search, size: int) -> Search | None:
        if not size:
            return None
        return replace(search, options=replace(search.options, rerank_depth=size))

    async def __call__(self, search: Search) -> Search:
        return search


class _AsNamed:
    async def resolve(self, name: str) -> str:
        return name


def no_index() -> Collections:
    """Collections for stages that touch none: every name stands for itself."""
    return cast(Collections, SimpleNamespace(aliases=_AsNamed()))
