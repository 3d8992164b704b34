"""A host under test, a store whose answers can be held back or lost, and a gateway played by hand."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from typing import Any

import msgpack

from actors.host import Host, HostSettings
from persistence.checkpoint import Checkpoint, unseal
from persistence.memory import MemoryDatabase, MemoryStore
from persistence.migrations import Upcasters
from persistence.store import Append, Entry, Outcome, Store, StoreUnavailable
from tests.unit.actors.toy import ToyRules
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.ids import Kind
from undying.protocol.link import (
    NO_POSITION,
    Acked,
    Batch,
    Failed,
    JoinItem,
    OpenItem,
    OpItem,
    SubscribeItem,
    ToGateway,
    ToHost,
    pack_items,
    unpack_messages,
)
from undying.protocol.position import Position

STREAM = "session:t"
NOW_MS = 1_700_000_000_000

_op_numbers = itertools.count(1)


class HeldStore(MemoryStore):
    """Memory, with mishaps. `landing` and `answering` hold an append up before and after it is written."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.landing = asyncio.Event()
        self.answering = asyncio.Event()
        self.reading = asyncio.Event()
        for gate in (self.landing, self.answering, self.reading):
            gate.set()
        self.down = False
        self.checkpoints_down = False
        self.loses_answers = False
        self.appends = 0
        self.pings = 0
        self.checkpoints_tried = 0

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        self.appends += 1
        await self.landing.wait()
        if self.down:
            return [StoreUnavailable("down", unknown=False) for _ in appends]
        outcomes = await super().append(appends)
        await self.answering.wait()
        if self.loses_answers:
            return [StoreUnavailable("no answer", unknown=True) for _ in appends]
        return outcomes

    async def ping(self) -> None:
        self.pings += 1
        self._reach()

    async def last(self, stream: str) -> Position | None:
        self._reach()
        return await super().last(stream)

    async def read(self, stream: str, after: Position, limit: int) -> list[Entry]:
        self._reach()
        await self.reading.wait()
        return await super().read(stream, after, limit)

    async def put_checkpoint(self, stream: str, checkpoint: Any, keep: int) -> Position | None:
        self.checkpoints_tried += 1
        self._reach()
        if self.checkpoints_down:
            raise StoreUnavailable("no room", unknown=False)
        return await super().put_checkpoint(stream, checkpoint, keep)

    def _reach(self) -> None:
        if self.down:
            raise StoreUnavailable("down", unknown=False)


