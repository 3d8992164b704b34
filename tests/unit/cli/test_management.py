"""The management API from a client's side."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.management_server import ScriptedServer, scripted_server
from undying.cli.management import Management, is_ready
from undying.protocol.errors import Code, Failure, UndyingError
from undying.protocol.ids import Role


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        yield script


def _code_of(refused: pytest.ExceptionInfo[UndyingError]) -> Code:
    return refused.value.failure.code


def test_a_session_is_made_with_the_admin_token(server: ScriptedServer) -> None:
    server.answer("POST /v1/sessions", 201, {"session": "s1", "gm_token": "t", "url": server.url})
    assert Management(server.url, "admin").create_session("Friday")["session"] == "s1"
    (asked,) = server.asked
    assert (asked.authorization, asked.body) == ("Bearer admin", {"name": "Friday"})


def test_an_invite_names_a_user_only_when_one_is_given(server: ScriptedServer) -> None:
    server.answer("POST /v1/sessions/s1/invites", 201, {"token": "t", "url": server.url})
    client = Management(server.url, "admin")
    client.invite("s1", Role.PLAYER, "Ann", None)
    client.invite("s1", Role.GM, "Ann", "ann")
    assert [asked.body for asked in server.asked] == [
        {"role": "player", "name": "Ann"},
        {"role": "gm", "name": "Ann", "user": "ann"},
    ]


def test_as_many_endings_are_asked_for_as_wanted(server: ScriptedServer) -> None:
    server.answer("GET /v1/history?limit=5", 200, {"history": [], "lost": 0})
    assert Management(server.url, "admin").endings(5) == {"history": [], "lost": 0}


def test_who_is_in_a_hurry_waits_less_for_an_answer() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = Management(f"http://127.0.0.1:{silent.getsockname()[1]}", "admin", timeout_s=0.05)
        with pytest.raises(UndyingError) as refused:
            server.status()
    assert _code_of(refused) is Code.UNAVAILABLE


def test_the_servers_error_arrives_as_it_was_given(server: ScriptedServer) -> None:
    server.answer("GET /v1/status", 401, Failure(Code.NOT_AUTHENTICATED, "no such token").to_wire())
    with pytest.raises(UndyingError) as refused:
        Management(server.url, "wrong").status()
    assert refused.value.failure == Failure(Code.NOT_AUTHENTICATED, "no such token")


def test_a_refusal_without_an_error_object_says_its_status(server: ScriptedServer) -> None:
    with pytest.raises(UndyingError, match="404"):
        Management(server.url, "admin").status()


def test_an_answer_that_is_no_object_is_an_error(server: ScriptedServer) -> None:
    server.answers["GET /v1/status"] = (200, b"hello")
    with pytest.raises(UndyingError) as refused:
        Management(server.url, "admin").status()
    assert _code_of(refused) is Code.BAD_FRAME


def test_a_redirect_is_not_followed_since_it_would_carry_the_token_away(server: ScriptedServer) -> None:
    server.answers["GET /v1/status"] = (302, f"{server.url}/elsewhere".encode())
    with pytest.raises(UndyingError, match="302"):
        Management(server.url, "admin").status()
    assert [asked.path for asked in server.asked] == ["/v1/status"]


def test_a_proxy_is_not_asked_for_this_machine(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    server.answer("GET /v1/status", 200, {"actors": []})
    assert Management(server.url, "admin").status() == {"actors": []}


def test_no_server_is_an_error_that_says_where_it_looked() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        with pytest.raises(UndyingError, match=url) as refused:
            Management(url, "admin").status()
    assert _code_of(refused) is Code.UNAVAILABLE


def test_server_and_token_are_found_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://127.0.0.1:8420\n")
    (tmp_path / "admin-token").write_text("kept\n")
    assert Management.find(None, tmp_path, None) == Management("http://127.0.0.1:8420", "kept")


def test_what_is_given_wins_over_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://127.0.0.1:8420\n")
    (tmp_path / "admin-token").write_text("kept\n")
    assert Management.find("https://tables.example/", tmp_path, "given") == Management("https://tables.example", "given")


def test_no_server_known_and_no_token_known_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UndyingError) as refused:
        Management.find(None, tmp_path / "nowhere", "token")
    assert _code_of(refused) is Code.NOT_FOUND
    with pytest.raises(UndyingError) as refused:
        Management.find("http://127.0.0.1:1", tmp_path, None)
    assert _code_of(refused) is Code.NOT_AUTHENTICATED


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x", "localhost:8420", "http://"])
def test_only_http_is_spoken(url: str, tmp_path: Path) -> None:
    with pytest.raises(UndyingError) as refused:
        Management.find(url, tmp_path, "token")
    assert _code_of(refused) is Code.BAD_ARGS


def test_the_token_is_not_in_the_clients_text() -> None:
    assert "s3cret" not in repr(Management("http://here", "s3cret"))


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_a_server_is_ready_when_it_says_so(server: ScriptedServer, status: int, ready: bool) -> None:
    server.answers["GET /readyz"] = (status, json.dumps({}).encode())
    assert is_ready(server.url, 5.0) is ready


def test_a_server_that_is_not_there_is_not_ready() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        assert not is_ready(f"http://127.0.0.1:{unheard.getsockname()[1]}", 5.0)
