"""A context as checksummed bytes, and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from tamis.models.contexts import frames
from tamis.models.contexts.frames import Tensor
from tamis.models.contexts.key_values import KeptLayer, KeyValues, PositionMode
from tamis.models.contexts.kinds import Payload, Provenance, SoftPrompt
from tamis.models.contexts.precision import Coded, Precision, decode, encode
from tamis.models.errors import InputError, SettingsError
from tamis.models.settings import build
from tamis.models.types import VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Precisions:
    """How numbers are stored.

    Attributes:
        keys: Of a cache. Their errors move attention from token to token, so they get more bits.
        values: Of a cache.
        vectors: Visual tokens and soft prompts.
    """

    keys: Precision = Precision.BFLOAT16
    values: Precision = Precision.INT8
    vectors: Precision = Precision.FLOAT32


DEFAULT = Precisions()


@dataclass(frozen=True, slots=True)
class Artefact:
    """A context that can be kept and sent."""

    payload: Payload
    provenance: Provenance = field(default_factory=Provenance)

    def to_bytes(self, precisions: Precisions = DEFAULT) -> bytes:
        """The bytes of it, to be cut with `frames.pieces` where messages or values are limited.

        Raises:
            InputError: A number is not finite.
        """
        try:
            facts, tensors = _written(self.payload, precisions)
        except ValueError as error:
            raise InputError(f"a context cannot be stored: {error}") from error
        return frames.write({**facts, "provenance": asdict(self.provenance)}, tensors)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Artefact":
        """What `to_bytes` wrote, as float32.

        Raises:
            InputError: The bytes are cut short, damaged, of another version or no context.
        """
        facts, tensors = frames.read(data)
        try:
            provenance = build(Provenance, facts["provenance"], where="provenance")
            return cls(_read(facts, tensors), provenance)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            SettingsError,
            TypeError,
            ValueError,
        ) as error:
            raise InputError(f"a context is not described as it should be: {error!r}") from error


def _written(payload: Payload, precisions: Precisions) -> tuple[dict[str, Any], dict[str, Tensor]]:
    match payload:
        case str():
            letters = np.frombuffer(payload.encode(), dtype=np.uint8)
            return {"kind": "text"}, {"text": Tensor("utf8", letters)}
        case SoftPrompt():
            return {"kind": "soft_prompt"}, _coded("vectors", payload.vectors, precisions.vectors)
        case VisualTokens():
            return _visual_written(payload, precisions.vectors)
        case KeyValues():
            return _key_values_written(payload, precisions)


def _read(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Payload:
    match facts["kind"]:
        case "text":
            return tensors["text"].data.tobytes().decode()
        case "soft_prompt":
            return SoftPrompt(_decoded("vectors", tensors))
        case "visual_tokens":
            return _visual_read(facts, tensors)
        case "key_values":
            return _key_values_read(facts, tensors)
        case other:
            raise ValueError(f"kind {other!r} is unknown")


def _visual_written(
    tokens: VisualTokens, precision: Precision
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    keys = {} if tokens.keys is None else _coded("keys", tokens.keys, precision)
    return {"kind": "visual_tokens", "grid": tokens.grid}, {
        **_coded("embeddings", tokens.embeddings, precision),
        **keys,
        "attention": Tensor("float32", tokens.attention),
        "positions": Tensor("int32", tokens.positions),
    }


def _visual_read(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> VisualTokens:
    rows, columns = map(int, facts["grid"])
    embeddings = _decoded("embeddings", tensors)
    attention, positions = tensors["attention"].data, tensors["positions"].data
    keys = _decoded("keys", tensors) if "keys" in tensors else None
    lengths = {len(part) for part in (embeddings, attention, positions, keys) if part is not None}
    if lengths != {len(positions)} or not ((positions >= 0) & (positions < rows * columns)).all():
        raise ValueError(f"the tokens do not fit a grid of {rows} x {columns}")
    return VisualTokens(embeddings, attention, positions, (rows, columns), keys)


def _key_values_written(
    cache: KeyValues, precisions: Precisions
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    tensors: dict[str, Tensor] = {}
    for number, layer in enumerate(cache.layers):
        tensors |= _coded(f"{number}.keys", layer.keys, precisions.keys)
        tensors |= _coded(f"{number}.values", layer.values, precisions.values)
        tensors[f"{number}.positions"] = Tensor("int32", layer.positions)
        tensors[f"{number}.frequencies"] = Tensor("float32", layer.inverse_frequencies)
    facts = {
        "kind": "key_values",
        "tokens": cache.tokens,
        "kept": cache.kept,
        "mode": cache.mode,
        "windows": [layer.window for layer in cache.layers],
    }
    return facts, tensors


def _key_values_read(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> KeyValues:
    layers = tuple(_layer(number, w, tensors) for number, w in enumerate(facts["windows"]))
    cache = KeyValues(layers, int(facts["tokens"]), PositionMode(facts["mode"]))
    if cache.kept != facts["kept"]:
        raise ValueError(f"{cache.kept} tokens are kept, and the header says {facts['kept']}")
    return cache


def _layer(number: int, window: int, tensors: Mapping[str, Tensor]) -> KeptLayer:
    keys = _decoded(f"{number}.keys", tensors)
    values = _decoded(f"{number}.values", tensors)
    positions = tensors[f"{number}.positions"].data
    frequencies = tensors[f"{number}.frequencies"].data
    fits = keys.ndim == 3 and keys.size and keys.shape == values.shape
    if not fits or positions.shape != keys.shape[:2] or 2 * len(frequencies) != keys.shape[2]:
        raise ValueError(f"layer {number}: the shapes of its tensors do not fit each other")
    return KeptLayer(keys, values, positions, frequencies, int(window))


def _coded(name: str, values: Float[np.ndarray, "..."], precision: Precision) -> dict[str, Tensor]:
    coded = encode(values, precision)
    made = {name: Tensor(precision, coded.numbers)}
    if coded.scales is not None:
        made[f"{name}.scales"] = Tensor("float32", coded.scales)
    return made


def _decoded(name: str, tensors: Mapping[str, Tensor]) -> Float[np.ndarray, "..."]:
    numbers, scales = tensors[name], tensors.get(f"{name}.scales")
    scaled = None if scales is None else scales.data
    if scaled is not None and scaled.shape != numbers.data.shape[:-1]:
        raise ValueError(f"{name}: its scales do not fit it")
    return decode(Coded(Precision(numbers.dtype), numbers.data, scaled))
