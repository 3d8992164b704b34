"""The server's port, taken once and held, so that gateways can come and go on it.

Gateways share a port by SO_REUSEPORT. The server holds it with a socket that is bound and never listens: the kernel gives it no
connections, `--port 0` has one answer for all gateways, and nobody else gets the port while no gateway listens.

SO_REUSEPORT lets a second server of the same user bind too, without a word. So the port is first bound for a moment without
it, which fails when anybody has it. (Between the two somebody could slip in; they would share, as they would without the look.)
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from undying.protocol.errors import Code, error

HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not bound
"""Where this machine reaches a server that listens on all addresses."""


def hold(host: str, port: int) -> socket.socket:
    """Bind `port` of `host` (0: any free one) without listening; it is held until the socket is closed.

    Raises UndyingError: ALREADY_EXISTS when somebody has the port, UNAVAILABLE when it can't be had at all.
    """
    try:
        family, address = _resolve(host, port)
        with socket.socket(family, socket.SOCK_STREAM) as look:
            look.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections in TIME_WAIT don't count
            look.bind((address, port))
            number = number_of(look)
        holder = socket.socket(family, socket.SOCK_STREAM)
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind((address, number))
        except OSError:
            holder.close()
            raise
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            raise error(Code.ALREADY_EXISTS, f"port {port} of {host} is taken; --port chooses another", port=port) from problem
        reason = problem.strerror or str(problem)
        raise error(Code.UNAVAILABLE, f"can't listen on {host} port {port}: {reason}", host=host, port=port) from problem
    return holder


def number_of(sock: socket.socket) -> int:
    """Return the port that a socket is bound to."""
    port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


def base_url(host: str, port: int) -> str:
    """Return the url by which this machine reaches a server that listens on `host`."""
    reachable = HERE.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, str]:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return family, str(address[0])
