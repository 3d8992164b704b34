"""Entities ask each other wherever they live."""

from __future__ import annotations

from typing import Any

from actors.peers import KNOWN_MAX, LocatedPeers
from actors.runtime import CallLost, Exit, ProcessInfo, Program
from tests.in_virtual_time import virtual
from tests.unit.actors.hosting import code_of
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, error

YES: JsonObject = {"ok": True, "result": {}}


class PlayedRef:
    """A host that answers, or raises what is in `raises`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.raises: Exception | None = None
        self.calls = 0

    async def call(self, method: str, *args: Any) -> Any:
        assert (method, args[0].partition(":")[0]) == ("ask", "character")
        self.calls += 1
        if self.raises is not None:
            raise self.raises
        return YES

    async def run(self, program: Program) -> ProcessInfo:
        raise NotImplementedError

    async def prepare(self, program: Program) -> None:
        raise NotImplementedError

    async def info(self) -> ProcessInfo:
        raise NotImplementedError

    async def watch(self) -> Exit:
        raise NotImplementedError


class World:
    """Everything lives in `ref`, or here."""

    def __init__(self, *, here: bool = False) -> None:
        self.here = here
        self.ref = PlayedRef("host:1")
        self.located: list[tuple[bool, str]] = []
        self.locate_raises: Exception | None = None
        self.asked_here = 0
        self.peers = LocatedPeers(self, self)

    def lives_here(self, stream: str) -> bool:
        return self.here

    async def locate(self, stream: str, *, create: bool = False, avoid: str = "") -> PlayedRef:
        self.located.append((create, avoid))
        if self.locate_raises is not None:
            raise self.locate_raises
        return self.ref

    async def ask(self, stream: str, op_id: str, kind: str, args: JsonObject, user: str) -> JsonObject:
        self.asked_here += 1
        return YES

    async def question(self, stream: str = "character:c", *, create: bool = False) -> JsonObject:
        return await self.peers.ask(stream, "k", "say", {}, "@session:t", create=create)


@virtual
async def test_a_neighbour_is_asked_directly() -> None:
    world = World(here=True)
    assert await world.question() == YES
    assert (world.asked_here, world.located) == (1, [])


@virtual
async def test_another_host_is_found_once_and_remembered() -> None:
    world = World()
    await world.question(create=True)
    await world.question()
    assert (world.located, world.ref.calls) == ([(True, "")], 2)


@virtual
async def test_a_lost_call_has_an_unknown_outcome_and_the_next_one_looks_elsewhere() -> None:
    world = World()
    world.ref.raises = CallLost("lost")
    assert await code_of(world.question()) is Code.UNAVAILABLE
    world.ref.raises = None
    assert await world.question() == YES
    assert world.located == [(False, ""), (False, "host:1")]


@virtual
async def test_an_entity_that_has_left_its_host_is_looked_for_again() -> None:
    world = World()
    world.ref.raises = error(Code.UNAVAILABLE, "not live here")
    assert await code_of(world.question()) is Code.UNAVAILABLE
    world.ref.raises = None
    await world.question()
    assert len(world.located) == 2


@virtual
async def test_a_runtime_that_fails_while_an_entity_is_looked_for_makes_it_unavailable_and_forgets_no_failure() -> None:
    world = World()
    world.ref.raises = CallLost("lost")
    assert await code_of(world.question()) is Code.UNAVAILABLE
    world.ref.raises, world.locate_raises = None, CallLost("the control store did not answer")
    assert await code_of(world.question()) is Code.UNAVAILABLE
    world.locate_raises = None
    assert await world.question() == YES
    assert world.located == [(False, ""), (False, "host:1"), (False, "host:1")]


@virtual
async def test_only_so_many_places_are_remembered_and_the_longest_unused_is_looked_for_again() -> None:
    world = World()
    for number in range(KNOWN_MAX):
        await world.question(f"character:{number}")
    await world.question("character:0")
    await world.question("character:new")
    assert len(world.located) == KNOWN_MAX + 1
    await world.question("character:0")
    assert len(world.located) == KNOWN_MAX + 1
    await world.question("character:1")
    assert len(world.located) == KNOWN_MAX + 2


@virtual
async def test_only_so_many_failures_are_remembered() -> None:
    world = World()
    world.ref.raises = CallLost("lost")
    for number in range(KNOWN_MAX + 1):
        assert await code_of(world.question(f"character:{number}")) is Code.UNAVAILABLE
    world.ref.raises = None
    await world.question("character:0")
    await world.question(f"character:{KNOWN_MAX}")
    assert world.located[-2:] == [(False, ""), (False, "host:1")]
