"""The link to one host: batches out, numbered messages in, and its one way to go down."""

from __future__ import annotations

from gateway.link import BATCH_ITEMS_MAX, Link
from gateway.metrics import Metrics
from tests.in_virtual_time import quiet, virtual
from tests.unit.gateway.played_host import PlayedHost, note
from undying.protocol.errors import Code, error
from undying.protocol.link import Lost, ToGateway, UnsubscribeItem


def item(number: int) -> UnsubscribeItem:
    return UnsubscribeItem("unsub", f"session:{number}")


class Linked:
    """A link and what came of it."""

    def __init__(self) -> None:
        self.host = PlayedHost()
        self.got: list[ToGateway] = []
        self.downs = 0
        self.metrics = Metrics()
        self.link = Link(self.host, "g/1", self._deliver, self._down, self.metrics)

    def _deliver(self, _link: Link, message: ToGateway) -> None:
        self.got.append(message)

    def _down(self, _link: Link) -> None:
        self.downs += 1


@virtual
async def test_an_idle_link_sends_one_item_at_once_and_a_busy_one_all_that_came_meanwhile() -> None:
    linked = Linked()
    linked.link.send(item(1))
    await quiet()
    for number in (2, 3, 4):
        linked.link.send(item(number))
    await quiet()
    assert linked.host.batches == [[item(1)]]
    linked.host.answer()
    await quiet()
    assert linked.host.batches == [[item(1)], [item(2), item(3), item(4)]]
    assert linked.host.callers == [("g/1", 1), ("g/1", 2)]


@virtual
async def test_a_batch_is_bounded_and_the_rest_follows() -> None:
    linked = Linked()
    for number in range(BATCH_ITEMS_MAX + 1):
        linked.link.send(item(number))
    await quiet()
    linked.host.answer()
    await quiet()
    assert [len(batch) for batch in linked.host.batches] == [BATCH_ITEMS_MAX, 1]


@virtual
async def test_the_answer_to_a_batch_is_delivered_though_nothing_more_is_to_send() -> None:
    linked = Linked()
    linked.link.send(item(1))
    await quiet()
    linked.host.answer(note(1))
    await quiet()
    assert linked.got == [note(1)]


@virtual
async def test_the_answer_to_a_batch_is_delivered_while_the_next_one_is_under_way() -> None:
    linked = Linked()
    linked.link.send(item(1))
    await quiet()
    linked.link.send(item(2))
    linked.host.answer(note(1))
    await quiet()
    assert linked.host.busy
    assert linked.got == [note(1)]


@virtual
async def test_messages_are_delivered_in_the_order_of_their_numbers_whichever_call_brings_them() -> None:
    linked = Linked()
    linked.link.send(item(1))
    await quiet()
    linked.host.answer_as(1, note(1))
    await quiet()
    linked.host.tell_as(3, note(3))
    await quiet()
    assert linked.got == [note(1)]
    linked.link.send(item(2))
    await quiet()
    linked.host.answer_as(2, note(2))
    await quiet()
    assert linked.got == [note(1), note(2), note(3)]


@virtual
async def test_a_failed_submit_takes_the_link_down_once_and_nothing_is_delivered_any_more() -> None:
    linked = Linked()
    linked.link.send(item(1))
    await quiet()
    linked.host.answer()
    await quiet()
    linked.link.send(item(2))
    await quiet()
    linked.host.tell(note(1))
    linked.host.die()
    await quiet()
    assert (linked.downs, linked.link.up, linked.metrics.link_failures) == (1, False, 1)
    before = list(linked.got)
    linked.link.send(item(3))
    await quiet()
    assert linked.got == before
    assert len(linked.host.batches) == 2


@virtual
async def test_a_failed_poll_takes_the_link_down() -> None:
    linked = Linked()
    linked.link.send(item(1))
    await quiet()
    linked.host.answer()
    await quiet()
    linked.host.polls[0].set_exception(error(Code.RESUME_REFUSED, "start over"))
    await quiet()
    assert (linked.downs, linked.link.up) == (1, False)


@virtual
async def test_a_closed_link_tells_nobody() -> None:
    linked = Linked()
    linked.link.send(item(1))
    await quiet()
    linked.link.close()
    linked.host.die()
    await quiet()
    assert (linked.downs, linked.got) == (0, [])


@virtual
async def test_a_message_behind_the_one_that_takes_the_link_down_is_not_delivered() -> None:
    linked = Linked()
    linked.link.send(item(1))
    await quiet()

    def close_at_the_first(link: Link, message: ToGateway) -> None:
        linked.got.append(message)
        link.up = False

    linked.link._deliver = close_at_the_first
    linked.host.answer(note(1), Lost("lost", "session:2", "store"))
    await quiet()
    assert linked.got == [note(1)]
