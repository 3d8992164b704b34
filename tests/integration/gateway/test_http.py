"""The HTTP edge over real sockets: what it answers, and that every refusal is an error object."""

from __future__ import annotations

import asyncio
import json
import socket

import jwt
import pytest

from gateway.app import SNAPSHOT_OPS, AppSettings
from gateway.auth import AUDIENCE, ISSUER, Grant
from gateway.holders import REQUESTS_MAX
from tests.integration.gateway.serving import (
    ADMIN,
    NOW_S,
    SECRET,
    Served,
    exchange,
    parse_answer,
    serving,
    undying_error,
    until,
)
from undying.protocol.data import JsonObject
from undying.protocol.ids import Role, is_id

OP = {"id": "o1", "s": "session:s1", "k": "chat.say", "d": {"text": "hi"}}
OPS = "/v1/sessions/s1/ops"
INVITES = "/v1/sessions/s1/invites"


async def test_the_admin_makes_a_session_and_gets_a_game_masters_token_for_it() -> None:
    async with serving() as served:
        answer = await served.http("POST", "/v1/sessions", token=ADMIN, body={"name": " Friday "})
        assert answer.status == 201
        assert served.tables.names == ["Friday"]
        assert answer.json["session"] == "s1"
        assert answer.json["url"] == f"http://127.0.0.1:{served.gateway.port}"
        grant = served.tokens.read(answer.json["gm_token"])
        assert (grant.session, grant.role, grant.purpose) == ("s1", Role.GM, "join")
        assert is_id(grant.user)
        assert answer.headers["cache-control"] == "no-store"


async def test_a_public_url_that_is_configured_is_the_one_given_out() -> None:
    async with serving(app=AppSettings(public_url="https://table.example/")) as served:
        answer = await served.http("POST", "/v1/sessions", token=ADMIN, body={"name": "x"})
        assert answer.json["url"] == "https://table.example"


async def test_a_host_header_that_is_no_host_is_not_echoed() -> None:
    async with serving() as served:
        headers = {"host": 'x"><script>'}
        answer = await served.http("POST", "/v1/sessions", token=ADMIN, body={"name": "x"}, headers=headers)
        assert (answer.status, answer.code) == (400, "BAD_FRAME")
        assert b"script" not in answer.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/sessions"),
        ("GET", "/v1/sessions"),
        ("GET", "/v1/status"),
        ("GET", "/v1/history"),
        ("GET", "/v1/actors/session:s1/history"),
        ("POST", "/v1/actors/session:s1/readmit"),
        ("GET", "/v1/actors/session:s1/checkpoints"),
        ("POST", "/v1/actors/session:s1/rollback"),
        ("POST", "/v1/nodes/n1/drain"),
        ("DELETE", "/v1/nodes/n1/drain"),
        ("POST", "/v1/restart"),
    ],
)
@pytest.mark.parametrize("token", [None, "wrong", "gm", ADMIN + "x", "é"])
async def test_management_needs_the_admin_token(method: str, path: str, token: str | None) -> None:
    async with serving() as served:
        given = served.token() if token == "gm" else token
        answer = await served.http(method, path, token=given, body={"name": "x"})
        assert (answer.status, answer.code) == (401, "NOT_AUTHENTICATED")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert served.tables.names == []


async def test_the_admin_sees_sessions_and_the_status_rows() -> None:
    async with serving() as served:
        assert (await served.http("GET", "/v1/sessions", token=ADMIN)).json == {
            "sessions": [{"session": "s1", "state": "live"}]
        }
        status = (await served.http("GET", "/v1/status", token=ADMIN)).json
        assert status["actors"] == [{"id": "gateway:1", "kind": "gateway"}]


@pytest.mark.parametrize("role", ["player", "P", "spectator", "agent", "gm"])
async def test_a_game_master_invites_with_any_role(role: str) -> None:
    async with serving() as served:
        answer = await served.http("POST", INVITES, token=served.token(), body={"role": role, "name": "Ann", "user": "ann"})
        assert answer.status == 201
        grant = served.tokens.read(answer.json["token"])
        assert (grant.session, grant.user, grant.name, grant.role.value[0]) == ("s1", "ann", "Ann", role[0].lower())


