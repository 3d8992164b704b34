"""What a host has to say to one gateway, until the gateway takes it.

A gateway has at most one `submit` and one `poll` under way. Whatever a cycle of the host produced leaves with the answer
to the submit that was in it, else with the waiting poll. Each taking is numbered from 1, so that the gateway can put the
two in order again. A gateway that takes nothing for too long, or lets too much pile up, is given up: its mailbox closes,
and its next call is refused, whereupon it starts over under a new name (see `gateway.link`).

Invariant: messages are taken in the order in which they were put, each once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from undying.protocol.errors import Code, error
from undying.protocol.link import Batch, Opened, ToGateway, pack_messages

BYTES_MAX: Final = 64 << 20
IDLE_S_MAX: Final = 45.0
POLL_S: Final = 20.0


class Mailbox:
    """The messages for one gateway, open until `closed`. `now` values are seconds of the loop's clock."""

    def __init__(self, gateway: str, now: float) -> None:
        self.gateway = gateway
        self.closed = False
        self.streams: dict[str, None] = {}
        self._messages: list[ToGateway] = []
        self._bytes = 0
        self._number = 0
        self._poll: asyncio.Future[None] | None = None
        self._used = now

    def put(self, message: ToGateway) -> None:
        """Add a message. Wakes nobody, see `wake_poll`."""
        self._messages.append(message)
        self._bytes += _size(message)

    def take(self, now: float) -> tuple[int, bytes]:
        """Take all messages: the number of this taking, and the packed messages."""
        self._used = now
        self._number += 1
        messages, self._messages, self._bytes = self._messages, [], 0
        return self._number, pack_messages(messages)

    def wake_poll(self) -> None:
        """Let the waiting poll, if there is one, take what is here, if there is something."""
        if self._messages and self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def release(self) -> None:
        """End the waiting poll whatever there is to take."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def close(self) -> None:
        """Take part in nothing any more. What is still put in here is never taken."""
        self.closed = True
        self.release()

    async def wait(self) -> None:
        """Wait, up to `POLL_S`, until there is something to take that no submit takes."""
        self.release()
        if self._messages:
            return
        self._poll = poll = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(poll, POLL_S)
        except TimeoutError:
            return

    @property
    def owner(self) -> str:
        """Return the gateway whatever the life and the link: names are `<gateway>/<its life>/<number of the link>`."""
        return self.gateway.partition("/")[0]

    def precedes(self, gateway: str) -> bool:
        """Tell whether a link of this name comes after this one."""
        mine, other = self.gateway.split("/"), gateway.split("/")
        return mine[0] == other[0] and (mine[1] != other[1] or int(mine[2]) < int(other[2]))

    def given_up(self, now: float) -> bool:
        """Tell whether the gateway has to start over."""
        return self._bytes > BYTES_MAX or now - self._used > IDLE_S_MAX


class Mailboxes:
    """The mailboxes of one host, a gateway's each. `closed` is told of each that closed; `clock` gives the loop's seconds."""

    def __init__(self, closed: Callable[[Mailbox], None], clock: Callable[[], float]) -> None:
        self._closed = closed
        self._clock = clock
        self._open: dict[str, Mailbox] = {}

    def of(self, gateway: str, *, fresh: bool) -> Mailbox:
        """Return a gateway's mailbox; a new one when this is its first call (`fresh`), and those of its older links close.

        Raises UndyingError RESUME_REFUSED when it is not the first call and there is none.
        """
        mailbox = self._open.get(gateway)
        if mailbox is None:
            if not fresh:
                raise error(Code.RESUME_REFUSED, "this host does not know the gateway any more")
            for older in [each for each in self._open.values() if each.precedes(gateway)]:
                # The gateway died or took its link down: nobody is at the table through that one any more.
                self._close(older)
            mailbox = self._open[gateway] = Mailbox(gateway, self._clock())
        return mailbox

    def close_given_up(self) -> None:
        """Close those whose gateways have to start over."""
        for mailbox in [mailbox for mailbox in self._open.values() if mailbox.given_up(self._clock())]:
            self._close(mailbox)

    def wake_polls(self, but: Collection[Mailbox] = ()) -> None:
        """Let waiting polls take what is there, but for mailboxes that a submit empties."""
        for mailbox in self._open.values():
            if mailbox not in but:
                mailbox.wake_poll()

    def release(self) -> None:
        """End all waiting polls."""
        for mailbox in self._open.values():
            mailbox.release()

    def _close(self, mailbox: Mailbox) -> None:
        # At any time, also while a commit is under way: what it has to say and what still waits is of no interest any more.
        mailbox.close()
        self._closed(mailbox)
        del self._open[mailbox.gateway]


def _size(message: ToGateway) -> int:
    if isinstance(message, Batch):
        return len(message.body) + 64
    if isinstance(message, Opened):
        return len(message.state) + sum(len(batch.body) for batch in message.batches) + 64
    return 128
