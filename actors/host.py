"""The host: the process in which entities live, and its commit loop.

    submit/ask ─▶ cycle: take all ops · append in one round trip · settle · batches, then replies · reads ─▶ mailboxes

One cycle runs at a time and takes everything that waits (group commit): an idle host commits one op at once, a busy one
commits large batches. There is no timer.

How entities come and go is in `actors.lives`. Whoever follows a lost one is told (`Lost`) and subscribes again with its
position.

Invariants: no message about a commit is put into a mailbox before the append returned; reads see settled states only, and
their answers stand in the mailbox at the right place between the batches.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from actors.activation import activate, roll_back
from actors.answers import Answer
from actors.courier import Courier, Peers
from actors.direct import DirectServer
from actors.lives import Life, Lives
from actors.mailbox import Mailbox, Mailboxes
from actors.reading import Reader, batch_of
from actors.resting import Resting, Tell
from actors.rules import REPLIED, Context, Op, Rules
from actors.saving import Saver
from actors.waiters import FromGateway, FromPeer, Loss, Waiter
from persistence.migrations import Upcasters
from persistence.store import Append, Entry, Fenced, Outcome, Store, StoreError, TailLost
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure, error
from undying.protocol.events import Viewer
from undying.protocol.ids import Kind, Role
from undying.protocol.link import (
    EphemeralItem,
    JoinItem,
    Lost,
    OpenItem,
    OpItem,
    PresenceItem,
    SubscribeItem,
    ToHost,
    UnsubscribeItem,
    unpack_items,
)
from undying.protocol.position import Position
from undying.resilience.tasks import vital

log = structlog.get_logger()

_ROLES: Final = {role.value: role for role in Role}

SWEEP_S: Final = 1.0
CRASHES_MAX: Final = 2
"""How often an op may break its entity's rules before it is refused for good."""
CRASHED_OPS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class HostSettings:
    """`checkpoint_events`: events between checkpoints; `checkpoint_s`: seconds a change may go without one.

    `rest_s`: seconds after which an entity that nobody needs goes to rest, 0 for never.
    """

    checkpoint_events: int = 150
    checkpoint_s: float = 30.0
    rest_s: float = 0.0


@dataclass(slots=True)
class _Call:
    mailbox: Mailbox
    items: list[ToHost]
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Ask:
    stream: str
    op: Op
    waiter: FromPeer