async def test_an_invitation_without_a_user_makes_a_new_one_each_time() -> None:
    async with serving() as served:
        users = set()
        for _ in range(2):
            answer = await served.http("POST", INVITES, token=served.token(), body={"role": "player", "name": "Ann"})
            users.add(served.tokens.read(answer.json["token"]).user)
        assert len(users) == 2


async def test_who_was_game_master_once_and_is_not_any_more_does_not_invite() -> None:
    async with serving() as served:
        served.tables.role = Role.PLAYER
        answer = await served.http("POST", INVITES, token=served.token(Role.GM), body={"role": "gm", "name": "Ann"})
        assert (answer.status, answer.code) == (403, "FORBIDDEN")


async def test_a_token_is_for_its_own_session_only() -> None:
    async with serving() as served:
        for method, path, body in (
            ("POST", INVITES, {"role": "player", "name": "Ann"}),
            ("GET", "/v1/sessions/s1/snapshot", None),
            ("POST", OPS, {"ops": [OP]}),
        ):
            answer = await served.http(method, path, token=served.token(session="s2"), body=body)
            assert (answer.status, answer.code) == (403, "FORBIDDEN")
        assert served.tables.submitted == []


def forged(**changes: object) -> dict[str, object]:
    claims: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "gm",
        "iat": NOW_S,
        "exp": NOW_S + 60,
        "jti": "j",
        "session": "s1",
        "name": "N",
        "role": "gm",
        "purpose": "join",
        "client": "",
        "issued_ms": NOW_S * 1000,
    }
    return {key: value for key, value in {**claims, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (jwt.encode(forged(), SECRET, "HS256"), None),
        (jwt.encode(forged(exp=NOW_S), SECRET, "HS256"), "TOKEN_EXPIRED"),
        (jwt.encode(forged(), b"t" * 32, "HS256"), "NOT_AUTHENTICATED"),
        (jwt.encode(forged(), "", "none"), "NOT_AUTHENTICATED"),
        (jwt.encode(forged(), b"s" * 64, "HS512"), "NOT_AUTHENTICATED"),
        (jwt.encode(forged(aud="elsewhere"), SECRET, "HS256"), "NOT_AUTHENTICATED"),
        (jwt.encode(forged(jti=None), SECRET, "HS256"), "NOT_AUTHENTICATED"),
        ("", "NOT_AUTHENTICATED"),
        ("a.b.c", "NOT_AUTHENTICATED"),
        ("x" * 5000, "NOT_AUTHENTICATED"),
        (None, "NOT_AUTHENTICATED"),
    ],
)
async def test_only_a_token_of_ours_that_is_still_good_opens_a_session(token: str | None, code: str | None) -> None:
    async with serving() as served:
        answer = await served.http("GET", "/v1/sessions/s1/snapshot", token=token)
        if code is None:
            assert (answer.status, answer.json) == (200, {"user": "gm"})
        else:
            assert (answer.status, answer.code) == (401, code)


async def test_ops_go_to_the_tables_in_their_order_and_acks_come_back() -> None:
    async with serving() as served:
        second = {**OP, "id": "o2", "at": 5, "base": [1, 2], "unknown": "ignored"}
        answer = await served.http("POST", OPS, token=served.token(), body={"ops": [OP, second]})
        assert [ack["id"] for ack in answer.json["acks"]] == ["o1", "o2"]
        [(grant, ops)] = served.tables.submitted
        assert grant.user == "gm"
        assert ops == [{"t": "op", **OP}, {"t": "op", **OP, "id": "o2", "at": 5, "base": [1, 2]}]


