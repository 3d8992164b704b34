"""What gateway and host say to each other survives the way."""

from __future__ import annotations

import pytest

from undying.protocol.link import (
    NO_POSITION,
    Acked,
    Batch,
    Ephemeral,
    EphemeralItem,
    Failed,
    JoinItem,
    Lost,
    Opened,
    OpenItem,
    OpItem,
    PresenceItem,
    PresenceNow,
    Subscribed,
    SubscribeItem,
    ToGateway,
    ToHost,
    UnsubscribeItem,
    pack_items,
    pack_messages,
    unpack_items,
    unpack_messages,
)

STREAM = "session:t"
BATCH = Batch("ev", STREAM, 2, 3, 5, True, b"\x90", b"")

ITEMS: list[ToHost] = [
    OpItem("op", 1, STREAM, "ann", "player", "id", "chat.say", {"text": "ä", "n": {"1": [None, 1.5]}}, 7, (2, 3)),
    OpItem("op", 1, STREAM, "ann", "player", "id", "chat.say", {}),
    JoinItem("join", 2, STREAM, "j", "ann", "gm", "Ann", 9),
    OpenItem("open", 3, STREAM, "ann", "gm", NO_POSITION),
    SubscribeItem("sub", 4, STREAM, (1, 2)),
    UnsubscribeItem("unsub", STREAM),
    PresenceItem("presence", STREAM, []),
    EphemeralItem("eph", STREAM, "cursor", {"x": 1}, "ann"),
]
MESSAGES: list[ToGateway] = [
    Acked("ack", 1, (1, 2), {"a": 1}, None, False),
    Failed("fail", 1, "moved"),
    BATCH,
    Opened("opened", 1, STREAM, "replay", (2, 5), b"", [BATCH], ""),
    Subscribed("subd", 1, STREAM, False, (2, 5), [BATCH, BATCH]),
    Lost("lost", STREAM, "store"),
    PresenceNow("present", STREAM, []),
    Ephemeral("ephd", STREAM, "cursor", {"x": 1}, "ann"),
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.tag)
def test_an_item_arrives_at_the_host_with_its_type_and_its_facts(item: ToHost) -> None:
    (arrived,) = unpack_items(pack_items([item]))
    assert type(arrived) is type(item)
    assert pack_items([arrived]) == pack_items([item])


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.tag)
def test_a_message_arrives_at_the_gateway_with_its_type_and_its_facts(message: ToGateway) -> None:
    (arrived,) = unpack_messages(pack_messages([message]))
    assert type(arrived) is type(message)
    assert pack_messages([arrived]) == pack_messages([message])


def test_batches_inside_an_answer_are_batches_and_positions_are_tuples() -> None:
    opened, subscribed = unpack_messages(pack_messages([MESSAGES[3], MESSAGES[4]]))
    assert isinstance(opened, Opened)
    assert isinstance(subscribed, Subscribed)
    assert (opened.batches, opened.pos) == ([BATCH], (2, 5))
    assert (subscribed.batches, subscribed.pos) == ([BATCH, BATCH], (2, 5))
