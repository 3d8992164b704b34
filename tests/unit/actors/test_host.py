"""A host's commit loop: what is answered when, and what becomes of ops when an entity is lost."""

from __future__ import annotations

import asyncio

from actors.lives import VERIFY_S
from actors.mailbox import IDLE_S_MAX
from persistence.journal import claim_entry
from persistence.memory import MemoryDatabase, MemoryStore
from persistence.store import Append
from tests.in_virtual_time import quiet, virtual
from tests.unit.actors.hosting import (
    STREAM,
    GatewayByHand,
    Stage,
    answer_to,
    code_of,
    is_failed,
    refusal,
    tags,
    texts,
)
from undying.protocol.errors import Code
from undying.protocol.link import Acked, Batch, Lost, Opened, PresenceItem, PresenceNow, UnsubscribeItem
from undying.protocol.position import NOWHERE


async def claimed_elsewhere(stage: Stage) -> None:
    store = MemoryStore(stage.database)
    last = await store.last(STREAM) or NOWHERE
    assert await store.append([Append(STREAM, claim_entry(last, "@server", 0), follows=last)]) == [None]


def followers(stage: Stage) -> set[str]:
    return {mailbox.gateway for mailbox in stage.host._reader.subscribers(STREAM)}


@virtual
async def test_an_ack_comes_behind_the_batch_with_its_events() -> None:
    gateway = await Stage().up()
    op = gateway.op("say", text="hello")
    batch, ack = await gateway.submit(op)
    assert isinstance(batch, Batch)
    assert isinstance(ack, Acked)
    assert (batch.first, batch.last) == (2, 2)
    assert (ack.ref, tuple(ack.pos), ack.result) == (op.ref, (1, 2), {"text": "hello"})


@virtual
async def test_nothing_is_told_before_the_append_returned() -> None:
    stage = Stage()
    gateway = await stage.up()
    stage.store.answering.clear()
    asked = asyncio.create_task(gateway.submit(gateway.op("say", text="hello")))
    polled = asyncio.create_task(gateway.poll())
    await quiet()
    assert stage.lines() == ["hello"]
    assert not asked.done()
    assert not polled.done()
    stage.store.answering.set()
    assert tags(await asked) == ["ev", "ack"]


@virtual
async def test_what_waits_while_a_commit_is_under_way_is_one_commit() -> None:
    stage = Stage()
    one, two = await stage.up(), GatewayByHand(stage.host, "g2")
    await two.subscribe()
    stage.store.answering.clear()
    first = asyncio.create_task(one.submit(one.op("say", text="1")))
    await quiet()
    rest = [asyncio.create_task(two.submit(two.op("say", text="2"), two.op("say", text="3")))]
    await quiet()
    before = stage.store.appends
    stage.store.answering.set()
    await asyncio.gather(first, *rest)
    assert stage.store.appends == before + 1
    assert stage.journal()[-1].first == 3
    assert stage.lines() == ["1", "2", "3"]


@virtual
async def test_another_gateway_that_follows_gets_the_batch_with_its_poll() -> None:
    stage = Stage()
    one, two = await stage.up(), GatewayByHand(stage.host, "g2")
    await two.subscribe()
    polled = asyncio.create_task(two.poll())
    await quiet()
    await one.do("say", text="hello")
    assert texts(await polled) == ["hello"]


@virtual
async def test_an_op_of_a_gateway_that_is_not_subscribed_fails_and_leaves_nothing() -> None:
    stage = Stage()
    gateway = await stage.up(subscribed=False)
    assert is_failed(await gateway.do("say", text="too early"), "store")
    assert stage.lines() == []
    assert "said" not in stage.kinds()


@virtual
async def test_an_op_behind_the_subscription_in_one_batch_is_taken() -> None:
    stage = Stage()
    gateway = await stage.up(subscribed=False)
    assert tags(await gateway.submit(gateway.sub(), gateway.op("say", text="hello"))) == ["subd", "ev", "ack"]