async def test_ops_over_the_rate_are_refused_whole_and_told_when_to_come_again() -> None:
    async with serving(rate=1, burst=1) as served:
        ops = {"ops": [OP, {**OP, "id": "o2"}]}
        assert (await served.http("POST", OPS, token=served.token(), body=ops)).status == 200
        refused = await served.http("POST", OPS, token=served.token(), body=ops)
        assert (refused.status, refused.code) == (429, "RATE_LIMITED")
        assert refused.json["retry"]["after_ms"] == 2000
        assert refused.headers["retry-after"] == "2"
        assert len(served.tables.submitted) == 1
        assert (await served.http("POST", OPS, token=served.token(user="other"), body=ops)).status == 200
        elsewhere = served.token(session="s2")
        assert (await served.http("POST", OPS.replace("s1", "s2"), token=elsewhere, body=ops)).status == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "BAD_FRAME"),
        (b"{", 400, "BAD_FRAME"),
        (b"\xff\xfe", 400, "BAD_FRAME"),
        (b'{"ops": NaN}', 400, "BAD_FRAME"),
        (b"[" * 30_000, 400, "BAD_FRAME"),
        (json.dumps({"ops": [{**OP, "d": {"n": 2**70}}]}).encode(), 400, "BAD_FRAME"),
        (json.dumps({"ops": [{**OP, "d": {"n": "\ud800"}}]}).encode(), 400, "BAD_FRAME"),
        (b'{"ops": [{"id": "o", "s": "session:s1", "k": "k", "d": {"n": 1e999}}]}', 400, "BAD_FRAME"),
        (b" " * 70_000, 413, "FRAME_TOO_LARGE"),
        (b"[]", 400, "BAD_ARGS"),
        (b"null", 400, "BAD_ARGS"),
        (b"{}", 400, "BAD_ARGS"),
        ({"ops": []}, 400, "BAD_ARGS"),
        ({"ops": [OP] * 101}, 400, "BAD_ARGS"),
        ({"ops": [{**OP, "id": ""}]}, 400, "BAD_ARGS"),
        ({"ops": [{**OP, "id": 7}]}, 400, "BAD_ARGS"),
        ({"ops": [{**OP, "s": "nowhere"}]}, 400, "BAD_ARGS"),
        ({"ops": [{**OP, "d": []}]}, 400, "BAD_ARGS"),
        ({"ops": [{**OP, "base": [1, -1]}]}, 400, "BAD_ARGS"),
    ],
)
async def test_a_bad_body_is_refused_and_reaches_nobody(body: object, status: int, code: str) -> None:
    async with serving() as served:
        answer = await served.http("POST", OPS, token=served.token(), body=body)
        assert (answer.status, answer.code) == (status, code)
        assert served.tables.submitted == []


async def test_bad_args_name_the_field() -> None:
    async with serving() as served:
        body = {"ops": [OP, {**OP, "s": "nowhere"}]}
        answer = await served.http("POST", OPS, token=served.token(), body=body)
        assert answer.json["context"] == {"path": "ops.1.s"}


@pytest.mark.parametrize(
    "body",
    [
        {"role": "king", "name": "Ann"},
        {"role": "system", "name": "Ann"},
        {"role": "player", "name": ""},
        {"role": "player", "name": "x" * 65},
        {"role": "player", "name": "a\x00b"},
        {"role": "player", "name": "Ann", "user": "../../etc"},
        {"role": "player", "name": "Ann", "user": "ann\n"},
        {"name": "Ann"},
    ],
)
async def test_an_invitation_that_is_none_is_bad_args(body: object) -> None:
    async with serving() as served:
        answer = await served.http("POST", INVITES, token=served.token(), body=body)
        assert (answer.status, answer.code) == (400, "BAD_ARGS")


async def test_a_body_of_another_type_than_json_is_refused() -> None:
    async with serving() as served:
        headers = {"content-type": "text/plain"}
        answer = await served.http("POST", OPS, token=served.token(), body={"ops": [OP]}, headers=headers)
        assert (answer.status, answer.code) == (400, "BAD_FRAME")


