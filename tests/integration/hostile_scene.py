"""What hostile clients are let loose on: a table full of secrets, another table, and how to tell that nothing changed."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

import jwt
from redis import Redis

from persistence.redis_format import secret_key
from tests.integration.serving import Server, Table
from undying.cli.wiring.gateway import SECRET

WHISPER, PLOT, LURKER, DIARY, HOARD, OMEN = (f"{word}-7f3a" for word in ("whisper", "plot", "lurker", "diary", "hoard", "omen"))
FOR_GMS: Final = (PLOT, LURKER, DIARY, OMEN)
"""What only game masters may see; the whisper is between mia and ben, the hoard is ben's and the game masters'."""

MEMBERS: Final = {"mia": "gm", "ada": "player", "ben": "player", "sam": "spectator", "ai": "agent"}


@dataclass(frozen=True)
class Scene:
    """A table to be hostile to, and another one. `ben` and `npc` are streams of characters here, `foreign` of one there."""

    table: Table
    other: Table
    ben: str
    npc: str
    foreign: str

    def stream(self, name: str) -> str:
        """Return the stream that goes by this name in the tests."""
        streams = {"table": self.table.stream, "other": self.other.stream, "provider": "provider:oracle"}
        streams |= {"ben": self.ben, "npc": self.npc, "foreign": self.foreign}
        return streams[name]


def make_scene(server: Server) -> Scene:
    """Set up both tables. All members have joined once, so that no later join is an event."""
    table, other = server.make_table(MEMBERS), server.make_table({"eve": "player"})
    for token in table.tokens.values():
        snapshot(server, table.session, token)
    ben = _create(server, table, "ben", {"name": "Ben", "inventory": [{"name": HOARD}]})
    npc = _create(server, table, "gm", {"name": "Dragon", "notes": [{"text": DIARY}]})
    foreign = _create(server, other, "eve", {"name": "Eve"})
    ops: list[tuple[str, dict[str, Any]]] = [
        ("token.put", {"id": "lurker", "x": 1, "y": 1, "name": LURKER, "hidden": True}),
        ("note.put", {"id": "plot", "text": PLOT, "visibility": "gm"}),
        ("chat.say", {"text": WHISPER, "to": ["ben-user"]}),
        ("dice.roll", {"expr": "1d20", "label": OMEN, "mode": "gm"}),
        ("dice.roll", {"expr": "1d20", "label": OMEN, "mode": "self"}),
        ("initiative.set", {"entries": [{"id": "e", "name": LURKER, "value": 1, "hidden": True}]}),
    ]
    for kind, args in ops:
        do(server, table, "mia", table.stream, kind, args)
    return Scene(table, other, ben, npc, foreign)


def do(server: Server, table: Table, who: str, stream: str, kind: str, args: dict[str, Any]) -> dict[str, Any]:
    """Do an op over HTTP and return its result."""
    op = {"id": f"{kind}-{time.monotonic_ns()}", "s": stream, "k": kind, "d": args}
    (ack,) = server.post(f"/v1/sessions/{table.session}/ops", table.tokens[who], {"ops": [op]})["acks"]
    assert ack["ok"], ack
    result: dict[str, Any] = ack.get("d", {})
    return result


def _create(server: Server, table: Table, who: str, sheet: dict[str, object]) -> str:
    made = do(server, table, who, table.stream, "character.create", {"sheet": sheet})
    return f"character:{made['character']}"


def snapshot(server: Server, session: str, token: str) -> dict[str, Any]:
    """Return all that the holder of the token may see, with positions."""
    url = f"{server.url}/v1/sessions/{session}/snapshot"
    with urllib.request.urlopen(
        urllib.request.Request(url, headers={"authorization": f"Bearer {token}"}), timeout=20
    ) as answer:
        streams: dict[str, Any] = json.load(answer)["streams"]
        return streams


async def everything(server: Server, scene: Scene) -> list[dict[str, Any]]:
    """Return both tables as their game masters see them."""
    tables = (scene.table, scene.other)
    return [await asyncio.to_thread(snapshot, server, table.session, table.tokens["gm"]) for table in tables]


async def healthy(server: Server) -> None:
    """Check that the server says that it is well."""
    with await asyncio.to_thread(urllib.request.urlopen, server.url + "/healthz", None, 10) as answer:
        assert json.load(answer)["ok"] is True


def claims_of(token: str) -> dict[str, Any]:
    """Return what a token says."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def server_secret(server: Server) -> bytes:
    """Return what the server signs with, from its store: the one thing that a hostile client does not have."""
    with Redis(unix_socket_path=str(server.data_dir / "store" / "valkey.sock")) as store:
        secret: Any = store.get(secret_key(SECRET))
        assert isinstance(secret, bytes)
        return secret


def forgeries(server: Server, token: str) -> dict[str, str]:
    """Return tokens that look like `token` and must open nothing."""
    claims, secret = claims_of(token), server_secret(server)
    head, body, signature = token.split(".")
    tampered = base64.urlsafe_b64encode(json.dumps({**claims, "role": "gm"}).encode()).rstrip(b"=").decode()
    deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 2_500).rstrip(b"=").decode()
    return {
        "another secret": jwt.encode(claims, b"x" * 32, "HS256"),
        "no algorithm": jwt.encode(claims, "", "none"),
        "another algorithm": jwt.encode(claims, secret * 2, "HS512"),
        "another audience": jwt.encode({**claims, "aud": "undying.v2"}, secret, "HS256"),
        "another issuer": jwt.encode({**claims, "iss": "eve"}, secret, "HS256"),
        "a role that the server keeps for itself": jwt.encode({**claims, "role": "system"}, secret, "HS256"),
        "a user that is no id": jwt.encode({**claims, "sub": "@gm"}, secret, "HS256"),
        "no expiry": jwt.encode({key: value for key, value in claims.items() if key != "exp"}, secret, "HS256"),
        "tampered claims": f"{head}.{tampered}.{signature}",
        "no signature": f"{head}.{body}.",
        "a part less": f"{head}.{body}",
        "a header of 2,500 lists": f"{deep}.{body}.{signature}",
    }


def expired(server: Server, token: str) -> str:
    """Return the token as if it had been made an hour ago for a minute."""
    now = int(time.time())
    return jwt.encode({**claims_of(token), "iat": now - 3600, "exp": now - 3540}, server_secret(server), "HS256")
