"""Bad requests over HTTP: each is refused with an error object and a fitting status, and changes nothing."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.integration.hostile_scene import Scene, everything, expired, forgeries, healthy
from tests.integration.serving import Server

pytestmark = [pytest.mark.ray, pytest.mark.store]

JSON = "application/json"
INVITE = b'{"role": "player", "name": "Eve"}'
HOSTLESS = {"content-type": JSON, "host": "a b"}


@dataclass(frozen=True)
class Request:
    """A bad request, and the status and code that it gets. `{id}` in the path is the table's, `{other}` the other one's.

    `who` is a member's name, `admin`, `expired`, a way to forge, or empty for no token at all.
    """

    name: str
    method: str
    path: str
    status: int
    code: str
    body: bytes | None = None
    who: str = "ada"
    headers: dict[str, str] = field(default_factory=dict)


def ops(name: str, body: Any, status: int, code: str, who: str = "ada", **headers: str) -> Request:
    """Return a bad post of ops."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return Request(name, "POST", "/v1/sessions/{id}/ops", status, code, data, who, {"content-type": JSON, **named})


def invite(name: str, body: Any, status: int, code: str, who: str = "gm") -> Request:
    """Return a bad post of an invitation."""
    data = json.dumps(body).encode()
    return Request(name, "POST", "/v1/sessions/{id}/invites", status, code, data, who, {"content-type": JSON})


_OP: dict[str, Any] = {"id": "x", "s": "session:x", "k": "chat.say", "d": {"text": "x"}}
_NO = "NOT_AUTHENTICATED"

