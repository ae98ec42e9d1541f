"""The tier in this process: what is used last stays, and the bytes are bounded."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.models.types import Representation, Sparse
from tamis.server.cache import codec
from tamis.server.cache.local import OVERHEAD_BYTES, LocalTier

ENTRY = OVERHEAD_BYTES + 1 + 100  # one letter of key, a hundred bytes of payload


def test_what_was_used_longest_ago_goes_first() -> None:
    tier: LocalTier[int] = LocalTier(2 * ENTRY)
    tier.put("a", 1, 100)
    tier.put("b", 2, 100)
    assert tier.get("a") == 1
    tier.put("c", 3, 100)
    assert (tier.get("a"), tier.get("b"), tier.get("c")) == (1, None, 3)


def test_a_large_entry_takes_the_place_of_several() -> None:
    tier: LocalTier[int] = LocalTier(3 * ENTRY)
    for letter in "abc":
        tier.put(letter, 0, 100)
    tier.put("d", 0, 100 + ENTRY)
    assert [tier.get(letter) for letter in "abcd"] == [None, None, 0, 0]


def test_an_entry_larger_than_the_cache_is_not_kept_and_evicts_nothing_else() -> None:
    tier: LocalTier[int] = LocalTier(2 * ENTRY)
    tier.put("a", 1, 100)
    tier.put("b", 1, 100)
    tier.put("b", 2, 2 * ENTRY)
    assert (tier.get("a"), tier.get("b")) == (1, None)


def test_no_bytes_turn_it_off() -> None:
    tier: LocalTier[int] = LocalTier(0)
    tier.put("a", 1, 0)
    assert tier.get("a") is None
    assert tier.stats().bytes == 0


def test_it_counts() -> None:
    tier: LocalTier[int] = LocalTier(9 * ENTRY)
    tier.put("a", 1, 100)
    tier.put("a", 2, 100)
    tier.get("a")
    tier.get("b")
    stats = tier.stats()
    assert (stats.tier, stats.hits, stats.misses, stats.errors) == ("local", 1, 1, 0)
    assert stats.bytes == ENTRY


def test_a_purge_is_exact() -> None:
    tier: LocalTier[int] = LocalTier(9 * ENTRY)
    for key in ("x:1", "x:2", "xy:1", "y:1"):
        tier.put(key, 0, 0)
    assert tier.purge("x:") == 2
    assert [tier.get(key) for key in ("x:1", "x:2", "xy:1", "y:1")] == [None, None, 0, 0]
    assert tier.purge("") == 2
    assert tier.stats().bytes == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3 * ENTRY), st.booleans()),
        max_size=60,
    )
)
def test_it_never_holds_more_than_its_bytes(steps: list[tuple[str, int, bool]]) -> None:
    """Against a plain list in order of use."""
    tier: LocalTier[int] = LocalTier(4 * ENTRY)
    model: list[tuple[str, int]] = []  # key and size, used last at the end
    for key, payload, put in steps:
        here = [size for name, size in model if name == key]
        if put:
            model = [entry for entry in model if entry[0] != key]
            size = OVERHEAD_BYTES + 1 + payload
            if size <= 4 * ENTRY:
                model.append((key, size))
            while sum(size for _, size in model) > 4 * ENTRY:
                model.pop(0)
            tier.put(key, payload, payload)
        else:
            assert (tier.get(key) is not None) == bool(here)
            if here:
                model = [entry for entry in model if entry[0] != key] + [(key, here[0])]
        assert tier.stats().bytes == sum(size for _, size in model) <= 4 * ENTRY
        assert len(tier) == len(model)


def test_the_bytes_counted_are_not_fewer_than_the_bytes_taken() -> None:
    """With every kind of representation in each entry, which is more than encoders make."""
    tier: LocalTier[object] = LocalTier(64 << 20)
    value: dict[str, Representation] = {
        "dense": np.ones(384, np.float32),
        "terms": Sparse(np.arange(20), np.ones(20, np.float32)),
    }
    data = codec.encode(value)
    tracemalloc.start()
    for i in range(1_000):
        found = codec.decode(bytes(bytearray(data)))  # bytes of its own, as from a socket
        assert found is not None
        tier.put(f"tamis:1:embedding:{'f' * 16}:{i:032}", found, codec.nbytes(found))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken <= tier.stats().bytes <= 1.5 * taken
