"""The gateway as a program: it listens when start returned, shares its port, and goes in order."""

from __future__ import annotations

import asyncio
import json
import random
import signal

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from actors.runtime import Running
from gateway.app import AppSettings
from gateway.metrics import Metrics
from gateway.program import Gateway, GatewaySettings
from gateway.sockets import SocketSettings
from tests.integration.gateway.serving import EchoPeer, serving, until


async def test_it_is_a_program_that_a_process_can_run() -> None:
    async with serving() as served:
        running: Running = served.gateway
        assert running is not None
        status = await served.gateway.status()
        assert status["port"] == served.gateway.port
        assert status["connections"] == 0


async def test_signals_stay_with_who_runs_the_process() -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with serving():
        assert signal.getsignal(signal.SIGTERM) is before


async def test_two_gateways_share_a_port_and_one_that_was_restarted_binds_it_again_at_once() -> None:
    async with serving() as first:
        async with serving() as _, connect(first.url) as client:
            second = Gateway(
                GatewaySettings(port=first.gateway.port), EchoPeer, first.gateway._app, Metrics(), random.Random(1)
            )
            await second.start()
            assert second.port == first.gateway.port
            await second.stop()
            await client.recv()
        port = first.gateway.port
        await first.gateway.stop()
        again = Gateway(GatewaySettings(port=port), EchoPeer, first.gateway._app, Metrics(), random.Random(1))
        await again.start()
        await again.stop()


async def test_a_stop_sends_clients_elsewhere_and_ends_with_4200() -> None:
    async with serving() as served, connect(served.url) as client:
        await client.recv()
        stopping = asyncio.create_task(served.gateway.stop())
        frame = json.loads(await client.recv())
        assert (frame["t"], frame["after_ms"]) == ("reconnect", 0)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 4200
        await stopping
        assert served.peers[0].losses == 1
        with pytest.raises(OSError, match="Connect"):
            await connect(served.url)


async def test_a_stop_does_not_wait_for_a_client_that_never_answers() -> None:
    async with serving(SocketSettings(close_s=0.1)) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.gateway.port)
        writer.write(
            b"GET /v1/connect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(3):
            await served.gateway.stop()
        writer.close()


async def test_a_stop_ends_a_request_that_hangs_within_its_bound() -> None:
    async with serving(stop_s=1, app=AppSettings(request_s=60)) as served:
        served.tables.stuck = asyncio.Event()
        request = asyncio.create_task(served.http("GET", "/v1/sessions/s1/snapshot", token=served.token()))
        await until(lambda: served.tables.waiting == 1)
        async with asyncio.timeout(3):
            await served.gateway.stop()
        assert (await request).code == "DRAINING"


async def test_opening_comes_before_the_port_and_closing_after_the_last_client() -> None:
    steps: list[str] = []

    async def step(name: str) -> None:
        steps.append(name)

    peers: list[EchoPeer] = []

    def accept(socket: object) -> EchoPeer:
        steps.append("client")
        peers.append(EchoPeer(socket))  # type: ignore[arg-type]
        return peers[-1]

    async with serving() as other:
        gateway = Gateway(
            GatewaySettings(port=0),
            accept,
            other.gateway._app,
            Metrics(),
            random.Random(1),
            lambda: step("opening"),
            lambda: step(f"closing, {peers[0].losses} lost"),
        )
        await gateway.start()
        async with connect(f"ws://127.0.0.1:{gateway.port}/v1/connect"):
            await gateway.stop()
        assert steps == ["opening", "client", "closing, 1 lost"]


async def test_an_address_that_is_not_ours_fails_the_start() -> None:
    async with serving() as other:
        gateway = Gateway(GatewaySettings(host="192.0.2.1", port=0), EchoPeer, other.gateway._app, Metrics(), random.Random(1))
        with pytest.raises(OSError, match="assign"):
            await gateway.start()


async def test_connections_beyond_all_bounds_are_cut() -> None:
    async with serving(SocketSettings(connections_max=1), http_connections_max=1) as served:
        kept = [await asyncio.open_connection("127.0.0.1", served.gateway.port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", served.gateway.port)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        for _, each in kept:
            each.close()
