"""What the table `[cache]` may say."""

from typing import Any

import pytest

from tamis.server.cache.settings import CacheSettings, host_and_port


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"local_bytes": -1}, "local_bytes must be at least 0, not -1"),
        ({"redis_mode": "ring"}, "redis_mode must be one of standalone, .*, not 'ring'"),
        ({"redis_addresses": ("a:1",)}, "redis_addresses has no meaning while .* standalone"),
        ({"redis_master": ""}, "redis_master must not be empty"),
        ({"redis_timeout_ms": 0.0}, "redis_timeout_ms must be above 0, .*, not 0.0"),
        ({"redis_timeout_ms": float("nan")}, "redis_timeout_ms must be .*, not nan"),
        ({"redis_timeout_ms": 60_001.0}, "redis_timeout_ms must be .* up to 60000, not 60001.0"),
        ({"redis_lease_ms": -1.0}, "redis_lease_ms must be from 0 to 60000, not -1.0"),
        ({"redis_lease_ms": 1e9}, "redis_lease_ms must be from 0 to 60000, not 1000000000.0"),
        ({"redis_ttl_s": 0}, "redis_ttl_s must be from 1 .*, not 0"),
        ({"redis_ttl_s": 10**12}, "redis_ttl_s must be .* ten years, not 1000000000000"),
        ({"breaker_failures": 0}, "breaker_failures must be at least 1, not 0"),
        ({"breaker_pause_s": 0.0}, "breaker_pause_s must be above 0, not 0.0"),
        ({"breaker_pause_s": float("inf")}, "breaker_pause_s must be above 0, not inf"),
    ],
)
def test_what_is_out_of_range_is_named_with_its_rule(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CacheSettings(**given)


@pytest.mark.parametrize("address", ["a", "a:", ":1", "a:0", "a:65536", "a:b", "", "[::1]"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="redis_addresses must be host:port, not"):
        CacheSettings(redis_mode="cluster", redis_addresses=(address,))


def test_an_address_is_a_host_and_a_port() -> None:
    assert host_and_port("redis.local:6379") == ("redis.local", 6379)
    assert host_and_port("[::1]:6379") == ("::1", 6379)


def test_passwords_are_not_shown() -> None:
    given = CacheSettings(redis_url="redis://:secret@a", redis_sentinel_password="secret")
    assert "secret" not in repr(given)
