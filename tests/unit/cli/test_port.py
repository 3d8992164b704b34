"""Holding a port: gateways may share it, nobody else gets it."""

import socket

import pytest

from undying.cli import port
from undying.protocol.errors import Code, UndyingError


def _gateway(number: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", number))
    sock.listen()
    return sock


def test_port_0_takes_a_free_one() -> None:
    with port.hold("127.0.0.1", 0) as holder:
        assert port.number_of(holder) > 0


def test_gateways_listen_on_a_held_port_and_get_every_connection() -> None:
    with port.hold("127.0.0.1", 0) as holder:
        number = port.number_of(holder)
        for _ in range(2):
            with _gateway(number), _gateway(number):
                for _ in range(10):
                    socket.create_connection(("127.0.0.1", number), timeout=5).close()


def test_while_no_gateway_listens_a_connection_is_refused_at_once() -> None:
    with port.hold("127.0.0.1", 0) as holder, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.number_of(holder)), timeout=5)


def test_a_second_server_is_refused_also_while_no_gateway_listens() -> None:
    with port.hold("127.0.0.1", 0) as holder, pytest.raises(UndyingError) as refused:
        port.hold("127.0.0.1", port.number_of(holder))
    assert refused.value.failure.code is Code.ALREADY_EXISTS


def test_a_second_server_is_refused_while_a_gateway_listens() -> None:
    with port.hold("127.0.0.1", 0) as holder, _gateway(port.number_of(holder)), pytest.raises(UndyingError) as refused:
        port.hold("127.0.0.1", port.number_of(holder))
    assert refused.value.failure.code is Code.ALREADY_EXISTS


def test_a_port_with_connections_of_an_earlier_server_can_be_taken_again() -> None:
    with port.hold("127.0.0.1", 0) as holder:
        number = port.number_of(holder)
        with _gateway(number) as gateway, socket.create_connection(("127.0.0.1", number), timeout=5):
            gateway.accept()[0].close()  # this side closes first and keeps the TIME_WAIT
    port.hold("127.0.0.1", number).close()


def test_an_address_that_is_not_ours_is_a_clear_error() -> None:
    with pytest.raises(UndyingError) as refused:
        port.hold("203.0.113.7", 0)
    assert refused.value.failure.code is Code.UNAVAILABLE
    assert "203.0.113.7" in refused.value.failure.message


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("tables.example", "http://tables.example:80"),
    ],
)
def test_the_url_is_one_that_this_machine_can_reach(host: str, url: str) -> None:
    assert port.base_url(host, 80) == url
