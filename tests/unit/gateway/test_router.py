"""Requests find their host, keep their order and get one answer, whatever becomes of hosts and links."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from gateway.metrics import Metrics
from gateway.ports import HostPort
from gateway.router import HOLD_S, ITEMS_MAX, Outcome, Router
from tests.in_virtual_time import quiet, virtual
from tests.unit.gateway.played_host import PlayedHost, PlayedLocator, unavailable
from undying.protocol.errors import Code, Failure
from undying.protocol.link import (
    NO_POSITION,
    Acked,
    Batch,
    Ephemeral,
    Failed,
    Lost,
    OpItem,
    PresenceItem,
    PresenceNow,
    Subscribed,
    SubscribeItem,
    ToGateway,
    UnsubscribeItem,
)

STREAM = "session:t"


class NotedFollower:
    """A follower that takes everything down."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.wanted = False
        self.reached: tuple[int, int] = NO_POSITION
        self.took: list[Any] = []
        self.ended = False
        self.why: Failure | None = None

    def fall_behind(self) -> tuple[int, int]:
        return self.reached

    def batch(self, batch: Batch) -> None:
        self.took.append((batch.epoch, batch.last))
        self.reached = (batch.epoch, batch.last)

    def subscribed(self, answer: Subscribed) -> None:
        self.took.append("subscribed")

    def present(self, users: list[tuple[str, str, str, str]]) -> None:
        self.took.append(users)

    def ephemeral(self, message: Ephemeral) -> None:
        self.took.append(message.kind)

    def released(self, failure: Failure | None) -> None:
        self.ended = True
        self.why = failure


class Routed:
    """A router over played hosts, and what its requests were answered."""

    def __init__(self, *hosts: PlayedHost) -> None:
        self.host = hosts[0] if hosts else PlayedHost()
        listed: list[HostPort] = list(hosts or [self.host])
        self.locator = PlayedLocator(listed)
        self.followers: list[NotedFollower] = []
        self.answers: dict[str, list[Outcome]] = {}
        self.metrics = Metrics()
        self.router = Router("g", self.locator, self._follower, random.Random(1), self.metrics)

    def _follower(self, stream: str) -> NotedFollower:
        self.followers.append(NotedFollower(stream))
        return self.followers[-1]

    def ask(self, op_id: str, stream: str = STREAM, *, create: bool = False) -> OpItem:
        item = OpItem("op", self.router.next_ref(), stream, "ann", "player", op_id, "say", {})
        self.router.request(item, self.answers.setdefault(op_id, []).append, create=create)
        return item


def ops(host: PlayedHost) -> list[str]:
    """Return the ids of the ops that came, in order."""
    return [item.id for item in host.items if isinstance(item, OpItem)]


def kinds(host: PlayedHost) -> list[str]:
    return [item.tag for item in host.items]


def ack(item: OpItem) -> Acked:
    return Acked("ack", item.ref, (1, 1), {"id": item.id}, None, False)


def batch(epoch: int, seq: int) -> Batch:
    return Batch("ev", STREAM, epoch, seq, seq, True, b"", b"")


def is_answered(outcomes: list[Outcome], op_id: str) -> bool:
    (outcome,) = outcomes
    return isinstance(outcome, Acked) and outcome.result == {"id": op_id}


@virtual
async def test_a_new_route_subscribes_before_it_sends_what_was_asked_while_it_was_sought() -> None:
    routed = Routed()
    for op_id in "abc":
        routed.ask(op_id)
    await quiet()
    assert kinds(routed.host) == ["sub", "op", "op", "op"]
    assert ops(routed.host) == ["a", "b", "c"]
    assert routed.locator.asked == [(STREAM, False, "")]


@virtual
async def test_each_request_gets_the_answer_to_its_number_and_gets_it_once() -> None:
    routed = Routed()
    a, b = routed.ask("a"), routed.ask("b")
    await quiet()
    routed.host.answer(*routed.host.subscribe_all(), ack(b), ack(a), ack(a))
    await quiet()
    assert is_answered(routed.answers["a"], "a")
    assert is_answered(routed.answers["b"], "b")


