"""Hosts whose every call waits until the test answers it, or lets it fail."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gateway.ports import HostGone, HostPort
from undying.protocol.errors import Code, Failure, UndyingError
from undying.protocol.link import Lost, Subscribed, SubscribeItem, ToGateway, ToHost, pack_messages, unpack_items

Answer = asyncio.Future[tuple[int, bytes]]


def note(number: int) -> Lost:
    """Make a message that can be told from others."""
    return Lost("lost", f"session:{number}", "moved")


@dataclass
class PlayedHost:
    """Keeps the items of each submit, and answers when told to."""

    name: str = "host:1"
    batches: list[list[ToHost]] = field(default_factory=list)
    callers: list[tuple[str, int]] = field(default_factory=list)
    submits: list[Answer] = field(default_factory=list)
    polls: list[Answer] = field(default_factory=list)
    number: int = 0
    gone: bool = False

    async def submit(self, gateway: str, call: int, payload: bytes) -> tuple[int, bytes]:
        self.callers.append((gateway, call))
        self.batches.append(unpack_items(payload))
        return await self._wait(self.submits)

    def close(self) -> None:
        return None

    async def poll(self, gateway: str) -> tuple[int, bytes]:
        return await self._wait(self.polls)

    async def _wait(self, waiting: list[Answer]) -> tuple[int, bytes]:
        if self.gone:
            raise HostGone(self.name)
        future: Answer = asyncio.get_running_loop().create_future()
        waiting.append(future)
        return await future

    @property
    def busy(self) -> bool:
        """Tell whether a submit waits for its answer."""
        return any(not each.done() for each in self.submits)

    @property
    def items(self) -> list[ToHost]:
        """Return all items that came, in order."""
        return [item for batch in self.batches for item in batch]

    def answer(self, *messages: ToGateway) -> None:
        """Answer the submit that waits."""
        self.number += 1
        self.answer_as(self.number, *messages)

    def answer_as(self, number: int, *messages: ToGateway) -> None:
        """Answer the submit that waits, as taking `number`."""
        next(each for each in self.submits if not each.done()).set_result((number, pack_messages(list(messages))))

    def tell_as(self, number: int, *messages: ToGateway) -> None:
        """Answer the poll that waits, as taking `number`."""
        next(each for each in self.polls if not each.done()).set_result((number, pack_messages(list(messages))))

    def tell(self, *messages: ToGateway) -> None:
        """Answer the poll that waits."""
        self.number += 1
        self.tell_as(self.number, *messages)

    def die(self) -> None:
        """Fail every call that waits, and every later one."""
        self.gone = True
        for each in (*self.submits, *self.polls):
            if not each.done():
                each.set_exception(HostGone(self.name))

    def subscribe_all(self) -> list[ToGateway]:
        """Return answers to the subscriptions of the last batch."""
        return [
            Subscribed("subd", item.ref, item.stream, item.pos == (-1, -1), (1, 0) if item.pos == (-1, -1) else item.pos, [])
            for item in self.batches[-1]
            if isinstance(item, SubscribeItem)
        ]


@dataclass
class PlayedLocator:
    """Says where everything lives: the hosts in turn, the last one for ever; or refuses."""

    hosts: list[HostPort]
    refused: list[Failure] = field(default_factory=list)
    asked: list[tuple[str, bool, str]] = field(default_factory=list)

    async def locate(self, stream: str, *, create: bool, avoid: str) -> HostPort:
        self.asked.append((stream, create, avoid))
        if self.refused:
            raise UndyingError(self.refused.pop(0))
        return self.hosts.pop(0) if len(self.hosts) > 1 else self.hosts[0]


def unavailable() -> Failure:
    return Failure(Code.UNAVAILABLE, "being brought back")