@virtual
async def test_a_gateway_that_lets_go_and_follows_again_in_one_batch_still_follows() -> None:
    stage = Stage()
    gateway = await stage.up()
    await gateway.submit(UnsubscribeItem("unsub", STREAM), gateway.sub((1, 1)))
    assert tags(await gateway.submit(gateway.op("say", text="hello"))) == ["ev", "ack"]


@virtual
async def test_a_gateway_that_let_go_gets_no_more_batches() -> None:
    stage = Stage()
    one, two = await stage.up(), GatewayByHand(stage.host, "g2")
    await two.subscribe()
    await two.submit(UnsubscribeItem("unsub", STREAM))
    await one.do("say", text="hello")
    assert await two.submit() == []


@virtual
async def test_an_op_for_an_entity_that_does_not_live_here_has_moved() -> None:
    stage = Stage()
    await stage.host.start()
    gateway = stage.gateway
    assert is_failed(await gateway.do("say", text="hello"), "moved")


@virtual
async def test_the_refusal_of_an_op_waits_for_the_commit_of_the_batch_it_was_decided_in() -> None:
    stage = Stage()
    gateway = await stage.up()
    stage.store.answering.clear()
    asked = asyncio.create_task(gateway.submit(gateway.op("say", text="hello"), gateway.op("refuse")))
    polled = asyncio.create_task(gateway.poll())
    await quiet()
    assert not asked.done()
    assert not polled.done()
    stage.store.answering.set()
    _, _, refused = await asked
    assert refusal(refused) == Code.WRONG_STATE


@virtual
async def test_a_refusal_decided_on_a_state_that_never_came_to_be_is_not_told() -> None:
    stage = Stage()
    gateway = await stage.up()
    stage.store.down = True
    told = await gateway.submit(gateway.op("say", text="hello"), gateway.op("refuse", "r"))
    assert tags(told) == ["fail", "fail", "lost"]
    stage.store.down = False
    await asyncio.sleep(5)
    await gateway.subscribe((1, 1))
    again = await gateway.do("refuse", "r")
    assert isinstance(again, Acked)
    assert again.error is not None
    assert again.error["context"] == {"lines": 0}


@virtual
async def test_an_op_whose_append_has_an_unknown_outcome_is_not_answered_and_its_retry_is_a_dup_if_it_had_landed() -> None:
    stage = Stage()
    gateway = await stage.up()
    stage.store.loses_answers = True
    told = await gateway.submit(gateway.op("say", "x", text="hello"))
    assert tags(told) == ["fail", "lost"]
    assert is_failed(told[0], "store")
    stage.store.loses_answers = False
    await asyncio.sleep(5)
    (subscribed,) = await gateway.subscribe((1, 1))
    assert [batch.first for batch in subscribed.batches] == [2, 0]  # type: ignore[union-attr]
    again = await gateway.do("say", "x", text="hello")
    assert isinstance(again, Acked)
    assert (tuple(again.pos), again.result, again.dup) == ((1, 2), {"text": "hello"}, True)
    assert stage.lines() == ["hello"]


@virtual
async def test_an_op_that_did_not_land_is_done_once_by_its_retry() -> None:
    stage = Stage()
    gateway = await stage.up()
    stage.store.down = True
    assert is_failed((await gateway.submit(gateway.op("say", "x", text="hello")))[0], "store")
    assert is_failed(await gateway.do("say", "x", text="hello"), "store")
    stage.store.down = False
    await asyncio.sleep(5)
    await gateway.subscribe((1, 1))
    again = await gateway.do("say", "x", text="hello")
    assert isinstance(again, Acked)
    assert (tuple(again.pos), again.dup) == ((2, 1), False)
    assert stage.lines() == ["hello"]


@virtual
async def test_a_recoverable_refusal_is_no_answer() -> None:
    stage = Stage()
    gateway = await stage.up()
    for _ in range(2):
        again = await gateway.do("busy", "x")
        assert refusal(again) == Code.RATE_LIMITED
        assert not again.dup  # type: ignore[union-attr]
    assert stage.rules.decided.count("x") == 2


