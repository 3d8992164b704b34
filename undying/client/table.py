"""A seat at a table: what a program that plays uses.

    async with undying.connect(url, token) as table:
        await table.say("I open the door.")
        roll = await table.roll("2d20kh1+5", label="perception")
        async for event in table.events():
            ...

The connection may break, and the server's processes may die, at any time: the table comes back by itself, every event is
heard once and in order, and every call goes on waiting until the server has answered it. A call ends in one of five
ways: its result; OpRefused, nothing happened; OutcomeUnknown, it was tried often enough and may have happened; Disconnected,
the table ended meanwhile and the outcome is unknown; or its caller stops waiting (`asyncio.timeout`, a cancelled task), and
then an op that never left is not done, and the outcome of one that did is unknown.

This module is the shell: it carries out what the machine (`undying.client.machine`) says, on the running asyncio loop's
time. One task owns the connection; there are no threads.
"""

from __future__ import annotations

import asyncio
import random
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self, assert_never

from undying.client.asking import (
    CharacterHandle,
    Combat,
    Initiative,
    Map,
    Members,
    Notes,
    RollMode,
    RollResult,
    SayMode,
    Session,
    given,
)
from undying.client.connection import Connection
from undying.client.events import Status, TableEvent
from undying.client.failures import Closed, Disconnected, OpRefused, OutcomeUnknown
from undying.client.limits import Limits
from undying.client.machine import Machine
from undying.client.outputs import Ended, Happened, Open, Output, Send, Settled, Shut, StatusChanged
from undying.client.state import TableState
from undying.client.subscription import Subscription
from undying.client.transport import Dial
from undying.protocol.codec import Encoding, check, encode
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure, UndyingError
from undying.protocol.ids import new_id
from undying.protocol.position import Position, parse_position

CATCH_UP_S: Final = 2.0
"""How long entering a table waits for the characters' streams once the session's own is live."""
CLOSE_S: Final = 5.0
"""How long leaving a table may take."""


