"""A process that stood still and wakes up when its table lives elsewhere: it tries to write, and the store refuses it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import pytest
from redis.asyncio import Redis

from actors.direct import connect
from actors.runtime import ProcessInfo, Program, Ref, Runtime
from persistence.redis_store import RedisStore
from undying.cli.datadir import socket_of
from undying.cli.settings import ServeSettings
from undying.protocol.errors import Code, UndyingError
from undying.protocol.link import (
    NO_POSITION,
    Acked,
    Failed,
    JoinItem,
    Lost,
    OpItem,
    SubscribeItem,
    ToGateway,
    ToHost,
    pack_items,
    unpack_messages,
)
from undying.protocol.position import NOWHERE

pytestmark = [pytest.mark.ray]

STREAM = "session:t"
WITHIN_S = 60.0


class Zombie:
    """Two real hosts on one store; the old one can be made to stand still, the new one takes its table over."""

    def __init__(self, runtime: Runtime, settings: ServeSettings) -> None:
        self.runtime = runtime
        self.settings = settings
        self.infos: list[ProcessInfo] = []

    async def host(self, name: str, program: str) -> Ref:
        """Start a host."""
        ref = await self.runtime.spawn(name, Program(program, self.settings.to_plain()))
        self.infos.append(await ref.info())
        return ref

    def signal(self, what: signal.Signals, index: int = 0) -> None:
        """Send a signal to a host's process."""
        os.kill(self.infos[index].pid, what)

    async def refused_writes(self) -> int:
        """Return how many XADD the store has refused."""
        async with Redis.from_url(str(self.settings.redis_url)) as store:
            facts = await store.info("commandstats")
        return int(facts["cmdstat_xadd"]["failed_calls"])

    async def journal(self) -> list[tuple[int, str]]:
        """Return what the journal holds: of each event its epoch, and its text or else its kind."""
        store = await RedisStore.open(str(self.settings.redis_url))
        try:
            entries = await store.read(STREAM, NOWHERE, 100)
        finally:
            await store.close()
        events = [(entry.position.epoch, event) for entry in entries for event in msgpack.unpackb(entry.body)]
        return [(epoch, event["d"]["text"] if event["k"] == "chat.said" else event["k"]) for epoch, event in events]

    async def end(self) -> None:
        """Leave nothing behind, whatever stands still."""
        for index, info in enumerate(self.infos):
            with suppress(ProcessLookupError):
                self.signal(signal.SIGCONT, index)
            await self.runtime.kill(info.name, info)


class Line:
    """A gateway played by hand. `call` is a way to call its host's methods."""

    def __init__(self, call: Callable[..., Awaitable[Any]], name: str) -> None:
        self._call = call
        self._name = name
        self._calls = itertools.count(1)
        self._refs = itertools.count(1)

    async def submit(self, *items: ToHost) -> list[ToGateway]:
        """Hand over items; return what comes back with them."""
        _, payload = await self._call("submit", self._name, next(self._calls), pack_items(list(items)))
        return unpack_messages(payload)

    async def poll(self) -> list[ToGateway]:
        """Wait for what comes unasked."""
        _, payload = await self._call("poll", self._name)
        return unpack_messages(payload)

    async def sit_down(self) -> None:
        """Join as game master, and follow the table."""
        join = JoinItem("join", next(self._refs), STREAM, "j", "gm", "gm", "Gm", 1)
        await self.submit(join, SubscribeItem("sub", next(self._refs), STREAM, NO_POSITION))

    def say(self, text: str) -> OpItem:
        """Make an op whose id is its text."""
        return OpItem("op", next(self._refs), STREAM, "gm", "gm", text, "chat.say", {"text": text})

    async def said(self, text: str) -> bool:
        """Say something; tell whether it was acknowledged as new."""
        op = self.say(text)
        answer = answer_to(op, await self.submit(op))
        return isinstance(answer, Acked) and answer.error is None and not answer.dup


def answer_to(op: OpItem, messages: Sequence[ToGateway]) -> ToGateway:
    (answer,) = [each for each in messages if isinstance(each, Acked | Failed) and each.ref == op.ref]
    return answer