@virtual
async def test_the_same_op_twice_in_one_batch_is_done_once() -> None:
    stage = Stage()
    gateway = await stage.up()
    _, first, second = await gateway.submit(gateway.op("say", "x", text="hello"), gateway.op("say", "x", text="hello"))
    assert (first.dup, second.dup) == (False, True)  # type: ignore[union-attr]
    assert stage.lines() == ["hello"]


@virtual
async def test_a_retry_of_an_op_that_is_answered_later_waits_in_its_place() -> None:
    stage = Stage()
    gateway = await stage.up()
    first, second = gateway.op("later", "x"), gateway.op("later", "x")
    assert tags(await gateway.submit(first)) == ["ev"]
    assert await gateway.submit(second) == []
    settle = gateway.op("settle")._replace(args={"user": "ann", "id": "x"})
    told = await gateway.submit(settle)
    assert answer_to(second, told).dup is True  # type: ignore[union-attr]
    assert [message.ref for message in told if isinstance(message, Acked)] == [settle.ref, second.ref]


@virtual
async def test_a_peer_that_asks_again_for_an_answer_to_come_does_not_wait_twice() -> None:
    stage = Stage()
    await stage.up()
    first = asyncio.create_task(stage.host.ask(STREAM, "x", "later", {}, "@character:c"))
    await quiet()
    second = asyncio.create_task(stage.host.ask(STREAM, "x", "later", {}, "@character:c"))
    assert await code_of(first) is Code.UNAVAILABLE
    await stage.host.ask(STREAM, "s", "settle", {"user": "@character:c", "id": "x"}, "@character:c")
    assert await second == {"ok": True, "result": {"settled": True}}


@virtual
async def test_an_answer_to_come_outlives_the_incarnation_that_promised_it() -> None:
    stage = Stage()
    gateway = await stage.up()
    await gateway.submit(gateway.op("later", "x"))
    stage.store.down = True
    told = await gateway.submit(gateway.op("say", text="lost"))
    assert tags(told) == ["fail", "fail", "lost"]
    stage.store.down = False
    await asyncio.sleep(5)
    await gateway.subscribe((1, 2))
    again = gateway.op("later", "x")
    assert await gateway.submit(again) == []
    told = await gateway.submit(gateway.op("settle")._replace(args={"user": "ann", "id": "x"}))
    answer = answer_to(again, told)
    assert isinstance(answer, Acked)
    assert (answer.result, answer.dup) == ({"settled": True}, True)


@virtual
async def test_an_op_that_breaks_its_entity_twice_is_poisoned_and_the_entity_lives_on() -> None:
    stage = Stage()
    gateway = await stage.up()
    for _ in range(2):
        assert is_failed((await gateway.submit(gateway.op("crash", "x")))[0], "store")
        await asyncio.sleep(1)
        await gateway.subscribe((1, 1))
    assert refusal(await gateway.do("crash", "x")) == Code.OP_POISONED
    assert isinstance(await gateway.do("say", text="alive"), Acked)


@virtual
async def test_an_op_that_broke_its_entity_once_may_try_again() -> None:
    stage = Stage()
    gateway = await stage.up()
    await gateway.submit(gateway.op("crash", "x"))
    await asyncio.sleep(1)
    await gateway.subscribe((1, 1))
    stage.rules.crashes = False
    answer = await gateway.do("crash", "x")
    assert isinstance(answer, Acked)
    assert answer.error is None


@virtual
async def test_ops_staged_with_one_that_breaks_the_entity_fail_and_are_not_done() -> None:
    stage = Stage()
    gateway = await stage.up()
    told = await gateway.submit(gateway.op("say", text="a"), gateway.op("crash"), gateway.op("say", text="b"))
    assert sorted(tags(told)) == ["fail", "fail", "fail", "lost"]
    assert stage.lines() == []