async def test_a_body_without_a_length_is_bounded_too() -> None:
    async with serving() as served:
        head = f"POST {OPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {served.token()}\r\n"
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        raw = (head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").encode() + chunk * 5
        answer = parse_answer(await exchange(served.gateway.port, raw + b"0\r\n\r\n"))
        assert (answer.status, answer.code) == (413, "FRAME_TOO_LARGE")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/sessions/", "/v1/sessions/s1", "/v1/sessions/s1/events", "/v1//status"])
async def test_an_unknown_path_is_404_with_an_error_object(path: str) -> None:
    async with serving() as served:
        answer = await served.http("GET", path, token=ADMIN)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v1/sessions"), ("GET", INVITES), ("POST", "/healthz")])
async def test_a_wrong_method_is_405_with_an_error_object_and_what_is_allowed(method: str, path: str) -> None:
    async with serving() as served:
        answer = await served.http(method, path, token=ADMIN)
        assert (answer.status, answer.code) == (405, "BAD_FRAME")
        assert answer.headers["allow"]


async def test_plain_http_on_the_socket_path_is_told_what_the_path_is_for() -> None:
    async with serving() as served:
        answer = await served.http("GET", "/v1/connect")
        assert (answer.status, answer.code) == (400, "BAD_FRAME")


@pytest.mark.parametrize(("code", "status"), [("REMOVED", 403), ("NOT_FOUND", 404), ("DATABASE_UNAVAILABLE", 503)])
async def test_a_failure_of_the_tables_comes_with_its_rows_status(code: str, status: int) -> None:
    async with serving() as served:
        served.tables.failure = undying_error(code)
        answer = await served.http("GET", "/v1/sessions/s1/snapshot", token=served.token())
        assert (answer.status, answer.code) == (status, code)


async def test_a_defect_is_internal_with_a_reference_and_tells_nothing() -> None:
    async with serving() as served:
        served.tables.failure = LookupError("password hunter2")
        answer = await served.http("GET", "/v1/sessions/s1/snapshot", token=served.token())
        assert (answer.status, answer.code) == (500, "INTERNAL")
        assert is_id(answer.json["context"]["reference"])
        assert b"hunter2" not in answer.body
        assert b"Traceback" not in answer.body


async def test_a_request_that_gets_no_answer_in_time_is_unavailable() -> None:
    async with serving(app=AppSettings(request_s=0.05)) as served:
        served.tables.stuck = asyncio.Event()
        answer = await served.http("GET", "/v1/sessions/s1/snapshot", token=served.token())
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")


async def test_health_is_about_the_process_and_readiness_about_what_it_needs() -> None:
    async with serving() as served:
        assert (await served.http("GET", "/readyz")).status == 200
        served.tables.failure = undying_error("NOT_FOUND")
        assert (await served.http("GET", "/healthz")).status == 200
        answer = await served.http("GET", "/readyz")
        assert (answer.status, answer.code) == (503, "NOT_FOUND")


async def test_metrics_are_prometheus_text() -> None:
    async with serving() as served:
        served.metrics.op("chat.say", "accepted", 0.002)
        answer = await served.http("GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b'undying_ops_total{kind="chat.say",outcome="accepted"} 1.0' in answer.body


async def test_a_request_that_never_ends_is_cut() -> None:
    async with serving(request_s=0.1) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.gateway.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_body_that_never_comes_is_cut() -> None:
    async with serving(request_s=0.1) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.gateway.port)
        head = f"POST {OPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
        writer.write(f"{head}Authorization: Bearer {served.token()}\r\n\r\n".encode())
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_an_endless_head_is_refused() -> None:
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.gateway.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 40_000)
        answer = parse_answer(await asyncio.wait_for(reader.read(), 5))
        assert (answer.status, answer.code) == (400, "BAD_FRAME")
        writer.close()


