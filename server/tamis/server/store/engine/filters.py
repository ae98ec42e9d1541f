"""Qdrant's filter messages as the embedded engine's filters."""

from typing import Any

import qdrant_edge as edge
from google.protobuf.message import Message
from numpy import bool_
from qdrant_client import grpc


def _optional(message: Message, *names: str) -> dict[str, Any]:
    """The fields that are set, by name."""
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def _chosen(message: Message, group: str) -> tuple[str, Any]:
    """Which field of a oneof is set, and its value.

    Raises:
        ValueError: None is.
    """
    kind = message.WhichOneof(group)
    if kind is None:
        raise ValueError(f"{message.DESCRIPTOR.name}: {group} is not set")
    return kind, getattr(message, kind)


def _match(message: grpc.Match) -> Any:
    kind, value = _chosen(message, "match_value")
    if kind == "boolean":
        # The binding takes Python's True for the integer 1 (0.9.0), numpy's for what it is.
        return edge.MatchValue(bool_(value))  # type: ignore[arg-type]
    if kind in ("keyword", "integer"):
        return edge.MatchValue(value)
    if kind in ("keywords", "integers"):
        return edge.MatchAny(list(value.strings if kind == "keywords" else value.integers))
    if kind in ("except_keywords", "except_integers"):
        return edge.MatchExcept(
            list(value.strings if kind == "except_keywords" else value.integers)
        )
    matches: dict[str, Any] = {
        "text": edge.MatchText,
        "text_any": edge.MatchTextAny,
        "phrase": edge.MatchPhrase,
        "prefix": edge.MatchPrefix,
        "substring": edge.MatchSubstring,
    }
    return matches[kind](value)


def _geo_point(message: grpc.GeoPoint) -> edge.GeoPoint:
    return edge.GeoPoint(message.lon, message.lat)


def _geo_line(message: grpc.GeoLineString) -> list[edge.GeoPoint]:
    return [_geo_point(point) for point in message.points]


def _field(message: grpc.FieldCondition) -> edge.FieldCondition:
    tests: dict[str, Any] = _optional(message, "is_empty", "is_null")
    bounds = ("lt", "gt", "gte", "lte")
    if message.HasField("match"):
        tests["match"] = _match(message.match)
    if message.HasField("range"):
        tests["range"] = edge.RangeFloat(**_optional(message.range, *bounds))
    if message.HasField("datetime_range"):
        times = _optional(message.datetime_range, *bounds)
        tests["range"] = edge.RangeDateTime(
            **{bound: time.ToJsonString() for bound, time in times.items()}
        )
    if message.HasField("values_count"):
        tests["values_count"] = edge.ValuesCount(**_optional(message.values_count, *bounds))
    if message.HasField("geo_radius"):
        circle = message.geo_radius
        tests["geo_radius"] = edge.GeoRadius(_geo_point(circle.center), circle.radius)
    if message.HasField("geo_bounding_box"):
        box = message.geo_bounding_box
        tests["geo_bounding_box"] = edge.GeoBoundingBox(
            _geo_point(box.top_left), _geo_point(box.bottom_right)
        )
    if message.HasField("geo_polygon"):
        polygon = message.geo_polygon
        tests["geo_polygon"] = edge.GeoPolygon(
            _geo_line(polygon.exterior), [_geo_line(line) for line in polygon.interiors]
        )
    return edge.FieldCondition(message.key, **tests)


def point_id(message: grpc.PointId) -> int | str:
    """A number or a UUID."""
    return message.uuid if message.WhichOneof("point_id_options") == "uuid" else message.num


def _condition(message: grpc.Condition) -> Any:
    kind, value = _chosen(message, "condition_one_of")
    if kind == "field":
        return _field(value)
    if kind == "filter":
        return filter_of(value)
    if kind == "has_id":
        return edge.HasIdCondition({point_id(identifier) for identifier in value.has_id})
    if kind == "nested":
        return edge.NestedCondition(value.key, filter_of(value.filter))
    if kind == "has_vector":
        return edge.HasVectorCondition(value.has_vector)
    if kind == "slice":
        return edge.SliceCondition(value.total, value.index)  # type: ignore[attr-defined]
    if kind == "is_empty":
        return edge.IsEmptyCondition(value.key)
    return edge.IsNullCondition(value.key)


def filter_of(message: grpc.Filter) -> edge.Filter:
    """A filter; an empty one lets every point pass."""
    parts: dict[str, Any] = {
        name: [_condition(condition) for condition in getattr(message, name)]
        for name in ("must", "should", "must_not")
        if getattr(message, name)
    }
    if message.HasField("min_should"):
        parts["min_should"] = edge.MinShould(
            [_condition(condition) for condition in message.min_should.conditions],
            message.min_should.min_count,
        )
    return edge.Filter(**parts)