@virtual
async def test_a_fenced_append_fails_its_ops_as_moved_and_lets_the_entity_go() -> None:
    stage = Stage()
    gateway = await stage.up()
    await claimed_elsewhere(stage)
    told = await gateway.submit(gateway.op("say", text="hello"))
    assert is_failed(told[0], "moved")
    assert told[1] == Lost("lost", STREAM, "moved")
    assert await stage.live() == []
    assert stage.lines() == []


@virtual
async def test_an_idle_entity_that_was_claimed_elsewhere_is_found_and_its_followers_are_told() -> None:
    stage = Stage()
    gateway = await stage.up()
    polled = asyncio.create_task(gateway.poll())
    await claimed_elsewhere(stage)
    async with asyncio.timeout(VERIFY_S + 1):
        assert await polled == [Lost("lost", STREAM, "moved")]
    assert await stage.live() == []


@virtual
async def test_an_entity_found_fenced_while_its_append_is_under_way_is_lost_only_after_it() -> None:
    stage = Stage()
    gateway = await stage.up()
    stage.store.answering.clear()
    asked = asyncio.create_task(gateway.submit(gateway.op("say", text="landed before the claim")))
    await quiet()
    await claimed_elsewhere(stage)
    await asyncio.sleep(2 * VERIFY_S)
    stage.store.answering.set()
    assert tags(await asked)[:2] == ["ev", "ack"]
    await asyncio.sleep(2 * VERIFY_S)
    assert await stage.live() == []


@virtual
async def test_a_store_that_does_not_answer_fences_nobody() -> None:
    stage = Stage()
    await stage.up()
    stage.store.down = True
    await asyncio.sleep(5 * VERIFY_S)
    assert [row["epoch"] for row in await stage.live()] == [1]


@virtual
async def test_a_gateway_that_takes_nothing_for_too_long_starts_over_under_a_new_name() -> None:
    stage = Stage()
    gateway = await stage.up()
    await asyncio.sleep(IDLE_S_MAX + 2)
    assert await code_of(gateway.poll()) is Code.RESUME_REFUSED
    assert await code_of(gateway.submit(gateway.sub())) is Code.RESUME_REFUSED
    assert tags(await GatewayByHand(stage.host, "g1/2").subscribe()) == ["subd"]


@virtual
async def test_a_gateway_that_polls_is_not_given_up() -> None:
    stage = Stage()
    gateway = await stage.up()
    for _ in range(10):
        assert await gateway.poll() == []
    assert isinstance(await gateway.do("say", text="still here"), Acked)


@virtual
async def test_a_gateway_that_lets_too_much_pile_up_starts_over() -> None:
    stage = Stage()
    one, two = await stage.up(), GatewayByHand(stage.host, "slow")
    await two.subscribe()
    for _ in range(9):
        await one.do("say", text="x" * (8 << 20))
    await asyncio.sleep(2)
    assert await code_of(two.poll()) is Code.RESUME_REFUSED
    assert isinstance(await one.do("say", text="others go on"), Acked)


@virtual
async def test_a_join_names_the_streams_that_the_member_may_follow() -> None:
    gateway = await Stage().up()
    join = gateway.join("ann", "player")
    answer = answer_to(join, await gateway.submit(join))
    assert isinstance(answer, Acked)
    assert answer.result == {"name": "Ann", "role": "player", "streams": [STREAM, "character:c"]}


@virtual
async def test_a_join_is_answered_with_the_role_after_all_that_its_batch_changed() -> None:
    gateway = await Stage().up()
    join = gateway.join("ann", "gm")
    answer = answer_to(join, await gateway.submit(join, gateway.op("role")._replace(args={"user": "ann", "role": "player"})))
    assert isinstance(answer, Acked)
    assert answer.result is not None
    assert answer.result["role"] == "player"


