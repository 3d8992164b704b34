"""What the hosts supervisor knows of places, held against the processes there are, whatever dies and whenever."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.runtime import Ref, RuntimeFault
from supervision.hosts import NAME
from supervision.placement import Budget
from tests.unit.supervision import world as worlds
from tests.unit.supervision.world import FakeHost, World
from tests.virtual_time import run_virtual
from undying.protocol.data import JsonObject
from undying.protocol.errors import UndyingError

STREAMS = [f"session:t{number}" for number in range(5)]
STEPS = ["place", "place", "place", "suspect", "avoid", "release", "kill", "spare", "supervisor", "wait"]
STORIES = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 59)), max_size=25)
BUDGETS = st.builds(Budget, hosts_per_node=st.integers(1, 3), suspects_max=st.integers(1, 2))
SPARES = 1
PEACE_S = 40.0


class RestingHost(FakeHost):
    """A pretended host that can let one entity go, as one does that went to rest."""

    async def let_go(self, stream: str) -> None:
        self._live.pop(stream, None)


@dataclass
class Places:
    """A tree whose hosts supervisor is asked as supervisors of entities do: what is placed is brought to life there."""

    world: World
    placed: dict[str, str] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)

    async def ask(self, method: str, *args: object) -> object:
        for _ in itertools.count():
            ref = await self.world.runtime.find(NAME)
            if ref is not None:
                with suppress(RuntimeFault):
                    return await ref.call(method, *args)
            await asyncio.sleep(0.05)
        return None

    async def place(self, stream: str, *, avoid: str = "", suspect: bool = False) -> None:
        try:
            place = await self.ask("acquire", stream, avoid, "", suspect)
        except UndyingError:  # no room, or no process that starts
            self.placed.pop(stream, None)
            await self._let_go(stream)
            return
        assert isinstance(place, dict)
        host = str(place["host"])
        assert host != avoid or stream not in self.placed
        ref = await self.world.runtime.find(host)
        if ref is None:
            self.placed.pop(stream, None)
            await self._let_go(stream)
            return
        await self._live(ref, stream)
        moved = self.placed.get(stream) not in (None, host)
        if moved or stream not in self.placed:
            self.suspects.discard(stream)
            if suspect:
                self.suspects.add(stream)
        self.placed[stream] = host

    async def _live(self, ref: Ref, stream: str) -> None:
        with suppress(RuntimeFault, UndyingError):
            await ref.call("activate", stream, True)

    async def _let_go(self, stream: str, but: str = "") -> None:
        """Let hosts let an entity go, also one that did not know yet that it is fenced."""
        for host in set(self.world.runtime.running("host")) - {but}:
            ref = await self.world.runtime.find(host)
            if ref is not None:
                with suppress(RuntimeFault):  # it ends just now
                    await ref.call("let_go", stream)

    async def step(self, step: str, number: int) -> None:
        world, stream = self.world, STREAMS[number % len(STREAMS)]
        match step:
            case "place" | "suspect" if stream not in self.placed:
                await self.place(stream, suspect=step == "suspect")
            case "avoid" if stream in self.placed:
                await self._let_go(stream, but=self.placed[stream])
                await self.place(stream, avoid=self.placed[stream])  # where it is still taken for alive
            case "release" if stream in self.placed:
                del self.placed[stream]
                await self._let_go(stream)
                await self.ask("release", [stream])
            case "kill" if hosts := world.runtime.running("host"):
                victim = hosts[number % len(hosts)]
                await world.runtime.kill(victim)
                for lost in [stream for stream, host in self.placed.items() if host == victim]:
                    del self.placed[lost]
                    await self._let_go(lost)
            case "spare" if spares := await self.spares():
                await world.runtime.kill(spares[number % len(spares)])
            case "supervisor":
                world.runtime.crash(NAME)
            case "wait":
                await asyncio.sleep((0.01, 0.3, 3.0)[number % 3])
            case _:
                pass

    async def spares(self) -> list[str]:
        names = [name for name in await self.world.runtime.names() if name.startswith("process:")]
        running = {*self.world.runtime.running("host"), *self.world.runtime.running("gateway")}
        return [name for name in names if name not in running]

    async def rows(self) -> list[JsonObject]:
        rows = await self.ask("status")
        assert isinstance(rows, list)
        return rows


async def told(story: list[tuple[str, int]], budget: Budget) -> Places:
    """Return the places after a story, and after things have calmed down."""
    places = Places(World(spares=SPARES, budget=budget))
    await places.world.up()
    for step, number in story:
        await places.step(step, number)
    await asyncio.sleep(PEACE_S)
    return places


@mock.patch.object(worlds, "FakeHost", RestingHost)
@settings(max_examples=60, deadline=None)
@given(STORIES, BUDGETS)
def test_what_was_placed_is_known_where_it_is_and_what_died_is_remembered(story: list[tuple[str, int]], budget: Budget) -> None:
    async def scenario() -> None:
        places = await told(story, budget)
        known = await places.ask("placements")
        assert isinstance(known, dict)
        living = set(places.world.runtime.running("host"))
        assert {stream: host for stream, host in known.items() if host in living} == places.placed
        for stream, host in places.placed.items():
            place = await places.ask("acquire", stream)
            assert isinstance(place, dict)
            assert place["host"] == host, "an entity keeps its place"

    run_virtual(scenario(), limit_s=10_000)


@mock.patch.object(worlds, "FakeHost", RestingHost)
@settings(max_examples=60, deadline=None)
@given(STORIES, BUDGETS)
def test_in_peace_no_process_is_left_that_nobody_needs_and_spares_are_warm(
    story: list[tuple[str, int]], budget: Budget
) -> None:
    async def scenario() -> None:
        places = await told(story, budget)
        for stream in STREAMS:  # an empty host ends when one more is given back
            if stream in places.placed:
                del places.placed[stream]
                await places.ask("release", [stream])
        await asyncio.sleep(PEACE_S)
        await places.step("place", 0)
        await places.step("release", 0)
        await asyncio.sleep(PEACE_S)
        assert len(places.world.runtime.running("host")) <= SPARES
        assert len(await places.rows()) == len(await places.spares()) == SPARES

    run_virtual(scenario(), limit_s=10_000)
