"""What a request asks for, checked against the limits."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from tamis.models.errors import InputError
from tamis.server.cache.embeddings import Policy
from tamis.server.config import Limits
from tamis.server.content import raw_content
from tamis.server.errors import NotFoundError
from tamis.server.messages import (
    all_of,
    fingerprints,
    made_of,
    representations,
    where_clause,
)
from tamis.server.pipeline import Pipeline
from tamis.server.search import Delivery, Search, SearchOptions
from tamis.v1 import context_pb2
from tamis.v1 import retrieval_service_pb2 as pb

DEFAULT_K = 10
MAX_ALSO = 16  # other wordings of a query
REPLY_S = 0.02  # of a caller's time, at most, that is kept for the answer's way back
MAX_DEPTHS = {"retrieve_depth": 10_000, "rerank_depth": 1_000, "refine_depth": 100}
MAX_REQUEST_ID_BYTES = 64
_POLICIES = {
    pb.CACHE_POLICY_UNSPECIFIED: Policy.DEFAULT,
    pb.CACHE_POLICY_DEFAULT: Policy.DEFAULT,
    pb.CACHE_POLICY_BYPASS: Policy.BYPASS,
    pb.CACHE_POLICY_REFRESH: Policy.REFRESH,
    pb.CACHE_POLICY_ONLY: Policy.ONLY,
}
_DELIVERIES: dict[int, Delivery] = {
    context_pb2.CONTEXT_DELIVERY_HANDLE: Delivery.HANDLE,
    context_pb2.CONTEXT_DELIVERY_BOTH: Delivery.BOTH,
}


class _Choosing(Protocol):
    """A request that may name a pipeline."""

    pipeline: str

    def HasField(self, name: Literal["pipeline"], /) -> bool: ...  # noqa: N802 - protobuf's name


def chosen(pipelines: Mapping[str, Pipeline], request: _Choosing) -> Pipeline:
    """The pipeline that a request names, or `default`.

    Raises:
        NotFoundError: There is none of that name.
    """
    name = request.pipeline if request.HasField("pipeline") else "default"
    if name not in pipelines:
        raise NotFoundError(f"pipeline {name!r} is not one of: {', '.join(pipelines)}")
    return pipelines[name]


def delivery_of(asked: int) -> Delivery:
    """How a request wants its context; whole where it does not say."""
    return _DELIVERIES.get(asked, Delivery.INLINE)


def for_work(timeout_s: float) -> float:
    """What is left of a caller's time when the answer must still reach it, in seconds."""
    return timeout_s - min(REPLY_S, timeout_s / 10)


def search_of(request: pb.SearchRequest, limits: Limits) -> Search:
    """The search that a request asks for.

    Raises:
        InputError: It breaks a rule; the message names the field, the value and the rule.
    """
    if not request.collection:
        raise InputError("collection: must be set")
    k = request.k if request.HasField("k") else DEFAULT_K
    if not 1 <= k <= limits.max_k:
        raise InputError(f"k: must be from 1 to {limits.max_k}, not {k}")
    if len(request.request_id.encode()) > MAX_REQUEST_ID_BYTES:
        raise InputError(f"request_id: at most {MAX_REQUEST_ID_BYTES} bytes")
    given = representations(request.representations)
    content = None
    if request.HasField("query") or not given:
        content = raw_content(request.query, limits, where="query")
    if len(request.also) > MAX_ALSO:
        raise InputError(f"also: {len(request.also)} wordings; at most {MAX_ALSO}")
    conditions = [
        where_clause(request.filter) if request.HasField("filter") else None,
        made_of(request.modalities),
    ]
    return Search(
        collection=request.collection,
        content=content,
        k=k,
        given=given,
        given_fingerprints=fingerprints(request.representations),
        others=tuple(
            raw_content(one, limits, where=f"also[{number}]")
            for number, one in enumerate(request.also)
        ),
        where=all_of([one for one in conditions if one is not None]),
        options=_options(request.options),
    )


def _options(message: pb.SearchOptions) -> SearchOptions:
    given: dict[str, Any] = {field.name: value for field, value in message.ListFields()}
    for name, most in MAX_DEPTHS.items():
        if given.get(name, 0) > most:
            raise InputError(f"options.{name}: {given[name]}; at most {most}")
    if given.get("refine_budget", 1) < 1:
        raise InputError("options.refine_budget: must be at least 1 token, not 0")
    for name in ("rerank_time", "refine_time"):
        if name in given:
            seconds = given.pop(name).ToTimedelta().total_seconds()
            if seconds < 0:
                raise InputError(f"options.{name}: must not be below 0, not {seconds} s")
            given[f"{name}_s"] = seconds
    bulk = given.pop("priority", pb.PRIORITY_INTERACTIVE) == pb.PRIORITY_BULK
    given["delivery"] = delivery_of(given.pop("context_delivery", 0))
    policy = _POLICIES.get(given.pop("cache_policy", pb.CACHE_POLICY_DEFAULT), Policy.DEFAULT)
    return SearchOptions(policy=policy, bulk=bulk, **given)
