"""One port, several processes that listen, and nobody else."""

import socket
from contextlib import closing

import pytest

from tamis.models.errors import SettingsError
from tamis.server.ports import reserve


def listening(address: str) -> socket.socket:
    """As a worker listens."""
    host, _, port = address.rpartition(":")
    shared = socket.socket()
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind((host, int(port)))
    shared.listen()
    return shared


def test_any_number_of_workers_may_listen_and_get_the_connections() -> None:
    reserved, address = reserve("127.0.0.1:0")
    host, _, port = address.rpartition(":")
    with reserved, listening(address) as one, listening(address) as two:
        one.setblocking(False)
        two.setblocking(False)
        found = {one: 0, two: 0}
        for _ in range(64):
            with socket.create_connection((host, int(port)), timeout=5):
                for worker in found:
                    try:
                        worker.accept()[0].close()
                    except BlockingIOError:
                        continue
                    found[worker] += 1
        assert sum(found.values()) == 64
        assert all(found.values())


def test_a_port_that_a_server_has_is_refused() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}: Address already in use"):
            reserve(f"127.0.0.1:{port}")


@pytest.mark.parametrize("listens", [True, False])
def test_a_port_that_was_reserved_is_refused(listens: bool) -> None:
    """Even before the other server's workers listen."""
    reserved, address = reserve("127.0.0.1:0")
    with (
        reserved,
        listening(address) if listens else socket.socket(),
        pytest.raises(SettingsError, match="Address already in use"),
    ):
        reserve(address)


def test_what_is_left_of_the_last_server_s_connections_is_no_obstacle() -> None:
    reserved, address = reserve("127.0.0.1:0")
    with reserved, listening(address) as worker:
        caller = socket.create_connection(worker.getsockname(), timeout=5)
        worker.accept()[0].close()  # the side that closes first has to wait
        caller.close()
    again, same = reserve(address)
    again.close()
    assert same == address


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_the_address_of_all_interfaces_is_reserved_for_both_families() -> None:
    reserved, address = reserve("[::]:0")
    assert address.startswith("[::]:")
    with reserved, pytest.raises(SettingsError, match="Address already in use"):
        reserve("0.0.0.0:" + address.rpartition(":")[2])


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("unix:/tmp/tamis.sock", "share a TCP port"),
        ("unix:/tmp/tamis.sock:0", "share a TCP port"),
        (":50051", "share a TCP port"),
        ("50051", "share a TCP port"),
        ("localhost:http", "share a TCP port"),
        ("192.0.2.1:0", "cannot listen on 192.0.2.1:0"),
        ("127.0.0.1:65536", "share a TCP port"),
        ("no.such.host.invalid:0", "no.such.host.invalid:0"),
    ],
)
def test_an_address_that_cannot_be_is_named(listen: str, why: str) -> None:
    with pytest.raises(SettingsError, match=f"listen: .*{why}"):
        reserve(listen)