async def test_bytes_that_are_not_http_are_refused() -> None:
    async with serving() as served:
        answer = parse_answer(await exchange(served.gateway.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"))
        assert (answer.status, answer.code) == (400, "BAD_FRAME")


SNAPSHOT = "/v1/sessions/s1/snapshot"


def snapshots_of(served: Served, size: int) -> None:
    """Let every snapshot have so many bytes."""

    async def snapshot(_: Grant) -> JsonObject:
        return {"x": "a" * size}

    served.tables.snapshot = snapshot  # type: ignore[method-assign, assignment]


async def ask_without_reading(served: Served, user: str = "gm") -> socket.socket:
    """Send a request for a snapshot on a connection with little room in the kernel, and read nothing."""
    assert served.gateway._listener is not None
    served.gateway._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", served.gateway.port))
    head = f"GET {SNAPSHOT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.token(user=user)}\r\n\r\n"
    await loop.sock_sendall(client, head.encode())
    return client


async def read_on(client: socket.socket, size: int) -> int:
    """Read up to `size` bytes, or until the server ends it; return how many came."""
    got = 0
    while got < size:
        try:
            part = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1 << 20), 5)
        except ConnectionResetError:
            break
        if not part:
            break
        got += len(part)
    return got


def http_connections(served: Served) -> int:
    assert served.gateway._server is not None
    return len(served.gateway._server.server_state.connections)


@pytest.mark.parametrize("size", [40_000, 4_000_000])
async def test_an_answer_that_is_not_read_in_time_is_cut_off(size: int) -> None:
    async with serving(write_s=0.2, keep_alive_s=0) as served:
        snapshots_of(served, size)
        with await ask_without_reading(served) as client:
            await until(lambda: http_connections(served) == 1)
            await until(lambda: http_connections(served) == 0)
            assert await read_on(client, size) < size


async def test_an_answer_that_is_read_in_time_comes_whole_however_long_the_connection_is_kept() -> None:
    async with serving(write_s=1.0) as served:
        snapshots_of(served, 100_000)
        with await ask_without_reading(served) as client:
            assert await read_on(client, 100_000) >= 100_000
            await asyncio.sleep(1.2)
            assert http_connections(served) == 1


async def test_a_holder_has_few_requests_under_way_and_others_do_not_wait_for_them() -> None:
    async with serving() as served:
        served.tables.stuck = asyncio.Event()
        token, other = served.token(), served.token(user="other")
        held = [asyncio.create_task(served.http("GET", SNAPSHOT, token=token)) for _ in range(REQUESTS_MAX)]
        await until(lambda: served.tables.waiting == REQUESTS_MAX)
        refused = await served.http("POST", OPS, token=token, body={"ops": [OP]})
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (429, "RATE_LIMITED", "1")
        elsewhere = asyncio.create_task(served.http("GET", SNAPSHOT, token=other))
        await until(lambda: served.tables.waiting == REQUESTS_MAX + 1)
        served.tables.stuck.set()
        assert {answer.status for answer in await asyncio.gather(*held, elsewhere)} == {200}
        assert (await served.http("GET", SNAPSHOT, token=token)).status == 200


async def test_an_answer_that_is_not_read_yet_is_a_request_under_way() -> None:
    async with serving() as served:
        snapshots_of(served, 4_000_000)
        clients = [await ask_without_reading(served) for _ in range(REQUESTS_MAX)]
        for client in clients:
            await asyncio.get_running_loop().sock_recv(client, 100)  # it has begun to come
        assert (await served.http("GET", SNAPSHOT, token=served.token())).status == 429
        assert await read_on(clients[0], 4_000_000) > 3_990_000
        await until_answered(served, 200)
        for client in clients:
            client.close()
        await until(lambda: http_connections(served) == 0)
        assert (await served.http("GET", SNAPSHOT, token=served.token())).status == 200


async def until_answered(served: Served, status: int) -> None:
    async with asyncio.timeout(5):
        while (await served.http("GET", SNAPSHOT, token=served.token())).status != status:
            pass