@virtual
async def test_draining_saves_everything_lets_it_go_and_takes_no_more() -> None:
    stage = Stage()
    gateway = await stage.up()
    await gateway.do("say", text="hello")
    polled = asyncio.create_task(gateway.poll())
    await quiet()
    await stage.host.drain()
    assert await polled == [Lost("lost", STREAM, "moved")]
    assert [saved.state["lines"] for saved in await stage.saved()] == [["hello"]]
    assert is_failed(await gateway.do("say", text="late"), "moved")
    assert await code_of(stage.host.activate(STREAM, create=False)) is Code.DRAINING
    assert await stage.live() == []


@virtual
async def test_a_host_drains_though_the_store_is_down() -> None:
    stage = Stage()
    await stage.up()
    stage.store.down = True
    await stage.host.drain()
    assert await stage.live() == []


@virtual
async def test_presence_is_told_to_everybody_who_follows_and_ends_with_the_gateway() -> None:
    stage = Stage()
    one, two = await stage.up(), GatewayByHand(stage.host, "g2")
    await two.subscribe()
    ann, bob = ("ann", "Ann", "player", "online"), ("bob", "Bob", "gm", "online")
    await one.submit(PresenceItem("presence", STREAM, [ann]))
    await two.submit(PresenceItem("presence", STREAM, [bob]))
    assert await one.submit() == [PresenceNow("present", STREAM, [list(ann), list(bob)])]  # type: ignore[list-item]
    await two.submit(UnsubscribeItem("unsub", STREAM))
    assert await one.submit() == [PresenceNow("present", STREAM, [list(ann)])]  # type: ignore[list-item]


@virtual
async def test_when_a_gateway_is_given_up_the_others_are_told_at_once_who_is_gone() -> None:
    stage = Stage()
    one, two = await stage.up(), GatewayByHand(stage.host, "gw/a/1")
    await two.subscribe()
    await two.submit(PresenceItem("presence", STREAM, [("bob", "Bob", "gm", "online")]))
    await one.submit()
    polled = asyncio.create_task(one.poll())
    await quiet()
    await GatewayByHand(stage.host, "gw/b/1").submit()
    async with asyncio.timeout(1):
        assert await polled == [PresenceNow("present", STREAM, [])]


@virtual
async def test_what_a_gateway_asked_before_it_was_given_up_is_not_done_and_nothing_is_kept_for_it() -> None:
    stage = Stage()
    gateway, old = await stage.up(), GatewayByHand(stage.host, "gw/a/1")
    await old.subscribe()
    stage.store.landing.clear()
    under_way = asyncio.create_task(gateway.submit(gateway.op("say", text="slow")))
    await quiet()
    waiting = asyncio.create_task(old.submit(old.sub(), old.open(), old.op("say", text="too late")))
    await quiet()
    new = GatewayByHand(stage.host, "gw/a/2")
    followed = asyncio.create_task(new.subscribe())
    await quiet()
    stage.store.landing.set()
    await asyncio.gather(under_way, followed)
    assert await code_of(waiting) is Code.RESUME_REFUSED
    assert stage.lines() == ["slow"]
    assert followers(stage) == {"g1", "gw/a/2"}


@virtual
async def test_an_open_does_not_outlive_its_gateway_that_is_given_up_during_the_commit_before_it() -> None:
    stage = Stage()
    gateway, old = await stage.up(), GatewayByHand(stage.host, "gw/a/1")
    await old.subscribe()
    stage.store.answering.clear()
    asked = asyncio.create_task(old.submit(old.op("say", text="landed"), old.open()))
    await quiet()
    await_new = asyncio.create_task(GatewayByHand(stage.host, "gw/b/1").submit())
    await quiet()
    stage.store.answering.set()
    assert await code_of(asked) is Code.RESUME_REFUSED
    await await_new
    assert followers(stage) == {"g1"}
    assert texts(await gateway.poll()) == ["landed"]


