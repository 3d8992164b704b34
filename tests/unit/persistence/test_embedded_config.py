"""Where the embedded server listens and how it is configured."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from persistence.durability import Durability
from persistence.embedded import EmbeddedStore
from persistence.embedded_config import SOCKET_PATH_BYTES_MAX, Address, choose_address, render_config

DEEP = Path("/") / ("d" * 200)
BESIDE = Address(socket_path=Path("/data/valkey.sock"))


def test_the_socket_lies_beside_the_data() -> None:
    assert choose_address(Path("/data")) == BESIDE


def test_a_path_too_long_for_a_socket_moves_it_to_a_private_temporary_directory(tmp_path: Path) -> None:
    address = choose_address(DEEP, tmp_path)
    assert address.socket_path is not None
    assert len(bytes(address.socket_path)) <= SOCKET_PATH_BYTES_MAX
    assert stat.S_IMODE(address.socket_path.parent.stat().st_mode) == 0o700
    assert choose_address(DEEP, tmp_path) == address


def test_without_a_private_directory_it_is_a_loopback_port_with_a_password(tmp_path: Path) -> None:
    private = choose_address(DEEP, tmp_path).socket_path
    assert private is not None
    private.parent.chmod(0o755)
    address = choose_address(DEEP, tmp_path)
    assert address.socket_path is None
    assert address.port > 0
    assert len(address.password) == 48
    assert address.url == f"redis://:{address.password}@127.0.0.1:{address.port}/0"


def test_a_temporary_directory_too_long_as_well_makes_it_a_loopback_port() -> None:
    assert choose_address(DEEP, DEEP).port > 0


def test_a_path_is_quoted_in_the_url() -> None:
    assert Address(socket_path=Path("/a b/c?d")).url == "unix:///a%20b/c%3Fd"


@pytest.mark.parametrize(
    ("durability", "expected"),
    [
        (Durability.ALWAYS, ["appendonly yes", "appendfsync always"]),
        (Durability.EVERYSEC, ["appendonly yes", "appendfsync everysec"]),
        (Durability.MEMORY, ["appendonly no"]),
    ],
)
def test_durability_decides_what_goes_to_disk(durability: Durability, expected: list[str]) -> None:
    lines = render_config(Path("/data"), BESIDE, durability).splitlines()
    assert [line for line in lines if line.startswith("append")] == expected


def test_with_a_socket_no_port_is_open() -> None:
    lines = render_config(Path("/data"), BESIDE, Durability.ALWAYS).splitlines()
    assert "port 0" in lines
    assert 'unixsocket "/data/valkey.sock"' in lines


def test_a_port_asks_for_the_password() -> None:
    lines = render_config(Path("/data"), Address(port=7000, password="secret"), Durability.ALWAYS).splitlines()
    assert {"port 7000", "bind 127.0.0.1", "requirepass secret"} <= set(lines)


def test_quotes_in_a_path_stay_in_the_path() -> None:
    assert 'dir "/da\\"ta"' in render_config(Path('/da"ta'), BESIDE, Durability.ALWAYS)


def test_an_embedded_store_has_no_replica() -> None:
    with pytest.raises(ValueError, match="replica"):
        EmbeddedStore(Path("/data"), Durability.REPLICATED)
