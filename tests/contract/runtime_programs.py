"""Programs that the runtime contract runs in processes. They stand in a module so that a process of its own can import them."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from actors.runtime import Inside, Wiring
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, error


class Counter:
    """Counts, fails and waits on demand."""

    def __init__(self, settings: JsonObject, inside: Inside) -> None:
        self._inside = inside
        self._step = settings.get("step", 1)
        self._value = 0
        self._kept: list[Any] = []
        self._open = asyncio.Event()

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def add(self) -> int:
        assert isinstance(self._step, int)
        self._value += self._step
        return self._value

    async def add_when_opened(self) -> int:
        await self._open.wait()
        return await self.add()

    async def open(self) -> None:
        self._open.set()

    async def keep(self, thing: list[Any]) -> list[Any]:
        self._kept = thing
        thing.append("kept")
        return thing

    async def kept(self) -> list[Any]:
        return self._kept

    async def wait_for_ever(self) -> None:
        await asyncio.Event().wait()

    async def refuse(self) -> None:
        raise error(Code.NOT_FOUND, "no such thing", id="x", numbers=[1, 2])

    async def break_down(self) -> None:
        raise KeyError("a defect")

    async def whoami(self) -> list[str]:
        return [self._inside.name, self._inside.node]

    async def call_other(self, name: str) -> int:
        other = await self._inside.runtime.find(name)
        assert other is not None
        answer = await other.call("add")
        assert isinstance(answer, int)
        return answer

    async def spawn_other(self, name: str) -> None:
        from actors.runtime import Program

        await self._inside.runtime.spawn(name, Program("counter"))

    async def kill_yourself(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _hidden(self) -> None:
        raise AssertionError


class Faulty:
    """Does not start."""

    async def start(self) -> None:
        raise OSError("the port is taken")

    async def stop(self) -> None:
        return None


async def build_counter(settings: JsonObject, inside: Inside) -> Counter:
    return Counter(settings, inside)


WIRING: Wiring = {
    "counter": Counter,
    "counter built slowly": build_counter,
    "faulty": lambda settings, inside: Faulty(),
}
