"""Contexts as bytes: what comes back, and what is refused."""

import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.models.contexts import frames
from tamis.models.contexts.artefact import Artefact, Precisions
from tamis.models.contexts.frames import Tensor
from tamis.models.contexts.key_values import KeptLayer, KeyValues, PositionMode
from tamis.models.contexts.kinds import Payload, Provenance, SoftPrompt
from tamis.models.contexts.precision import Precision
from tamis.models.errors import InputError
from tamis.models.types import VisualTokens

PROVENANCE = Provenance(
    model="tiny",
    revision="1",
    tokenizer="ab",
    rope="cd",
    method="keydiff",
    settings={"ratio": 0.5, "window": 8, "value_norm": True, "name": "x"},
    documents=("d1", "d2"),
)
EXACT = Precisions(keys=Precision.FLOAT32, values=Precision.FLOAT32)
FREQUENCIES = np.float32(1) / 100 ** np.linspace(0, 1, 4, dtype=np.float32)


def layer(
    rng: np.random.Generator, kept: int = 5, *, tokens: int = 12, window: int = 0
) -> KeptLayer:
    keys, values = rng.normal(size=(2, 2, kept, 8)).astype(np.float32)
    drawn = [np.sort(rng.permutation(tokens)[:kept]) for _ in range(2)]
    positions = np.tile(np.arange(tokens - kept, tokens), (2, 1)) if window else np.array(drawn)
    return KeptLayer(keys, values, positions, FREQUENCIES, window)


def cache(rng: np.random.Generator) -> KeyValues:
    return KeyValues((layer(rng), layer(rng, 3, window=4), layer(rng)), 12)


def visual(rng: np.random.Generator, *, keys: bool) -> VisualTokens:
    embeddings, attention = rng.normal(size=(3, 4)).astype(np.float32), np.ones(3, np.float32)
    return VisualTokens(
        embeddings, attention, np.array([0, 5, 7]), (2, 4), embeddings[:, :2] if keys else None
    )


PAYLOADS = ["text", "no_text", "soft_prompt", "visual", "visual_with_keys", "key_values"]


def payload(name: str) -> Payload:
    rng = np.random.default_rng(0)
    made: dict[str, Payload] = {
        "text": "ein Sieb, 篩",
        "no_text": "",
        "soft_prompt": SoftPrompt(rng.normal(size=(3, 5)).astype(np.float32)),
        "visual": visual(rng, keys=False),
        "visual_with_keys": visual(rng, keys=True),
        "key_values": cache(rng),
    }
    return made[name]