async def test_snapshots_are_limited_by_holder_apart_from_ops() -> None:
    async with serving(rate=SNAPSHOT_OPS, burst=2 * SNAPSHOT_OPS) as served:
        answers = [await served.http("GET", SNAPSHOT, token=served.token()) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[2].code == "RATE_LIMITED"
        assert (await served.http("GET", SNAPSHOT, token=served.token(user="other"))).status == 200
        assert (await served.http("POST", OPS, token=served.token(), body={"ops": [OP]})).status == 200
        served.now_s[0] += 1
        assert (await served.http("GET", SNAPSHOT, token=served.token())).status == 200


async def test_the_admin_reads_how_an_entity_ended_and_has_it_tried_again() -> None:
    async with serving() as served:
        told = (await served.http("GET", "/v1/actors/session:s1/history", token=ADMIN)).json
        assert (told["id"], told["history"][0]["reason"]) == ("session:s1", "killed")
        done = await served.http("POST", "/v1/actors/character:c1/readmit", token=ADMIN, body={})
        assert (done.status, done.json, served.tables.readmitted) == (200, {"id": "character:c1"}, ["character:c1"])
        bad = await served.http("GET", "/v1/actors/nobody/history", token=ADMIN)
        assert (bad.status, bad.code) == (400, "BAD_ARGS")


async def test_the_admin_reads_what_an_entity_can_be_rolled_back_to_and_has_it_done() -> None:
    async with serving() as served:
        told = (await served.http("GET", "/v1/actors/session:s1/checkpoints", token=ADMIN)).json
        assert (told["id"], told["checkpoints"][0]["pos"]) == ("session:s1", [1, 5])
        done = await served.http("POST", "/v1/actors/session:s1/rollback", token=ADMIN, body={"to": [1, 5]})
        assert (done.status, done.json) == (200, {"stream": "session:s1", "to": [1, 5], "dropped": 7})


@pytest.mark.parametrize("to", [None, [], [1], [1, 2, 3], [1, -1], [1, 2**48], ["1", 2], [1, True], "1-5"])
async def test_a_rollback_to_what_is_no_position_is_refused(to: object) -> None:
    async with serving() as served:
        refused = await served.http("POST", "/v1/actors/session:s1/rollback", token=ADMIN, body={"to": to})
        assert (refused.status, refused.code) == (400, "BAD_ARGS")
        nobody = await served.http("POST", "/v1/actors/nobody/rollback", token=ADMIN, body={"to": [1, 5]})
        assert (nobody.status, nobody.code) == (400, "BAD_ARGS")


async def test_the_admin_reads_what_ended_in_the_whole_tree_a_hundred_rows_unless_another_number_is_asked_for() -> None:
    async with serving() as served:
        assert len((await served.http("GET", "/v1/history", token=ADMIN)).json["history"]) == 100
        told = (await served.http("GET", "/v1/history?limit=2", token=ADMIN)).json
        assert told == {"history": [{"id": "session:s1", "decided": "restart"}] * 2, "lost": 0}


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "1.5", "%C2%B2", "00000999999"])
async def test_a_number_of_endings_that_makes_no_sense_is_refused(limit: str) -> None:
    async with serving() as served:
        refused = await served.http("GET", f"/v1/history?limit={limit}", token=ADMIN)
        assert (refused.status, refused.code, refused.json["context"]["path"]) == (400, "BAD_ARGS", "limit")


async def test_the_admin_has_a_node_drained() -> None:
    async with serving() as served:
        begun = await served.http("POST", "/v1/nodes/n1/drain", token=ADMIN, body={})
        assert (begun.status, begun.json) == (202, {"node": "n1", "hosts": 1, "gateways": 1})
        undone = await served.http("DELETE", "/v1/nodes/n1/drain", token=ADMIN)
        assert (undone.status, undone.json) == (200, {"node": "n1"})
        assert served.tables.ordered == ["undrain n1"]


async def test_the_admin_has_every_process_replaced() -> None:
    async with serving() as served:
        begun = await served.http("POST", "/v1/restart", token=ADMIN, body={})
        assert (begun.status, begun.json) == (202, {})
        assert served.tables.ordered == ["restart"]


async def test_an_offer_of_http_2_is_left_unanswered_and_the_request_is_done() -> None:
    async with serving() as served:
        body = b'{"name": "A table"}'
        head = (
            "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n"
            "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {ADMIN}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answer = parse_answer(await exchange(served.gateway.port, head.encode() + body))
        assert (answer.status, served.tables.names) == (201, ["A table"])
