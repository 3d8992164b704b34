"""Laws of links and routes, whatever hosts do: order is kept, and every request gets one answer."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.link import Link
from gateway.metrics import Metrics
from gateway.ports import HostGone
from gateway.router import Outcome, Router
from tests.in_virtual_time import quiet
from tests.unit.gateway.played_host import PlayedHost, note
from tests.unit.gateway.test_router import NotedFollower
from tests.virtual_time import run_virtual
from undying.protocol.errors import Code, error
from undying.protocol.link import (
    Acked,
    Failed,
    Lost,
    OpItem,
    Subscribed,
    SubscribeItem,
    ToGateway,
    ToHost,
    UnsubscribeItem,
    pack_messages,
    unpack_items,
)

STREAM = "session:t"


@settings(deadline=None)
@given(st.integers(1, 12).flatmap(lambda count: st.permutations(range(1, count + 1))), st.lists(st.booleans(), min_size=12))
def test_messages_are_delivered_in_the_order_of_their_numbers_each_once(arrivals: list[int], by_poll: list[bool]) -> None:
    async def run() -> None:
        host, got = PlayedHost(), list[ToGateway]()
        link = Link(host, "g", lambda _, message: got.append(message), lambda _: None, Metrics())
        polling = False
        for number, polled in zip(arrivals, by_poll, strict=False):
            if polled and polling:
                host.tell_as(number, note(number))
            else:
                link.send(UnsubscribeItem("unsub", STREAM))
                await quiet()
                host.answer_as(number, note(number))
                polling = True
            await quiet()
        assert got == [note(number) for number in sorted(arrivals)]
        link.close()

    run_virtual(run(), limit_s=10)


FAULTS = st.lists(
    st.sampled_from(["none", "none", "none", "store", "moved", "call lost", "answer lost", "dead", "slow"]), max_size=25
)


@dataclass
class Entity:
    """One entity: which host it lives in, what was done to it, and what is still to go wrong."""

    faults: list[str]
    home: int = 0
    done: list[str] = field(default_factory=list)
    subscribed: set[str] = field(default_factory=set)

    def next_fault(self) -> str:
        return self.faults.pop(0) if self.faults else "none"

    def move(self) -> None:
        self.home += 1
        self.subscribed.clear()


@dataclass
class ModelHost:
    """Keeps the promises that hosts make to routers, and nothing else."""

    number: int
    entity: Entity
    dead: bool = False
    takings: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"host:{self.number}"

    async def submit(self, gateway: str, call: int, payload: bytes) -> tuple[int, bytes]:
        fault = self.entity.next_fault()
        if fault == "dead":
            self.dead = True
        if self.dead or fault == "call lost":
            raise HostGone(self.name)
        if fault == "slow":
            await asyncio.sleep(0.3)
        out = [message for item in unpack_items(payload) for message in self._take(gateway, item)]
        if fault == "answer lost":
            raise HostGone(self.name)
        self.takings[gateway] = self.takings.get(gateway, 0) + 1
        return self.takings[gateway], pack_messages(out)

    def close(self) -> None:
        return None

    async def poll(self, gateway: str) -> tuple[int, bytes]:
        nothing: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        return await nothing

    def _take(self, gateway: str, item: ToHost) -> list[ToGateway]:
        entity = self.entity
        if not isinstance(item, OpItem | SubscribeItem):
            return []
        if entity.home != self.number:
            return [Failed("fail", item.ref, "moved")]
        if isinstance(item, SubscribeItem):
            entity.subscribed.add(gateway)
            return [Subscribed("subd", item.ref, STREAM, True, (1, 0), [])]
        if gateway not in entity.subscribed:
            return [Failed("fail", item.ref, "store")]
        fault = entity.next_fault()
        if fault == "store":
            entity.subscribed.clear()
            return [Failed("fail", item.ref, "store"), Lost("lost", STREAM, "store")]
        if fault == "moved":
            entity.move()
            return [Failed("fail", item.ref, "moved"), Lost("lost", STREAM, "moved")]
        if item.id not in entity.done:
            entity.done.append(item.id)
        return [Acked("ack", item.ref, (1, 1), {"id": item.id}, None, False)]


@dataclass
class ModelLocator:
    """Knows where the entity lives; moves it away from a host that died."""

    entity: Entity
    hosts: dict[int, ModelHost] = field(default_factory=dict)

    async def locate(self, stream: str, *, create: bool, avoid: str) -> ModelHost:
        await asyncio.sleep(0.001)
        entity = self.entity
        if entity.next_fault() == "store":
            raise error(Code.UNAVAILABLE, "not now")
        host = self.hosts.setdefault(entity.home, ModelHost(entity.home, entity))
        if host.dead:
            entity.move()
            host = self.hosts.setdefault(entity.home, ModelHost(entity.home, entity))
        return host


@settings(max_examples=150, deadline=None)
@given(FAULTS, st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.02, 0.5]), min_size=1, max_size=12), st.integers(0, 99))
def test_each_request_is_done_once_in_its_order_and_answered_once(faults: list[str], gaps: list[float], seed: int) -> None:
    async def run() -> None:
        entity = Entity(list(faults))
        router = Router("g", ModelLocator(entity), NotedFollower, random.Random(seed), Metrics())
        answers: dict[str, list[Outcome]] = {}
        for number, gap_s in enumerate(gaps):
            op_id = f"op{number}"
            item = OpItem("op", router.next_ref(), STREAM, "ann", "player", op_id, "say", {})
            router.request(item, answers.setdefault(op_id, []).append)
            await asyncio.sleep(gap_s)
        await asyncio.sleep(25)
        router.expire()
        assert entity.done == list(answers)
        for op_id, outcomes in answers.items():
            (outcome,) = outcomes
            assert isinstance(outcome, Acked)
            assert outcome.result == {"id": op_id}
        router.close()

    run_virtual(run(), limit_s=200)
