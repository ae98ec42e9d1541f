"""A port for several processes."""

import socket

from tamis.models.errors import SettingsError

MAX_PORT = 65_535


def reserve(listen: str) -> tuple[socket.socket, str]:
    """Takes a TCP port that other processes will listen on, with SO_REUSEPORT.

    The socket is bound alone, so that a port which another server has is refused, and shared only
    then: with processes of this user that bind it with SO_REUSEPORT, as gRPC does. It never
    listens, so that it gets no connection, and holds the port while no process listens.

    Args:
        listen: As gRPC writes it: ``[::]:50051``; port 0 takes any free one.

    Returns:
        The socket, to be kept open, and `listen` with the number of the port.

    Raises:
        SettingsError: It is not a TCP address, or cannot be had.
    """
    host, _, port = listen.rpartition(":")
    name = host.removeprefix("[").removesuffix("]")
    tcp = host and host.partition(":")[0] != "unix" and port.isdecimal() and int(port) <= MAX_PORT
    if not tcp:
        raise SettingsError(f"listen: workers share a TCP port, as in '[::]:50051', not {listen!r}")
    if name == "::" and not socket.has_dualstack_ipv6():
        name = "0.0.0.0"  # noqa: S104 - as the operator asked; gRPC does the same
    try:
        family, *_, address = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM)[0]
        reserved = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(f"listen: {listen}: {error}") from error
    try:
        if family == socket.AF_INET6:
            reserved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Else what is left of the last server's connections would be in the way for a minute.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(address)
        # From here on another server that reserves the port is refused, as if we listened.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        reserved.close()
        raise SettingsError(f"listen: cannot listen on {listen}: {error.strerror}") from error
    return reserved, f"{host}:{reserved.getsockname()[1]}"