class Host:
    """See the module. `now_ms` is the time since 1970; everything random comes from `rng`.

    `tell_rested` tells the supervisors of entities that went to rest; `direct` lets gateways on this machine in.
    """

    def __init__(
        self,
        store: Store,
        rules: Mapping[Kind, Rules[Any]],
        upcasters: Upcasters,
        peers: Callable[[Host], Peers],
        settings: HostSettings,
        now_ms: Callable[[], int],
        rng: random.Random,
        tell_rested: Tell | None = None,
        direct: DirectServer | None = None,
    ) -> None:
        self._direct = direct
        self._store = store
        self._rules = rules
        self._upcasters = upcasters
        self._now_ms = now_ms
        self._now_s = asyncio.get_running_loop().time
        self._rng = rng
        self._calls: list[_Call] = []
        self._asks: list[_Ask] = []
        self._crashed: dict[tuple[str, str, str], int] = {}
        self._wake = asyncio.Event()
        self._settled = asyncio.Lock()
        self._lives = Lives(store, self._rebuild, self, self._settled, rng)
        self._live = self._lives.live
        self._tasks: list[asyncio.Task[None]] = []
        self._courier = Courier(peers(self), self._replied, rng)
        self._saver = Saver(store, settings.checkpoint_events, settings.checkpoint_s, now_ms)
        self._reader = Reader(store, self._live, self._settled)
        self._mailboxes = Mailboxes(self._reader.close, self._now_s)
        tell = tell_rested or _tell_nobody
        self._resting = Resting(self._lives, self._saver, self._settled, self._reader.followed, settings.rest_s, tell)

    # -- what others call ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to work."""
        if self._direct is not None:
            await self._direct.start(self)
        self._tasks = [
            vital(self._work(), "the commit loop"),
            vital(self._sweep(), "the sweep"),
            vital(self._lives.verify(), "the look at fences"),
            vital(self._resting.run(), "the look for rest"),
        ]

    async def stop(self) -> None:
        """Drain, then end."""
        await self.drain()
        if self._direct is not None:
            await self._direct.stop()
        for task in self._tasks:
            task.cancel()
        self._lives.stop()
        for stream in list(self._live):
            self._courier.forget(stream)
        await self._store.close()

    async def activate(self, stream: str, create: bool) -> list[int]:
        """Make the entity live here; returns its position. While it is live already, nothing happens.

        Raises UndyingError as `actors.activation.activate` does, and DRAINING.
        """
        return list((await self._lives.activate(stream, create)).position)

    async def roll_back(self, stream: str, to: Sequence[int]) -> list[int]:
        """Make the entity live here as it was at position `to`; returns epoch, seq and how many events count no more.

        Raises UndyingError as `actors.activation.roll_back` does, DRAINING, and WRONG_STATE when it is live here.
        """
        dropped = 0

        async def rebuilt() -> Life:
            nonlocal dropped
            now_ms = self._now_ms()
            life, dropped = await roll_back(stream, self._store, self._rules, self._upcasters, now_ms, Position(*to))
            return life

        life = await self._lives.roll_back(stream, rebuilt)
        return [*life.position, dropped]

    async def submit(self, gateway: str, call: int, payload: bytes) -> tuple[int, bytes]:
        """Take a gateway's items; answer with all that is there for it after the cycle that took them.

        Raises UndyingError RESUME_REFUSED when the gateway has to start over under a new name; then the outcome is unknown.
        """
        mailbox = self._mailboxes.of(gateway, fresh=call == 1)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls.append(_Call(mailbox, unpack_items(payload), done))
        self._wake.set()
        await done
        if mailbox.closed:
            raise error(Code.RESUME_REFUSED, "this host gave the gateway up meanwhile")
        return mailbox.take(self._now_s())

    async def poll(self, gateway: str) -> tuple[int, bytes]:
        """Answer as soon as there is something for the gateway that no submit takes along, or after a while with nothing.

        Raises UndyingError RESUME_REFUSED like `submit`.
        """
        mailbox = self._mailboxes.of(gateway, fresh=False)
        await mailbox.wait()
        return mailbox.take(self._now_s())

    async def ask(self, stream: str, op_id: str, kind: str, args: JsonObject, user: str) -> JsonObject:
        """Take an op from another entity (`user` is `@` and its stream). Returns `{ok, result | error}`.

        Raises UndyingError UNAVAILABLE when the entity is not (any more) live here, or the outcome is unknown.
        """
        if stream not in self._live or self._lives.draining:
            raise error(Code.UNAVAILABLE, f"{stream} is not live here", stream=stream)
        future: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._asks.append(_Ask(stream, Op(op_id, kind, args, user, Role.SYSTEM), FromPeer(future)))
        self._wake.set()
        return await future

    async def status(self) -> list[JsonObject]:
        """Return a row for each entity that is live here."""
        return [
            {"id": life.stream, "epoch": life.position.epoch, "seq": life.position.seq, "state": "live"}
            for life in self._live.values()
        ]

    async def is_draining(self) -> bool:
        """Tell whether this host takes no more, for it is to end."""
        return self._lives.draining

    async def drain(self) -> None:
        """Take no more, save everything, let everything go."""
        self._lives.draining = True
        async with self._settled:
            for life in list(self._live.values()):
                try:
                    await self._saver.save(life)
                except StoreError as failure:
                    # The journal has it all; only the next activation takes longer.
                    log.warning("checkpoint not written", stream=life.stream, reason=str(failure))
                self._lives.lose(life, "moved")
        self._mailboxes.release()

    def lives_here(self, stream: str) -> bool:
        """Tell whether the entity is live in this host."""
        return stream in self._live

    # -- the cycle -------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self._settled:
                await self._cycle()

    async def _cycle(self) -> None:
        calls, self._calls = self._calls, []
        asks, self._asks = self._asks, []
        touched: dict[str, Life] = {}
        reads: list[tuple[Mailbox, ToHost]] = []
        joins: list[tuple[Mailbox, JoinItem]] = []
        for call in calls:
            if call.mailbox.closed:
                continue
            for item in call.items:
                if isinstance(item, OpItem):
                    op = Op(item.id, item.kind, item.args, item.user, _ROLES[item.role], item.at)
                    self._take(item.stream, op, FromGateway(call.mailbox, item.ref), touched)
                elif isinstance(item, JoinItem):
                    joins.append((call.mailbox, item))
                elif isinstance(item, SubscribeItem | UnsubscribeItem):
                    # At once: the ops behind it need it, and it reads only what is settled.
                    self._read(call.mailbox, item)
                else:
                    reads.append((call.mailbox, item))
        for ask in asks:
            self._take(ask.stream, ask.op, ask.waiter, touched)
        for mailbox, join in joins:
            # Last: who joins is told the role they have after this commit, whose batch they do not follow yet.
            self._take(join.stream, _join_op(join), FromGateway(mailbox, join.ref, join.user), touched)
        await self._commit(touched)
        self._saver.begin_full(self._now_s())
        for mailbox, item in reads:
            self._read(mailbox, item)
        for call in calls:
            if not call.done.done():
                call.done.set_result(None)
        self._mailboxes.wake_polls(but=[call.mailbox for call in calls])

    def _take(self, stream: str, op: Op, waiter: Waiter, touched: dict[str, Life]) -> None:
        life = self._live.get(stream)
        if life is None or self._lives.draining:
            waiter.fail(self._lives.why_not(stream), stream)
            return
        if isinstance(waiter, FromGateway) and stream not in waiter.mailbox.streams:
            # The gateway has not noticed yet that the entity was lost in between. Taking this op now would overtake
            # those before it that failed; after it subscribed, the gateway sends all of them again in their order.
            waiter.fail("store", stream)
            return
        crashed = (stream, op.user, op.id)
        if crashed in self._crashed and self._crashed[crashed] >= CRASHES_MAX:
            poisoned = Failure(Code.OP_POISONED, "this op broke its entity twice", {"op": op.kind})
            waiter.answer(Answer(error=poisoned.to_wire()), dup=False)
            return
        try:
            life.take(op, Context(self._now_ms(), self._rng), waiter)
        except Exception:
            # The edge of an entity: whatever its rules raise is a defect that costs this entity's incarnation, no more.
            log.exception("rules raised", stream=stream, op=op.kind)
            touched.pop(stream, None)
            self._note_crash(crashed)
            waiter.fail("store", stream)
            self._lives.throw_away(life)
        else:
            touched[stream] = life

    async def _commit(self, touched: dict[str, Life]) -> None:
        staged = [(life, life.seal()) for life in touched.values() if life.staged]
        outcomes: list[Outcome] = []
        if staged:
            outcomes = await self._store.append([Append(life.stream, entry, life.position) for life, entry in staged])
        for (life, entry), outcome in zip(staged, outcomes, strict=True):
            del touched[life.stream]
            if outcome is None:
                batch = batch_of(life.stream, entry)
                for mailbox in self._reader.subscribers(life.stream):
                    mailbox.put(batch)
                self._deliver(life, entry)
                self._saver.count(life, entry, self._now_s())
                self._courier.look(life.stream, life.rules.outbox(life.state))
            elif isinstance(outcome, Fenced):
                log.warning("fenced", stream=life.stream, epoch=life.position.epoch)
                self._lives.lose(life, "moved")
            elif isinstance(outcome, TailLost):
                self._lives.tail_lost(life, outcome.last)
            else:
                log.warning("append failed", stream=life.stream, unknown=outcome.unknown, reason=str(outcome))
                self._lives.throw_away(life)
        for life in touched.values():
            self._deliver(life, None)

    def _deliver(self, life: Life, entry: Entry | None) -> None:
        for reply in life.settle(entry):
            answer, waiter = reply.answer, reply.to
            if isinstance(waiter, FromGateway) and waiter.joins is not None and answer.result is not None:
                viewer = Viewer(waiter.joins, Role(str(answer.result["role"])))
                streams: Json = [life.stream, *life.rules.streams(life.state, viewer)]
                answer = answer._replace(result={**answer.result, "streams": streams})
            waiter.answer(answer, dup=reply.dup)

    def _read(self, mailbox: Mailbox, item: ToHost) -> None:
        if mailbox.closed:
            # Since the commit began: it would follow streams for ever, and nobody takes what is in it.
            return
        if isinstance(item, OpenItem | SubscribeItem):
            life = self._live.get(item.stream)
            if life is None:
                FromGateway(mailbox, item.ref).fail(self._lives.why_not(item.stream), item.stream)
            elif isinstance(item, OpenItem):
                self._reader.open(mailbox, life, item)
            else:
                self._reader.subscribe(mailbox, life, item)
        elif isinstance(item, UnsubscribeItem):
            self._reader.unsubscribe(mailbox, item.stream)
        elif isinstance(item, PresenceItem):
            self._reader.presence(mailbox, item)
        elif isinstance(item, EphemeralItem):
            self._reader.ephemeral(item)

    # -- life and loss ---------------------------------------------------------------------------------------------

    async def _rebuild(self, stream: str, create: bool, above: int) -> Life:
        now_ms = self._now_ms()
        return await activate(stream, self._store, self._rules, self._upcasters, now_ms, create=create, above=above)

    def born(self, life: Life) -> None:
        """See `actors.lives.Dependents`."""
        self._saver.follow(life)
        self._courier.look(life.stream, life.rules.outbox(life.state))

    def lost(self, life: Life, reason: Loss) -> None:
        """See `actors.lives.Dependents`."""
        self._saver.forget(life.stream)
        self._courier.forget(life.stream)
        for waiter in life.orphans():
            waiter.fail(reason, life.stream)
        for mailbox in self._reader.subscribers(life.stream):
            mailbox.put(Lost("lost", life.stream, reason))
            mailbox.wake_poll()
        self._reader.forget(life.stream)

    def _note_crash(self, crashed: tuple[str, str, str]) -> None:
        self._crashed[crashed] = self._crashed.pop(crashed, 0) + 1
        if len(self._crashed) > CRASHED_OPS_MAX:
            del self._crashed[next(iter(self._crashed))]

    def _replied(self, stream: str, key: str, to: str, answer: JsonObject) -> None:
        op = Op(f"{REPLIED}:{key}", REPLIED, {"key": key, **answer}, f"@{to}", Role.SYSTEM)
        if stream in self._live:
            self._asks.append(_Ask(stream, op, FromPeer(None)))
            self._wake.set()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._mailboxes.close_given_up()
            if self._saver.any_due(self._now_s()):
                async with self._settled:
                    self._saver.begin_due(self._now_s())


async def _tell_nobody(_: object) -> None:
    """Leave those who place entities to find out."""


def _join_op(item: JoinItem) -> Op:
    args: JsonObject = {"user": item.user, "name": item.name, "role": item.role, "issued": item.issued}
    return Op(item.id, "member.join", args, f"@member:{item.user}", Role.SYSTEM)