@virtual
async def test_after_a_host_died_everything_unanswered_is_sent_in_order_to_where_the_locator_says() -> None:
    first, second = PlayedHost("host:1"), PlayedHost("host:2")
    routed = Routed(first, second)
    a, b = routed.ask("a"), routed.ask("b")
    await quiet()
    first.answer(*first.subscribe_all(), ack(a))
    await quiet()
    routed.ask("c")
    first.die()
    await quiet()
    assert routed.locator.asked[-1] == (STREAM, False, "host:1")
    await asyncio.sleep(1)
    assert kinds(second)[0] == "sub"
    assert ops(second) == ["b", "c"]
    second.answer(*second.subscribe_all(), ack(b))
    await quiet()
    assert is_answered(routed.answers["b"], "b")
    assert second.callers[0][0] != first.callers[0][0]


@virtual
async def test_a_moved_entity_is_sought_elsewhere_and_the_subscription_carries_the_position_reached() -> None:
    first, second = PlayedHost("host:1"), PlayedHost("host:2")
    routed = Routed(first, second)
    a = routed.ask("a")
    await quiet()
    first.answer(*routed.host.subscribe_all(), batch(1, 7), Failed("fail", a.ref, "moved"))
    await asyncio.sleep(1)
    sub = second.items[0]
    assert isinstance(sub, SubscribeItem)
    assert sub.pos == (1, 7)
    assert ops(second) == ["a"]
    assert routed.locator.asked[-1] == (STREAM, False, "host:1")


@virtual
async def test_an_entity_that_is_rebuilt_where_it_was_is_asked_there_again_after_a_while() -> None:
    routed = Routed()
    a = routed.ask("a")
    b = routed.ask("b")
    await quiet()
    routed.host.answer(*routed.host.subscribe_all(), Failed("fail", a.ref, "store"), Failed("fail", b.ref, "store"))
    await asyncio.sleep(1)
    assert kinds(routed.host) == ["sub", "op", "op", "sub", "op", "op"]
    assert len(routed.locator.asked) == 1
    routed.host.answer(*routed.host.subscribe_all(), ack(a), ack(b))
    await quiet()
    assert is_answered(routed.answers["a"], "a")


@virtual
async def test_a_route_that_is_told_of_a_loss_subscribes_again_though_nothing_was_asked() -> None:
    routed = Routed()
    routed.router.follow(STREAM)
    routed.followers[0].wanted = True
    await quiet()
    routed.host.answer(*routed.host.subscribe_all())
    await quiet()
    routed.host.tell(Lost("lost", STREAM, "store"))
    await asyncio.sleep(1)
    assert kinds(routed.host) == ["sub", "sub"]


@virtual
async def test_a_failed_subscription_is_a_loss_too() -> None:
    routed = Routed()
    routed.router.follow(STREAM)
    await quiet()
    routed.host.answer(Failed("fail", routed.host.items[0].ref, "moved"))  # type: ignore[union-attr]
    await asyncio.sleep(1)
    assert len(routed.locator.asked) == 2


@virtual
async def test_a_refusal_that_can_not_change_answers_all_that_waits_and_ends_the_route() -> None:
    routed = Routed()
    routed.locator.refused = [Failure(Code.NOT_FOUND, "no such session")]
    routed.ask("a")
    routed.ask("b")
    await quiet()
    for op_id in "ab":
        (outcome,) = routed.answers[op_id]
        assert isinstance(outcome, Failure)
        assert outcome.code is Code.NOT_FOUND
    assert routed.followers[0].why == Failure(Code.NOT_FOUND, "no such session")
    routed.ask("c")
    await quiet()
    assert len(routed.followers) == 2


@virtual
async def test_a_refusal_that_may_pass_is_tried_again() -> None:
    routed = Routed()
    routed.locator.refused = [unavailable(), unavailable()]
    routed.ask("a")
    await asyncio.sleep(2)
    assert ops(routed.host) == ["a"]
    assert len(routed.locator.asked) == 3