class NotedPeers:
    """Other entities: notes what they are asked and answers with `answer`, or not at all."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.answer: JsonObject | None = {"ok": True, "result": {}}

    async def ask(self, stream: str, op_id: str, kind: str, args: JsonObject, user: str, *, create: bool) -> JsonObject:
        self.asked.append((stream, op_id, user))
        if self.answer is None:
            raise error(Code.UNAVAILABLE, "not now")
        return self.answer


class GatewayByHand:
    """Calls a host as a gateway does, and keeps all that it was told, in order."""

    def __init__(self, host: Host, name: str = "g1") -> None:
        self.host = host
        self.name = name
        self.told: list[ToGateway] = []
        self._calls = 0
        self._refs = itertools.count(1)

    async def submit(self, *items: ToHost) -> list[ToGateway]:
        """Hand over items; return what came back with them."""
        self._calls += 1
        _, payload = await self.host.submit(self.name, self._calls, pack_items(list(items)))
        messages = unpack_messages(payload)
        self.told += messages
        return messages

    async def poll(self) -> list[ToGateway]:
        """Return what the next poll brings."""
        _, payload = await self.host.poll(self.name)
        messages = unpack_messages(payload)
        self.told += messages
        return messages

    async def subscribe(self, pos: tuple[int, int] = NO_POSITION) -> list[ToGateway]:
        return await self.submit(self.sub(pos))

    async def do(self, kind: str, op_id: str = "", **args: Any) -> ToGateway:
        """Ask an op; return the answer to it."""
        item = self.op(kind, op_id, **args)
        return answer_to(item, await self.submit(item))

    def sub(self, pos: tuple[int, int] = NO_POSITION) -> SubscribeItem:
        return SubscribeItem("sub", next(self._refs), STREAM, pos)

    def op(self, kind: str, op_id: str = "", user: str = "ann", **args: Any) -> OpItem:
        ref = next(self._refs)
        return OpItem("op", ref, STREAM, user, "player", op_id or f"op-{next(_op_numbers)}", kind, args)

    def join(self, user: str, role: str, join_id: str = "j") -> JoinItem:
        return JoinItem("join", next(self._refs), STREAM, join_id, user, role, user.title(), 1)

    def open(self, pos: tuple[int, int] = NO_POSITION, role: str = "player") -> OpenItem:
        return OpenItem("open", next(self._refs), STREAM, "ann", role, pos)


class Stage:
    """A started host over a store of its own, with one toy session in it."""

    def __init__(self, database: MemoryDatabase | None = None, **settings: Any) -> None:
        self.database = database or MemoryDatabase()
        self.store = HeldStore(self.database)
        self.rules = ToyRules()
        self.peers = NotedPeers()
        self.settings = HostSettings(**settings)
        self.rested: list[tuple[str, int]] = []
        self.host = self.host_on(self.store)
        self.gateway = GatewayByHand(self.host)

    def host_on(self, store: Store) -> Host:
        """Make a host."""
        rules, rng = {Kind.SESSION: self.rules}, random.Random(1)
        return Host(store, rules, Upcasters(), lambda _: self.peers, self.settings, lambda: NOW_MS, rng, self._note_rested)

    async def _note_rested(self, lives: Sequence[tuple[str, int]]) -> None:
        self.rested += lives

    async def up(self, *, subscribed: bool = True) -> GatewayByHand:
        """Start, bring the toy to life and create it; return a gateway that follows it."""
        await self.host.start()
        await self.host.activate(STREAM, create=True)
        if STREAM not in self.created():
            await self.host.ask(STREAM, "create", "create", {}, "@admin")
        if subscribed:
            await self.gateway.subscribe()
        return self.gateway

    def created(self) -> set[str]:
        return {stream for stream in self.database.journals if "created" in self.kinds(stream)}

    def journal(self, stream: str = STREAM) -> list[Entry]:
        return list(self.database.journals.get(stream, []))

    def kinds(self, stream: str = STREAM) -> list[str]:
        """Return the kinds of all events in the journal."""
        return [event["k"] for entry in self.journal(stream) for event in msgpack.unpackb(entry.body)]

    def lines(self) -> list[str]:
        """Return the texts of all lines in the journal."""
        events = [event for entry in self.journal() for event in msgpack.unpackb(entry.body)]
        return [event["d"]["text"] for event in events if event["k"] == "said"]

    async def saved(self) -> list[Checkpoint]:
        """Return the kept checkpoints, newest first."""
        return [unseal(STREAM, each) for each in await self.store.checkpoints(STREAM)]

    async def live(self) -> list[JsonObject]:
        return await self.host.status()


def answer_to(item: OpItem | JoinItem | OpenItem | SubscribeItem, messages: Sequence[ToGateway]) -> ToGateway:
    """Return the one message that answers the item."""
    (answer,) = [each for each in messages if getattr(each, "ref", None) == item.ref]
    return answer


def refusal(answer: ToGateway) -> object:
    """Return the code of a refusal."""
    assert isinstance(answer, Acked)
    assert answer.error is not None
    return answer.error["code"]


def tags(messages: Sequence[ToGateway]) -> list[str]:
    return [message.tag for message in messages]


def is_failed(answer: ToGateway, reason: str) -> bool:
    return isinstance(answer, Failed) and answer.reason == reason


def texts(messages: Sequence[ToGateway]) -> list[str]:
    """Return the texts of the lines in the batches."""
    events = [event for each in messages if isinstance(each, Batch) for event in msgpack.unpackb(each.body)]
    return [event["d"]["text"] for event in events if event["k"] == "said"]


async def code_of(call: Any) -> Code:
    """Return the code with which a call fails."""
    try:
        await call
    except UndyingError as failed:
        return failed.failure.code
    raise AssertionError("it did not fail")