REQUESTS = (
    ops("no JSON", b"{", 400, "BAD_FRAME"),
    ops("no bytes", b"", 400, "BAD_FRAME"),
    ops("not UTF-8", b'{"ops": "\xff"}', 400, "BAD_FRAME"),
    ops("NaN", b'{"ops": NaN}', 400, "BAD_FRAME"),
    ops("a lone surrogate", rb'{"ops": "\ud800"}', 400, "BAD_FRAME"),
    ops("a number of 60,000 digits", b"9" * 60_000, 400, "BAD_FRAME"),
    ops("60,000 levels deep", b"[" * 60_000, 400, "BAD_FRAME"),
    ops("20 levels deep", b'{"ops":' + b"[" * 20 + b"]" * 20 + b"}", 400, "BAD_FRAME"),
    ops("10 MB", b"[" + b" " * 10_000_000 + b"]", 413, "FRAME_TOO_LARGE"),
    ops("a list", [], 400, "BAD_ARGS"),
    ops("no ops", {}, 400, "BAD_ARGS"),
    ops("an empty list of ops", {"ops": []}, 400, "BAD_ARGS"),
    ops("101 ops", {"ops": [_OP] * 101}, 400, "BAD_ARGS"),
    ops("an op without an id", {"ops": [{"s": "session:x", "k": "chat.say"}]}, 400, "BAD_ARGS"),
    ops("an op whose stream is a path", {"ops": [{**_OP, "s": "session:../x"}]}, 400, "BAD_ARGS"),
    ops("an op whose args are a list", {"ops": [{**_OP, "d": []}]}, 400, "BAD_ARGS"),
    ops("an op whose base is true", {"ops": [{**_OP, "base": [True, True]}]}, 400, "BAD_ARGS"),
    ops("another content type", {"ops": [_OP]}, 400, "BAD_FRAME", content_type="text/plain"),
    ops("a token in place of no token", {"ops": [_OP]}, 401, _NO, who=""),
    ops("a forged token", {"ops": [_OP]}, 401, _NO, who="another secret"),
    ops("an unsigned token", {"ops": [_OP]}, 401, _NO, who="no algorithm"),
    ops("an expired token", {"ops": [_OP]}, 401, "TOKEN_EXPIRED", who="expired"),
    invite("an invitation by a player", {"role": "gm", "name": "Eve"}, 403, "FORBIDDEN", who="ada"),
    invite("an invitation by a spectator", {"role": "player", "name": "Eve"}, 403, "FORBIDDEN", who="sam"),
    invite("an invitation as the server", {"role": "system", "name": "Eve"}, 400, "BAD_ARGS"),
    invite("an invitation of all game masters", {"role": "player", "name": "Eve", "user": "@gm"}, 400, "BAD_ARGS"),
    invite("an invitation with a line break", {"role": "player", "name": "Eve\nadmin"}, 400, "BAD_ARGS"),
    invite("an invitation of a name of spaces", {"role": "player", "name": "   "}, 400, "BAD_ARGS"),
    Request("another table", "GET", "/v1/sessions/{other}/snapshot", 403, "FORBIDDEN"),
    Request("no such table", "GET", "/v1/sessions/nobody/snapshot", 403, "FORBIDDEN"),
    Request("a path in an id", "GET", "/v1/sessions/..%2f..%2fetc%2fpasswd/snapshot", 404, "NOT_FOUND"),
    Request("dots in a path", "GET", "/v1/sessions/../../etc/passwd", 404, "NOT_FOUND"),
    Request("a null byte in an id", "GET", "/v1/sessions/%00/snapshot", 403, "FORBIDDEN"),
    Request("no UTF-8 in an id", "GET", "/v1/sessions/%ff/snapshot", 403, "FORBIDDEN"),
    Request("a path that is none", "GET", "/admin", 404, "NOT_FOUND"),
    Request("the wrong method", "DELETE", "/v1/sessions/{id}/ops", 405, "BAD_FRAME"),
    Request("the list of tables by a player", "GET", "/v1/sessions", 401, _NO),
    Request("the list of tables by a GM", "GET", "/v1/sessions", 401, _NO, who="gm"),
    Request("the status by a player", "GET", "/v1/status", 401, _NO),
    Request("the status by nobody", "GET", "/v1/status", 401, _NO, who=""),
    Request("a new table by a GM", "POST", "/v1/sessions", 401, _NO, b'{"name":"x"}', "gm", {"content-type": JSON}),
    Request("a table without a name", "POST", "/v1/sessions", 400, "BAD_ARGS", b"{}", "admin", {"content-type": JSON}),
    Request("a host that is none", "POST", "/v1/sessions/{id}/invites", 400, "BAD_FRAME", INVITE, "gm", HOSTLESS),
    Request("another scheme", "GET", "/v1/status", 401, _NO, None, "", {"authorization": "Basic eDp4"}),
    Request("a token that is no ASCII", "GET", "/v1/status", 401, _NO, None, "", {"authorization": "Bearer \xe4"}),
    Request("a socket's path without an upgrade", "GET", "/v1/connect", 400, "BAD_FRAME"),
)


def ask(server: Server, scene: Scene, request: Request) -> tuple[int, Any]:
    """Send a request; return the status and the answer."""
    tokens = {**scene.table.tokens, "admin": server.admin_token, "expired": ""}
    headers = dict(request.headers)
    if request.who == "expired":
        headers["authorization"] = f"Bearer {expired(server, scene.table.tokens['ada'])}"
    elif request.who:
        token = tokens.get(request.who) or forgeries(server, scene.table.tokens["ada"])[request.who]
        headers["authorization"] = f"Bearer {token}"
    path = request.path.replace("{id}", scene.table.session).replace("{other}", scene.other.session)
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    try:
        connection.request(request.method, path, request.body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("request_", REQUESTS, ids=[request.name for request in REQUESTS])
async def test_a_bad_request_is_refused_clearly_and_changes_nothing(server: Server, scene: Scene, request_: Request) -> None:
    before = await everything(server, scene)
    status, answer = ask(server, scene, request_)
    assert (status, answer.get("code")) == (request_.status, request_.code), answer
    assert len(json.dumps(answer)) < 1_000
    assert await everything(server, scene) == before
    await healthy(server)