@pytest.fixture
async def zombie(ray_runtime: Runtime, store_url: str, tmp_path: Path) -> AsyncIterator[Zombie]:
    from actors.runtime_ray import RayRuntime  # Ray reads the environment that the cluster's start sets

    where = "tests.integration.zombie_programs:WIRING"
    runtime = RayRuntime(where, [where.partition(":")[0]], namespace="zombies")
    running = Zombie(runtime, ServeSettings(redis_url=store_url, data_dir=tmp_path, rest_s=0))
    yield running
    await running.end()


async def begin(host: Ref, line: Line) -> None:
    """Create the table in a host and say one thing."""
    assert await host.call("activate", STREAM, True) == [1, 0]
    await host.call("ask", STREAM, "create", "session.create", {"name": "t"}, "@admin")
    await line.sit_down()
    assert await line.said("before")


async def take_over(host: Ref, line: Line) -> None:
    """Bring the table to life in another host, and play there."""
    assert await host.call("activate", STREAM, False) == [2, 0]
    await line.sit_down()
    assert await line.said("meanwhile")


@pytest.mark.parametrize("way", ["calls of the runtime", "a direct stream"])
async def test_an_old_incarnation_that_wakes_up_tries_to_write_and_is_refused_by_the_store(zombie: Zombie, way: str) -> None:
    old, new = await zombie.host("old", "host that never looks"), await zombie.host("new", "host that never looks")
    stream = await connect(socket_of(zombie.settings.data_dir, zombie.infos[0].node, "old"))
    at_old = Line(old.call if way == "calls of the runtime" else stream.call, "gateway:1/a/1")
    at_new = Line(new.call, "gateway:1/a/2")
    await begin(old, at_old)

    zombie.signal(signal.SIGSTOP)
    late = at_old.say("late")
    submitted = asyncio.create_task(at_old.submit(late))
    asked = asyncio.create_task(old.call("ask", STREAM, "pause", "session.pause", {}, "@admin"))
    await take_over(new, at_new)
    refused = await zombie.refused_writes()
    assert not submitted.done()
    zombie.signal(signal.SIGCONT)

    messages = await asyncio.wait_for(submitted, WITHIN_S)
    assert answer_to(late, messages) == Failed("fail", late.ref, "moved")
    assert Lost("lost", STREAM, "moved") in messages
    with pytest.raises(UndyingError) as unknown:
        await asyncio.wait_for(asked, WITHIN_S)
    assert unknown.value.failure.code is Code.UNAVAILABLE
    assert await zombie.refused_writes() == refused + 1, "it did not try, or the store let it"
    assert await old.call("status") == []

    assert await at_new.said("late"), "what failed there is asked again here, and is new"
    assert await at_new.said("after")
    told = await zombie.journal()
    assert [text for epoch, text in told if epoch == 1][-1] == "before"
    texts = [text for epoch, text in told if epoch == 2]
    assert [text for text in texts if "." not in text] == ["claimed", "meanwhile", "late", "after"]
    assert {epoch for epoch, _ in told} == {1, 2}


async def test_an_old_incarnation_that_is_asked_nothing_finds_out_by_itself_and_tells_who_follows_it(zombie: Zombie) -> None:
    old, new = await zombie.host("old", "host that looks often"), await zombie.host("new", "host that never looks")
    at_old, at_new = Line(old.call, "gateway:1/a/1"), Line(new.call, "gateway:1/a/2")
    await begin(old, at_old)

    polled = asyncio.create_task(at_old.poll())
    zombie.signal(signal.SIGSTOP)
    await take_over(new, at_new)
    refused = await zombie.refused_writes()
    assert not polled.done()
    zombie.signal(signal.SIGCONT)

    assert Lost("lost", STREAM, "moved") in await asyncio.wait_for(polled, WITHIN_S)
    assert await old.call("status") == []
    assert await zombie.refused_writes() == refused, "it looked, and did not have to try"
    assert await at_new.said("after")
