"""Who follows which entity of a host, and how a follower catches up.

A follower asks from a position. When everything since then is in the incarnation's tail, it gets that (`replay`, or
`live` when there is nothing). Else the journal is read in the background; what it gave is joined to the tail as it is
*then*, so the answer still stands at its right place among the batches. When the two don't meet, or it would be more than
`REPLAY_EVENTS_MAX` events or `REPLAY_BYTES_MAX` bytes, the follower gets a snapshot: never a part, never a guess.

After a rollback only what is on the line is replayed (`persistence.lineage`). Who is at a position that was rolled back over
gets a snapshot: the claim that follows names another position than theirs.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

from actors.incarnation import Incarnation, follows
from actors.mailbox import Mailbox
from persistence.journal import along_line, check_next
from persistence.store import Entry, Store, StoreError
from undying.protocol.events import Viewer
from undying.protocol.ids import Role
from undying.protocol.link import (
    NO_POSITION,
    Batch,
    Ephemeral,
    EphemeralItem,
    Failed,
    Opened,
    OpenItem,
    PresenceItem,
    PresenceNow,
    Subscribed,
    SubscribeItem,
    ToGateway,
)
from undying.protocol.position import Position
from undying.resilience.tasks import vital

log = structlog.get_logger()

REPLAY_EVENTS_MAX: Final = 5_000
REPLAY_BYTES_MAX: Final = 4 << 20
PAGE: Final = 500

Asked = OpenItem | SubscribeItem


def batch_of(stream: str, entry: Entry) -> Batch:
    """Return the message that carries an entry to the gateways."""
    epoch, last = entry.position
    return Batch("ev", stream, epoch, entry.first, last, entry.public, entry.body, entry.effects)


class Reader:
    """The followers of one host's entities. `settled` is held while a commit is under way."""

    def __init__(
        self,
        store: Store,
        live: Mapping[str, Incarnation[Any, Any]],
        settled: asyncio.Lock,
    ) -> None:
        self._store = store
        self._live = live
        self._settled = settled
        self._followers: dict[str, dict[str, Mailbox]] = {}
        self._present: dict[str, dict[str, list[tuple[str, str, str, str]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def subscribers(self, stream: str) -> Iterable[Mailbox]:
        """Return the mailboxes of the gateways that follow a stream."""
        return list(self._followers.get(stream, {}).values())

    def followed(self, stream: str) -> bool:
        """Tell whether a gateway follows a stream."""
        return bool(self._followers.get(stream))

    def open(self, mailbox: Mailbox, life: Incarnation[Any, Any], item: OpenItem) -> None:
        """Answer a viewer who wants to follow a stream; from now on the gateway gets its batches."""
        self._follow(mailbox, life.stream)
        self._catch_up(mailbox, life, item)

    def subscribe(self, mailbox: Mailbox, life: Incarnation[Any, Any], item: SubscribeItem) -> None:
        """Answer a gateway that follows a stream again."""
        self._follow(mailbox, life.stream)
        self._catch_up(mailbox, life, item)

    def unsubscribe(self, mailbox: Mailbox, stream: str) -> None:
        """Stop sending a stream's batches to a gateway."""
        self._followers.get(stream, {}).pop(mailbox.gateway, None)
        mailbox.streams.pop(stream, None)
        if self._present.get(stream, {}).pop(mailbox.gateway, None):
            self._tell_presence(stream)

    def close(self, mailbox: Mailbox) -> None:
        """Forget a gateway that was given up."""
        for stream in list(mailbox.streams):
            self.unsubscribe(mailbox, stream)

    def forget(self, stream: str) -> None:
        """Forget the followers of a lost entity; they subscribe again."""
        for mailbox in self._followers.pop(stream, {}).values():
            mailbox.streams.pop(stream, None)
        self._present.pop(stream, None)

    def presence(self, mailbox: Mailbox, item: PresenceItem) -> None:
        """Note who of a table is at a gateway that follows it, and tell all gateways."""
        if item.stream not in mailbox.streams:
            return
        self._present.setdefault(item.stream, {})[mailbox.gateway] = list(item.users)
        self._tell_presence(item.stream)

    def ephemeral(self, item: EphemeralItem) -> None:
        """Pass something for now only to all gateways that follow the stream."""
        for mailbox in self.subscribers(item.stream):
            mailbox.put(Ephemeral("ephd", item.stream, item.kind, item.data, item.by))

    def _follow(self, mailbox: Mailbox, stream: str) -> None:
        self._followers.setdefault(stream, {})[mailbox.gateway] = mailbox
        mailbox.streams[stream] = None

    def _tell_presence(self, stream: str) -> None:
        users = [user for there in self._present.get(stream, {}).values() for user in there]
        for mailbox in self.subscribers(stream):
            mailbox.put(PresenceNow("present", stream, users))
            # Not only in cycles: a gateway is given up between them, and those at the other ones would seem to stay.
            mailbox.wake_poll()

    def _catch_up(self, mailbox: Mailbox, life: Incarnation[Any, Any], item: Asked) -> None:
        asked = Position(*item.pos)
        if item.pos == NO_POSITION:
            mailbox.put(_afresh(life, item, ""))
            return
        entries = life.since(asked)
        if entries is not None:
            mailbox.put(_answer(life, item, entries))
        elif asked < life.tail_from:
            task = vital(self._read_back(mailbox, life, item, asked), f"reading back {life.stream}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            mailbox.put(_afresh(life, item, "position unknown"))

    async def _read_back(self, mailbox: Mailbox, life: Incarnation[Any, Any], item: Asked, asked: Position) -> None:
        try:
            earlier = await self._journal(life.stream, asked, life.tail_from)
        except StoreError as failure:
            log.warning("history not read", stream=life.stream, reason=str(failure))
            earlier = None
        async with self._settled:
            # While a commit is under way the state runs ahead of the journal.
            self._joined_up(mailbox, life, item, asked, earlier)

    def _joined_up(
        self, mailbox: Mailbox, life: Incarnation[Any, Any], item: Asked, asked: Position, earlier: list[Entry] | None
    ) -> None:
        if mailbox.closed:
            return
        message: ToGateway
        if self._live.get(life.stream) is not life:
            message = Failed("fail", item.ref, "store")
        elif earlier and (joined := life.since(earlier[-1].position)) is not None:
            message = _answer(life, item, [*earlier, *joined])
        else:
            message = _afresh(life, item, "too far back")
        mailbox.put(message)
        mailbox.wake_poll()

    async def _journal(self, stream: str, after: Position, until: Position) -> list[Entry] | None:
        """Read what came after a position on the line of `until`; None when that is not there or too much.

        Raises StoreError, Damaged for a hole.
        """
        found: list[Entry] = []
        events = size = 0
        while not found or found[-1].position < until:
            page = await self._store.read(stream, found[-1].position if found else after, PAGE)
            up_to = [entry for entry in page if entry.position <= until]
            if not up_to:
                return None
            for entry in up_to:
                found.append(entry)
                events += entry.position.seq - entry.first + 1
                size += entry.size
                if events > REPLAY_EVENTS_MAX or size > REPLAY_BYTES_MAX:
                    return None
        found = along_line(found, until)
        if not follows(found[0], after):
            return None
        for before, entry in itertools.pairwise(found):
            check_next(before.position, entry)
        return found


def _answer(life: Incarnation[Any, Any], item: Asked, entries: list[Entry]) -> ToGateway:
    batches = [batch_of(life.stream, entry) for entry in entries]
    if isinstance(item, SubscribeItem):
        return Subscribed("subd", item.ref, life.stream, False, life.position, batches)
    return Opened("opened", item.ref, life.stream, "replay" if batches else "live", life.position, b"", batches, "")


def _afresh(life: Incarnation[Any, Any], item: Asked, reason: str) -> ToGateway:
    if isinstance(item, SubscribeItem):
        return Subscribed("subd", item.ref, life.stream, True, life.position, [])
    state = life.projection(Viewer(item.user, Role(item.role)))
    return Opened("opened", item.ref, life.stream, "snapshot", life.position, state, [], reason)