class Table:
    """One client at one table; made by `undying.connect`, used as an async context manager, once."""

    def __init__(
        self, url: str, machine: Machine, dial: Dial, *, rng: random.Random, encoding: Encoding, limits: Limits | None = None
    ) -> None:
        self._url = url
        self._machine = machine
        self._dial = dial
        self._rng = rng
        self._encoding: Encoding = encoding
        self._limits = limits or Limits()
        self._connection: Connection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._answers: dict[str, asyncio.Future[JsonObject]] = {}
        self._subscriptions: list[weakref.ref[Subscription]] = []
        self._callbacks: list[Callable[[Status], object]] = []
        self._changed = asyncio.Event()
        self._end: Disconnected | None = None
        self.state = TableState()
        """What this viewer may see of the table, kept up to date."""
        self.combat: Final = Combat(self)
        self.initiative: Final = Initiative(self)
        self.notes: Final = Notes(self)
        self.map: Final = Map(self)
        self.members: Final = Members(self)
        self.session: Final = Session(self)

    # ── who and how ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def status(self) -> Status:
        """Return whether what you see is now."""
        return self._machine.status

    @property
    def stream(self) -> str:
        """Return the name of the session's stream, `session:<id>`."""
        return self._machine.session

    @property
    def user(self) -> str:
        """Return this client's user id."""
        return self._machine.user

    @property
    def name(self) -> str:
        """Return this client's name at the table."""
        return self._machine.name

    @property
    def role(self) -> str:
        """Return this client's role, as last heard of."""
        return self._machine.role

    @property
    def pending(self) -> int:
        """Return how many ops have no answer yet."""
        return len(self._answers)

    @property
    def positions(self) -> dict[str, Position]:
        """Return up to where each stream was heard."""
        told = self._machine.streams.positions()
        return {stream: place for stream, value in told.items() if (place := parse_position(value)) is not None}

    def on_status(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Call `callback` with each new status, from the event loop. Returns a function that ends that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def events(self) -> Subscription:
        """Subscribe: what happens from now on, as an async iterator with a bounded queue of its own (see Subscription)."""
        subscription = Subscription(self._limits.queue)
        if self._end is not None:
            subscription.end(None if isinstance(self._end, Closed) else self._end)
        else:
            self._subscriptions.append(weakref.ref(subscription))
        return subscription

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def op(self, stream: str, kind: str, /, **args: Json) -> JsonObject:
        """Ask for any op of any stream; returns its result when it is done, durably.

        Raises OpRefused when the answer is no, when the op is too large, or when too many wait; UndyingError BAD_FRAME
        when an argument is not plain data; OutcomeUnknown when it may or may not be done and was tried often enough; Closed or
        Disconnected when the table has ended, or does meanwhile.
        """
        if self._end is not None:
            raise self._ended()
        op_id = new_id(self._rng, 16)
        frame: JsonObject = {"t": "op", "id": op_id, "s": stream, "k": kind, "d": args}
        check(frame)
        size = len(encode(frame, self._encoding))
        if size > self._machine.max_frame:
            raise OpRefused(Failure(Code.FRAME_TOO_LARGE, f"an op of {size} bytes; {self._machine.max_frame} are allowed"))
        outputs = self._machine.ask(frame, self._now())
        answer: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._answers[op_id] = answer
        self._carry_out(outputs)
        try:
            return await answer
        except asyncio.CancelledError:
            self._machine.give_up(op_id)
            raise
        finally:
            self._answers.pop(op_id, None)
            self._changed.set()

    def signal(self, kind: str, /, **data: Json) -> None:
        """Show the others something for now only (`cursor`, `typing`, `ping`): never stored, and lost while not connected."""
        check(data)
        self._carry_out(self._machine.signal(self.stream, kind, data))

    async def say(self, text: str, mode: SayMode = "ic", to: list[str] | None = None) -> None:
        """Say something, in or out of character; `to` user ids: whisper it. A whisper to nobody is refused, not said aloud."""
        whisper: dict[str, Json] = {} if to is None else {"to": [*to]}
        await self.op(self.stream, "chat.say", text=text, mode=mode, **whisper)

    async def roll(
        self, expr: str, *, label: str | None = None, mode: RollMode = "public", character: str | None = None
    ) -> RollResult:
        """Roll dice on the server. Mode `gm`: only you and the game masters see it; `blind`: only they; `self`: only you."""
        return RollResult.of(
            await self.op(self.stream, "dice.roll", expr=expr, mode=mode, **given(label=label, character=character))
        )

    def character(self, character_id: str) -> CharacterHandle:
        """Return a handle on a character: its sheet, and what can be done to it."""
        return CharacterHandle(self, character_id)

    async def create_character(self, sheet: Mapping[str, Json], owner: str | None = None) -> CharacterHandle:
        """Make a character and seat it at the table; only its `name` must be given. `owner`: for the game master to say."""
        result = await self.op(self.stream, "character.create", sheet=dict(sheet), **given(owner=owner))
        return CharacterHandle(self, str(result.get("character", "")))

    async def ask_ai(self, prompt: str, *, provider: str | None = None, visibility: Json = None) -> str:
        """Ask an AI provider; returns the question's id, which the event `ai.answered` or `ai.failed` will carry as `ask`."""
        result = await self.op(self.stream, "ai.ask", prompt=prompt, **given(provider=provider, visibility=visibility))
        return str(result.get("ask", ""))

    # ── coming and going ────────────────────────────────────────────────────────────────────────────────────────────

    async def __aenter__(self) -> Self:
        """Connect; returns when the table is live. Raises Disconnected when the server says no or can't be reached."""
        try:
            self._carry_out(self._machine.start(self._now()))
            await self.until(lambda: self.status == "live")
            # A character that is slow to come back must not keep people from their table.
            try:
                async with asyncio.timeout(CATCH_UP_S):
                    await self.until(self._machine.streams.all_live)
            except TimeoutError:
                pass
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave, for good, within `CLOSE_S`. Calls under way raise Closed; their outcome is unknown."""
        self._carry_out(self._machine.leave())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that depends on the table's state or status is so. Raises Disconnected when the table ends."""
        while not condition():
            if self._end is not None:
                raise self._ended()
            self._changed.clear()
            await self._changed.wait()

    # ── what the connection tells (the Heard port) ──────────────────────────────────────────────────────────────────

    def connected(self, connection: Connection) -> None:
        """Hear that the connection is open."""
        if connection is self._connection:
            self._carry_out(self._machine.connected(self._now()))

    def received(self, connection: Connection, frame: JsonObject) -> None:
        """Hear a frame."""
        if connection is self._connection:
            self._carry_out(self._machine.received(frame, self._now()))

    def disconnected(self, connection: Connection, code: int | None, reason: str) -> None:
        """Hear that the connection ended."""
        if connection is self._connection:
            self._connection = None
            self._carry_out(self._machine.disconnected(code, reason, self._now()))

    # ── carrying out ────────────────────────────────────────────────────────────────────────────────────────────────

    def _ended(self) -> Disconnected:
        assert self._end is not None
        return type(self._end)(self._end.failure)  # a fresh one: a traceback belongs to one raise

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _tick(self) -> None:
        self._timer = None
        self._carry_out(self._machine.tick(self._now()))

    def _carry_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            self._do(output)
        self._changed.set()  # without outputs too: events that this viewer may not see move a position and no more
        if self._timer is not None:
            self._timer.cancel()
        at = self._machine.next_timer()
        self._timer = None if at is None else asyncio.get_running_loop().call_at(at, self._tick)

    def _do(self, output: Output) -> None:
        match output:
            case Send(frame):
                if self._connection is not None:
                    self._connection.send(frame)
            case Happened(event):
                self._hear(event)
            case Settled(op_id, result, failure, unknown):
                refusal = OutcomeUnknown if unknown else OpRefused
                self._settle(op_id, result, None if failure is None else refusal(failure))
            case Open(url):
                self._connection = Connection(url or self._url, self._dial, self._encoding, self)
                self._tasks.add(self._connection.task)
                self._connection.task.add_done_callback(self._tasks.discard)
            case Shut():
                if self._connection is not None:
                    self._connection.shut()
                    self._connection = None
            case StatusChanged(status):
                for callback in self._callbacks:
                    asyncio.get_running_loop().call_soon(callback, status)
            case Ended(failure, unanswered):
                self._finish(Closed() if failure is None else Disconnected(failure), unanswered)
            case _:
                assert_never(output)

    def _hear(self, event: TableEvent) -> None:
        self.state.apply(event)
        for subscription in self._subscribers():
            subscription.push(event)

    def _settle(self, op_id: str, result: JsonObject, failure: UndyingError | None) -> None:
        answer = self._answers.get(op_id)
        if answer is None or answer.done():
            return
        if failure is None:
            answer.set_result(result)
        else:
            answer.set_exception(failure)

    def _finish(self, end: Disconnected, unanswered: tuple[str, ...]) -> None:
        self._end = end
        for op_id in unanswered:
            self._settle(op_id, {}, self._ended())
        for subscription in self._subscribers():
            subscription.end(None if isinstance(end, Closed) else end)

    def _subscribers(self) -> list[Subscription]:
        """Return who still listens: a reader that went away is forgotten with its queue."""
        alive = [(ref, subscription) for ref in self._subscriptions if (subscription := ref()) is not None]
        self._subscriptions = [ref for ref, _ in alive]
        return [subscription for _, subscription in alive]