@virtual
async def test_a_gateway_that_does_not_follow_has_nobody_present() -> None:
    stage = Stage()
    one, two = await stage.up(), GatewayByHand(stage.host, "g2")
    await two.submit(PresenceItem("presence", STREAM, [("eve", "Eve", "gm", "online")]))
    await one.submit(PresenceItem("presence", STREAM, []))
    assert one.told[-1] == PresenceNow("present", STREAM, [])


@virtual
async def test_another_entity_is_answered_like_a_client() -> None:
    stage = Stage()
    await stage.up()
    done = await stage.host.ask(STREAM, "k", "say", {"text": "hello"}, "@character:c")
    again = await stage.host.ask(STREAM, "k", "say", {"text": "hello"}, "@character:c")
    refused = await stage.host.ask(STREAM, "r", "refuse", {}, "@character:c")
    assert done == again == {"ok": True, "result": {"text": "hello"}}
    assert refused["ok"] is False
    assert stage.lines() == ["hello"]


@virtual
async def test_another_entity_that_asks_where_nobody_lives_or_when_the_store_is_down_is_told_to_try_again() -> None:
    stage = Stage()
    await stage.up()
    assert await code_of(stage.host.ask("session:other", "k", "say", {"text": ""}, "@x")) is Code.UNAVAILABLE
    stage.store.down = True
    assert await code_of(stage.host.ask(STREAM, "k", "say", {"text": ""}, "@x")) is Code.UNAVAILABLE


@virtual
async def test_a_command_is_sent_after_its_commit_and_its_answer_becomes_an_event() -> None:
    stage = Stage()
    gateway = await stage.up()
    await gateway.do("send", "k", to="character:c")
    await quiet()
    assert stage.peers.asked == [("character:c", "k", f"@{STREAM}")]
    assert stage.kinds()[-2:] == ["sent", "heard"]


@virtual
async def test_a_command_without_an_answer_is_sent_again_by_the_next_incarnation() -> None:
    stage = Stage()
    gateway = await stage.up()
    stage.peers.answer = None
    await gateway.do("send", "k", to="character:c")
    await quiet()
    assert "heard" not in stage.kinds()
    await stage.host.stop()
    later = Stage(stage.database)
    await later.up()
    await quiet()
    assert later.peers.asked == [("character:c", "k", f"@{STREAM}")]
    assert later.kinds()[-1] == "heard"


@virtual
async def test_an_activation_claims_one_epoch_and_is_idempotent_while_the_entity_lives() -> None:
    stage = Stage()
    await stage.host.start()
    positions = await asyncio.gather(*(stage.host.activate(STREAM, create=True) for _ in range(3)))
    assert positions == [[1, 0]] * 3
    assert await stage.host.activate(STREAM, create=False) == [1, 0]
    assert [entry.position for entry in stage.journal()] == [(1, 0)]


@virtual
async def test_what_was_never_created_is_not_found_and_nothing_is_claimed() -> None:
    stage = Stage(MemoryDatabase())
    await stage.host.start()
    assert await code_of(stage.host.activate(STREAM, create=False)) is Code.NOT_FOUND
    assert stage.journal() == []


@virtual
async def test_an_activation_without_a_store_fails_and_can_be_tried_again() -> None:
    stage = Stage()
    await stage.host.start()
    stage.store.down = True
    assert await code_of(stage.host.activate(STREAM, create=True)) is Code.DATABASE_UNAVAILABLE
    stage.store.down = False
    assert await stage.host.activate(STREAM, create=True) == [1, 0]


@virtual
async def test_a_viewer_gets_a_snapshot_of_what_they_may_see() -> None:
    gateway = await Stage().up()
    await gateway.do("secret", text="the duke did it")
    player, leader = gateway.open(), gateway.open(role="gm")
    told = await gateway.submit(player, leader)
    theirs, whole = answer_to(player, told), answer_to(leader, told)
    assert isinstance(theirs, Opened)
    assert isinstance(whole, Opened)
    assert b"duke" not in theirs.state
    assert b"duke" in whole.state
    assert theirs.pos == (1, 2)
