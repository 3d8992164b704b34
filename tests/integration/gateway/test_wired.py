"""The gateway as a server wires it."""

from __future__ import annotations

from typing import cast

import pytest

from actors.runtime import Inside
from actors.runtime_local import LocalRuntime
from gateway.hub import Hub
from persistence.memory import MemoryDatabase, MemoryStore
from persistence.store import Store
from tests.integration.gateway.serving import http
from undying.cli.settings import ServeSettings
from undying.cli.wiring import gateway as wiring
from undying.protocol.ids import Role


async def test_ops_over_http_and_over_sockets_are_paid_from_one_purse(monkeypatch: pytest.MonkeyPatch) -> None:
    async def store(_: ServeSettings) -> Store:
        return MemoryStore(MemoryDatabase())

    monkeypatch.setattr(wiring, "open_store", store)
    monkeypatch.setattr("undying.cli.logs.configure", lambda _: None)
    settings = ServeSettings(port=0, rate_limit=1, admin_token="admin").to_plain()
    gateway = await wiring.build_gateway({**settings, "id": "gateway:1"}, Inside("p", "n", LocalRuntime({})))
    await gateway.start()
    try:
        hub = cast(Hub, gateway._sockets.accept.__self__)  # type: ignore[attr-defined]
        token = hub.tokens.join_token("s1", "ada", "Ada", Role.PLAYER, 60)
        hub.limits.take(hub.tokens.read(token).holder, 100)  # as its sockets do
        op = {"id": "o1", "s": "session:s1", "k": "chat.say", "d": {"text": "hi"}}
        refused = await http(gateway.port, "POST", "/v1/sessions/s1/ops", token=token, body={"ops": [op]})
        assert (refused.status, refused.code) == (429, "RATE_LIMITED")
    finally:
        await gateway.stop()
