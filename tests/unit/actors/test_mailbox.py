"""What a host has to say to one gateway."""

from __future__ import annotations

import asyncio

from actors.mailbox import BYTES_MAX, IDLE_S_MAX, POLL_S, Mailbox
from tests.in_virtual_time import quiet, virtual
from undying.protocol.link import Batch, Lost, unpack_messages

LOST = Lost("lost", "session:t", "moved")


def big() -> Batch:
    return Batch("ev", "session:t", 1, 1, 1, True, b"x" * (BYTES_MAX // 2), b"")


def now_s() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_messages_are_taken_once_in_their_order_and_takings_are_numbered() -> None:
    mailbox = Mailbox("g", 0.0)
    messages = [Lost("lost", f"session:{number}", "moved") for number in range(3)]
    mailbox.put(messages[0])
    mailbox.put(messages[1])
    first = mailbox.take(0.0)
    mailbox.put(messages[2])
    second, third = mailbox.take(0.0), mailbox.take(0.0)
    assert [number for number, _ in (first, second, third)] == [1, 2, 3]
    assert [unpack_messages(payload) for _, payload in (first, second, third)] == [messages[:2], messages[2:], []]


@virtual
async def test_a_poll_ends_as_soon_as_it_is_woken_with_something_to_take() -> None:
    mailbox = Mailbox("g", 0.0)
    waiting = asyncio.create_task(mailbox.wait())
    await quiet()
    mailbox.wake_poll()
    await quiet()
    assert not waiting.done()
    mailbox.put(LOST)
    mailbox.wake_poll()
    await waiting
    assert now_s() < POLL_S


@virtual
async def test_a_poll_does_not_wait_when_something_is_there() -> None:
    mailbox = Mailbox("g", 0.0)
    mailbox.put(LOST)
    await mailbox.wait()
    assert now_s() == 0.0


@virtual
async def test_a_poll_with_nothing_to_take_ends_after_a_while() -> None:
    await Mailbox("g", 0.0).wait()
    assert now_s() == POLL_S


@virtual
async def test_a_newer_poll_ends_the_older_one() -> None:
    mailbox = Mailbox("g", 0.0)
    older = asyncio.create_task(mailbox.wait())
    await quiet()
    newer = asyncio.create_task(mailbox.wait())
    await quiet()
    assert older.done()
    assert not newer.done()
    newer.cancel()


@virtual
async def test_a_gateway_that_takes_nothing_or_lets_too_much_pile_up_is_given_up() -> None:
    mailbox = Mailbox("g", 10.0)
    assert not mailbox.given_up(10.0 + IDLE_S_MAX)
    assert mailbox.given_up(10.1 + IDLE_S_MAX)
    mailbox.take(50.0)
    assert not mailbox.given_up(50.0 + IDLE_S_MAX)
    mailbox.put(big())
    mailbox.put(big())
    assert mailbox.given_up(50.0)
    mailbox.take(50.0)
    assert not mailbox.given_up(50.0)