def leaves(value: Any) -> Any:
    """A value with its arrays as lists, so that two can be compared."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [leaves(part) for part in value]
    if hasattr(value, "__slots__") and not isinstance(value, (str, int)):
        return {name: leaves(getattr(value, name)) for name in value.__slots__}
    return value


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_was_written_is_read(name: str) -> None:
    artefact = Artefact(payload(name), PROVENANCE)
    found = Artefact.from_bytes(artefact.to_bytes(EXACT))
    assert found.provenance == PROVENANCE
    assert type(found.payload) is type(artefact.payload)
    assert leaves(found.payload) == leaves(artefact.payload)


@pytest.mark.parametrize(("precision", "error"), [("int8", 0.02), ("float8_e4m3", 0.15)])
def test_a_cache_is_stored_in_fewer_bits(
    precision: str, error: float, rng: np.random.Generator
) -> None:
    kept = layer(rng, 200, tokens=400)
    precisions = Precisions(values=Precision(precision))
    data = Artefact(KeyValues((kept,), 400)).to_bytes(precisions)
    (found,) = Artefact.from_bytes(data).payload.layers  # type: ignore[union-attr]
    assert found.keys == pytest.approx(kept.keys, rel=2**-8)
    assert found.values == pytest.approx(kept.values, abs=error)
    # Of 8 dimensions: 2 bytes a key's and 1 a value's, and 4 each for scale and position.
    assert len(data) == pytest.approx(400 * (16 + 8 + 4 + 4), rel=0.1)


@pytest.mark.parametrize("name", PAYLOADS)
@settings(max_examples=40)
@given(draw=st.data())
def test_what_is_cut_short_or_changed_is_refused(name: str, draw: st.DataObject) -> None:
    data = Artefact(payload(name), PROVENANCE).to_bytes()
    at = draw.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= draw.draw(st.integers(1, 255))
    for damaged in (data[:at], bytes(flipped), data + bytes([at % 256]), bytes([7]) + data):
        with pytest.raises(InputError, match="context"):
            Artefact.from_bytes(damaged)


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=rf"^{len(data)} bytes that do not begin as a context"):
        Artefact.from_bytes(data)


def test_another_version_is_refused_by_name() -> None:
    data = bytearray(Artefact("x").to_bytes())
    struct.pack_into("<I", data, 8, 2)
    with pytest.raises(InputError, match="a context of version 2; this reads version 1"):
        Artefact.from_bytes(bytes(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@pytest.mark.parametrize("name", PAYLOADS)
@settings(max_examples=40)
@given(draw=st.data())
def test_a_false_description_under_a_right_checksum_is_refused_or_read(
    name: str, draw: st.DataObject
) -> None:
    """By whoever can write into the store: no other error than `InputError` comes of it."""
    facts, tensors = frames.read(Artefact(payload(name), PROVENANCE).to_bytes())
    changed = draw.draw(st.sampled_from([*facts, *tensors]))
    if changed in facts:
        facts[changed] = draw.draw(JSON)
    elif draw.draw(st.booleans()):
        tensors.pop(changed)
    else:
        tensor = tensors[changed]
        tensors[changed] = Tensor(tensor.dtype, tensor.data.reshape(-1)[1:])
    with suppress(InputError):
        Artefact.from_bytes(frames.write(facts, tensors))


@pytest.mark.parametrize(
    "tensors",
    [None, 1, [[]], [["a", "float64", [1]]], [["a", "int8", [-1]]], [["a", "int8", [1 << 70]]],
     [["a", "int8", None]], [["a", [], [1]]], [["a", "int8", [1]]], [["a", "int8", []]]],
)  # fmt: skip
def test_a_header_that_lists_no_tensors_is_refused(tensors: Any) -> None:
    data = frames.write({"kind": "text"}, {"text": Tensor("utf8", np.zeros(16, np.uint8))})
    before, after = data.index(b'[["text"'), data.index(b"]]}") + 2
    listed = json.dumps(tensors).encode().ljust(after - before)
    false = data[:before] + listed + data[after:-16]
    header = len(false) - 16 - 24
    false = struct.pack("<8sIIQ", b"tamisctx", 1, header, len(false) + 16) + false[24:]
    with pytest.raises(InputError, match="header describes no tensors"):
        frames.read(false + frames._digest(false))


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be stored: not all numbers are finite"):
        Artefact(SoftPrompt(np.full((1, 2), np.nan, np.float32))).to_bytes()


@given(st.integers(1, 3 << 20))
def test_pieces_are_small_and_join_to_what_they_were(length: int) -> None:
    data = bytes(length)
    cut = frames.pieces(data)
    assert max(map(len, cut)) <= 1 << 20
    assert b"".join(cut) == data


def test_a_cache_tells_what_it_kept(rng: np.random.Generator) -> None:
    made = cache(rng)
    assert (made.kept, made.tokens, made.next_position) == (5, 12, 12)
    assert made.shifted().next_position == made.packed().next_position == 5
    assert made.shifted().mode is PositionMode.SHIFTED


def test_turning_back_keeps_distances_and_packing_makes_neighbours(
    rng: np.random.Generator,
) -> None:
    whole = layer(rng, 4, tokens=4)
    alone = KeptLayer(
        whole.keys[:, 1::2], whole.values[:, 1::2], np.array([[1, 3]] * 2), FREQUENCIES
    )
    made = KeyValues((alone,), 4)
    unturned = alone.moved(np.zeros((2, 2), dtype=np.int64)).keys
    for moved, places in ((made.shifted(), [-1, 1]), (made.packed(), [0, 1])):
        there = KeptLayer(unturned, alone.values, np.zeros((2, 2), np.int64), FREQUENCIES)
        expected = there.moved(np.array([places] * 2)).keys
        assert moved.layers[0].keys == pytest.approx(expected, abs=1e-6)
        with pytest.raises(InputError, match="cannot be moved again"):
            moved.shifted()


def test_a_window_wider_than_what_is_kept_goes_on_in_original_positions_only(
    rng: np.random.Generator,
) -> None:
    made = KeyValues((layer(rng, 2), layer(rng, 3, window=4)), 12)
    with pytest.raises(InputError, match="layer 1 has a window with 3 tokens in it, and 2"):
        made.shifted()


@pytest.mark.parametrize(
    ("kept", "tokens", "message"),
    [
        ([(5, 0), (6, 0)], 12, r"layers of \[5, 6\] tokens, of 12"),
        ([(5, 0)], 4, r"layers of \[5\] tokens, of 4"),
        ([(5, 0), (2, 4)], 12, "layer 1: 2 tokens for a window of 4"),
        ([], 12, r"layers of \[\] tokens"),
    ],
)
def test_layers_that_do_not_fit_are_refused(
    kept: list[tuple[int, int]], tokens: int, message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(ValueError, match=message):
        KeyValues(tuple(layer(rng, n, window=window) for n, window in kept), tokens)