@virtual
async def test_a_request_that_was_held_for_too_long_is_told_that_its_outcome_is_unknown() -> None:
    routed = Routed()
    a = routed.ask("a")
    await asyncio.sleep(HOLD_S / 2)
    routed.ask("b")
    await asyncio.sleep(HOLD_S / 2 + 1)
    routed.router.expire()
    (outcome,) = routed.answers["a"]
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.after_ms) == (Code.UNAVAILABLE, 1000)
    assert routed.answers["b"] == []
    routed.host.answer(*routed.host.subscribe_all(), ack(a))
    await quiet()
    assert len(routed.answers["a"]) == 1


@virtual
async def test_more_than_may_wait_for_one_stream_is_refused_as_overload_and_others_are_not_touched() -> None:
    routed = Routed()
    for number in range(ITEMS_MAX + 1):
        routed.ask(f"op{number}")
    routed.ask("other", "session:other")
    await quiet()
    (outcome,) = routed.answers[f"op{ITEMS_MAX}"]
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.OVERLOADED
    assert routed.answers["op0"] == routed.answers["other"] == []


@virtual
async def test_a_route_without_followers_and_requests_ends_and_lets_go_of_the_stream() -> None:
    routed = Routed()
    a = routed.ask("a")
    await quiet()
    routed.router.release(STREAM)
    assert not routed.followers[0].ended
    routed.host.answer(*routed.host.subscribe_all(), ack(a))
    await quiet()
    routed.router.expire()
    await quiet()
    assert (routed.followers[0].ended, routed.followers[0].why) == (True, None)
    assert routed.host.items[-1] == UnsubscribeItem("unsub", STREAM)
    assert routed.router.hosts() == {}


@virtual
async def test_what_was_missed_is_asked_for_again_on_a_gap_and_only_the_last_answer_counts() -> None:
    routed = Routed()
    routed.router.follow(STREAM)
    await quiet()
    early = routed.host.subscribe_all()
    routed.router.resubscribe(STREAM)
    routed.host.answer(*early)
    await quiet()
    assert routed.followers[0].took == []
    routed.host.answer(*routed.host.subscribe_all())
    await quiet()
    assert routed.followers[0].took == ["subscribed"]


@virtual
async def test_batches_of_a_host_that_the_stream_has_left_are_not_passed_on() -> None:
    first, second = PlayedHost("host:1"), PlayedHost("host:2")
    routed = Routed(first, second)
    routed.router.follow(STREAM)
    await quiet()
    first.answer(*first.subscribe_all(), batch(1, 1))
    await quiet()
    first.tell(Lost("lost", STREAM, "moved"))
    await asyncio.sleep(1)
    second.answer(*second.subscribe_all())
    await quiet()
    first.tell(batch(1, 2))
    await quiet()
    assert routed.followers[0].took == ["subscribed", (1, 1), "subscribed"]


@virtual
async def test_what_needs_no_answer_goes_only_to_a_route_that_is_up() -> None:
    routed = Routed()
    presence = PresenceItem("presence", STREAM, [])
    routed.router.tell(presence)
    routed.router.follow(STREAM)
    routed.router.tell(presence)
    await quiet()
    assert kinds(routed.host) == ["sub"]
    routed.router.tell(presence)
    routed.host.answer()
    await quiet()
    assert kinds(routed.host) == ["sub", "presence"]


@pytest.mark.parametrize(
    "message",
    [PresenceNow("present", STREAM, [("ann", "Ann", "gm", "online")]), Ephemeral("ephd", STREAM, "cursor", {}, "ann")],
)
def test_who_is_there_and_what_is_for_now_reach_the_follower(message: ToGateway) -> None:
    @virtual
    async def run() -> None:
        routed = Routed()
        routed.router.follow(STREAM)
        await quiet()
        routed.host.answer(message)
        await quiet()
        assert len(routed.followers[0].took) == 1

    run()


@virtual
async def test_who_may_create_says_so_to_the_locator() -> None:
    routed = Routed()
    routed.ask("a", create=True)
    await quiet()
    assert routed.locator.asked == [(STREAM, True, "")]
