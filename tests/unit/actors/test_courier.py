"""Commands are carried until they have an answer, once at a time."""

from __future__ import annotations

import asyncio
import random

from actors.courier import Courier
from actors.rules import Command
from tests.in_virtual_time import quiet, virtual
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, error

COMMAND = Command("character:c", "hp.change", {"delta": -1}, create=True)


class PlayedPeers:
    """Fails as often as told, then answers as soon as `gate` is open."""

    def __init__(self, *failures: Code) -> None:
        self.failures = list(failures)
        self.asked: list[tuple[str, str, str, JsonObject, str, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, stream: str, op_id: str, kind: str, args: JsonObject, user: str, *, create: bool) -> JsonObject:
        self.asked.append((stream, op_id, kind, args, user, create))
        await self.gate.wait()
        if self.failures:
            raise error(self.failures.pop(0), "no")
        return {"ok": True, "result": {}}


class Carried:
    """A courier and the answers that it brought."""

    def __init__(self, *failures: Code) -> None:
        self.peers = PlayedPeers(*failures)
        self.answers: list[tuple[str, str, str, JsonObject]] = []
        self.courier = Courier(self.peers, lambda *answer: self.answers.append(answer), random.Random(1))

    def look(self) -> None:
        self.courier.look("session:t", {"k": COMMAND})


@virtual
async def test_a_command_is_sent_in_the_entity_s_name_with_its_key_as_op_id() -> None:
    carried = Carried()
    carried.look()
    await quiet()
    assert carried.peers.asked == [("character:c", "k", "hp.change", {"delta": -1}, "@session:t", True)]
    assert carried.answers == [("session:t", "k", "character:c", {"ok": True, "result": {}})]


@virtual
async def test_what_is_under_way_is_not_sent_again() -> None:
    carried = Carried()
    carried.peers.gate.clear()
    for _ in range(3):
        carried.look()
        await quiet()
    assert len(carried.peers.asked) == 1


@virtual
async def test_a_failure_that_may_pass_is_tried_again_with_the_same_id_and_longer_waits() -> None:
    carried = Carried(*[Code.UNAVAILABLE] * 5)
    carried.look()
    await asyncio.sleep(20)
    assert [asked[1] for asked in carried.peers.asked] == ["k"] * 6
    assert [answer[3]["ok"] for answer in carried.answers] == [True]


@virtual
async def test_a_failure_that_can_not_pass_is_the_answer() -> None:
    carried = Carried(Code.NOT_FOUND)
    carried.look()
    await quiet()
    (answer,) = carried.answers
    assert answer[3]["ok"] is False
    assert answer[3]["error"]["code"] == "NOT_FOUND"  # type: ignore[index,call-overload]


@virtual
async def test_an_answer_that_is_not_the_other_entity_s_own_says_so() -> None:
    carried = Carried(Code.UNAVAILABLE, Code.QUARANTINED)
    carried.look()
    await asyncio.sleep(1)
    assert [answer[3].get("heard") for answer in carried.answers] == [False]


@virtual
async def test_nothing_is_carried_for_an_entity_that_is_gone() -> None:
    carried = Carried(Code.UNAVAILABLE)
    carried.look()
    await quiet()
    carried.courier.forget("session:t")
    await asyncio.sleep(60)
    assert (len(carried.peers.asked), carried.answers) == (1, [])
