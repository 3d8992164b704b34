"""The supervisor of one kind of entity: answers `locate`, and brings back what died.

The decisions are the table's (`entity_table`); this is its shell. Whatever takes time is a task of its own, and its
outcome comes back as an event, so one slow host holds up nobody but its own entities.

Started again, it asks the living hosts what they hold and takes that over as it is; what was placed on a host that has
died meanwhile (the hosts supervisor remembers) it restarts.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from actors.runtime import CallLost, Exit, Inside, ProcessDied, ProcessInfo, Program, ProgramFailed, Ref, RuntimeFault
from supervision import ways_out
from supervision.acquaintances import Acquaintances
from supervision.adoption import ADOPT_S, HOST, living_processes
from supervision.control_plane import AGAIN_S, find_surely
from supervision.entity_events import (
    Activate,
    Activated,
    Answer,
    Asked,
    Crashed,
    Due,
    Event,
    Expired,
    Home,
    HostGone,
    Instruction,
    Leaving,
    Left,
    NotActivated,
    Pause,
    Readmitted,
    Record,
    Refuse,
    Release,
    Released,
    Rested,
    SetBack,
    Watch,
)
from supervision.entity_table import EntityTable
from supervision.history import last_exit
from supervision.hosts import NAME as HOSTS
from supervision.reach import NO_WAYS, Reach, Ways
from supervision.reporting import Tell, tell_nobody
from supervision.spec import ChildSpec
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.ids import Kind, split_stream
from undying.protocol.position import Position
from undying.resilience.tasks import vital

_log = logging.getLogger(__name__)

ENTITY: Final = ChildSpec("entity", Program(HOST))
"""The policy for entities: always restarted, 10 restarts in 60 s."""


@dataclass(frozen=True, slots=True)
class EntitySettings:
    """`locate_s` bounds how long a caller waits, `activate_s` how long a host may take to bring an entity to life."""

    policy: ChildSpec = field(default_factory=lambda: ENTITY)
    locate_s: float = 8.0
    activate_s: float = 30.0


class EntitySupervisor:
    """The programs `sessions`, `characters` and `providers`. `clock` gives seconds that never go back."""

    def __init__(
        self,
        kind: Kind,
        settings: EntitySettings,
        inside: Inside,
        rng: random.Random,
        clock: Callable[[], float],
        tell: Tell = tell_nobody,
        ways: Ways = NO_WAYS,
    ) -> None:
        self._kind = kind
        self._settings = settings
        self._inside = inside
        self._clock = clock
        self._tell = tell
        self._table = EntityTable(settings.policy, rng)
        self._hosts = Reach(inside.runtime, HOSTS, rng, deadline_s=settings.activate_s, ways=ways)
        self._direct = ways.server(inside.name)
        self._known = Acquaintances(inside.runtime)
        self._watched: set[str] = set()
        self._dropped: dict[str, int] = {}
        self._releasing: list[Release] = []
        self._asking: dict[int, asyncio.Future[str]] = {}
        self._tickets = itertools.count(1)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Adopt what lives; what died unseen is looked for in the background."""
        self._tasks.update(await living_processes(self._inside.runtime, self._adopt, within_s=ADOPT_S))
        self._do(self._recover())
        self._tasks.add(vital(self._known.keep_up(), "the look at new processes"))
        await self._direct.start(self)

    async def stop(self) -> None:
        """Restart nothing any more. The hosts end with the hosts supervisor."""
        await self._direct.stop()
        for task in list(self._tasks):
            task.cancel()
        for waiting in self._asking.values():
            if not waiting.done():
                waiting.set_exception(error(Code.DRAINING, "the server is going down"))

    async def locate(self, stream: str, create: bool = False, avoid: str = "", near: str = "") -> str:
        """Return the name of the host in which an entity is live, see `Locator.locate`.

        Raises UndyingError: NOT_FOUND, QUARANTINED, DATABASE_UNAVAILABLE, DATA_DAMAGED, OVERLOADED, UNAVAILABLE, and
        BAD_ARGS for a stream that is not of this kind.
        """
        try:
            kind, _ = split_stream(stream)
        except ValueError as bad:
            raise error(Code.BAD_ARGS, str(bad)) from bad
        if kind is not self._kind:
            raise error(Code.BAD_ARGS, f"{self._inside.name} holds no {kind.value}", stream=stream)
        self._look_at(stream, avoid)
        ticket = next(self._tickets)
        return await self._answer(Asked(ticket, stream, create, avoid, near))

    async def _answer(self, asked: Asked | SetBack) -> str:
        """Tell the table that somebody wants something of it, and wait for its answer."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asking[asked.ticket] = answer
        try:
            self._handle(asked)
            async with asyncio.timeout(self._settings.locate_s):
                return await answer
        except TimeoutError:
            raise error(Code.UNAVAILABLE, f"{asked.stream} was not back in time", stream=asked.stream) from None
        finally:
            del self._asking[asked.ticket]
            self._handle(Expired(asked.stream, asked.ticket))

    def _look_at(self, stream: str, suspected: str) -> None:
        """Believe who saw a host fail, when it is plain that its process has ended: the runtime's own news takes longer."""
        entity = self._table.entities.get(stream)
        home = entity.home if entity is not None else None
        if home is None or home.host != suspected:
            return
        if self._inside.runtime.has_ended(ProcessInfo(home.host, home.pid, home.node, HOST)):
            self._handle(HostGone(home.host, Exit("killed", "its process has ended")))

    async def rested(self, host: str, lives: Sequence[tuple[str, int]]) -> None:
        """Learn from a host which entities it let go since nobody needed them, with their epochs.

        What is not true any more changes nothing.
        """
        for stream, epoch in lives:
            self._handle(Rested(stream, host, epoch))

    async def leave(self, host: str) -> None:
        """Send nobody to a host any more that is about to let its entities go. `left` follows; if not, time passes."""
        self._handle(Leaving(host))

    async def left(self, host: str) -> None:
        """Bring to life elsewhere what that host had; returns before they are live."""
        self._handle(Left(host))

    async def readmit(self, stream: str) -> None:
        """Try a quarantined or failed entity again, alone in a host; what it did before does not count any more.

        Raises UndyingError NOT_FOUND when it is not in the table, WRONG_STATE when it is neither of the two.
        """
        self._in_quarantine(stream)
        self._handle(Readmitted(stream))

    async def roll_back(self, stream: str, to: Sequence[int]) -> JsonObject:
        """Bring a quarantined or failed entity to life as it was at a position; returns `{stream, to, dropped}`, in events.

        Raises UndyingError: as `readmit` does; what `actors.activation.roll_back` raises; UNAVAILABLE when it is not known
        whether it was done: when it takes too long, its host dies or a call gets lost. Asked for again, the same does no harm.
        """
        self._in_quarantine(stream)
        await self._answer(SetBack(next(self._tickets), stream, Position(*to)))
        return {"stream": stream, "to": [*to], "dropped": self._dropped.pop(stream, None)}

    def _in_quarantine(self, stream: str) -> None:
        entity = self._table.entities.get(stream)
        if entity is None:
            raise error(Code.NOT_FOUND, f"{stream} is not in quarantine", stream=stream)
        if entity.state not in ("quarantined", "failed"):
            raise error(Code.WRONG_STATE, f"{stream} is {entity.state}, not in quarantine", stream=stream)

    async def status(self) -> list[JsonObject]:
        """Return a row per entity.

        `last_exit` says how its last ending was noticed, `{ago_ms, where, reason, detail}`; None when it never ended.
        """
        rows: list[JsonObject] = []
        for entity in self._table.entities.values():
            home = entity.home
            row: JsonObject = {"id": entity.stream, "kind": self._kind.value, "state": entity.state}
            row |= {"pid": home.pid if home else None, "node": home.node if home else None, "host": home.host if home else None}
            row |= {"epoch": home.epoch if home else None, "restarts": entity.history.total, "parent": self._inside.name}
            row["last_exit"] = last_exit(entity.history, self._clock())
            if entity.failure is not None:
                row["reason"] = entity.failure.message
                row["way_out"] = ways_out.of_entity(entity.stream, entity.failure)
            rows.append(row)
        return rows

    async def history(self, stream: str) -> list[JsonObject]:
        """Return an entity's endings, latest first. Raises UndyingError NOT_FOUND when it is not in the table."""
        entity = self._table.entities.get(stream)
        if entity is None:
            raise error(Code.NOT_FOUND, f"{stream} is not live here", stream=stream)
        return entity.history.rows(self._clock())

    def _handle(self, event: Event) -> None:
        for instruction in self._table.handle(event, self._clock()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Activate():
                self._do(self._activate(instruction))
            case Pause():
                self._do(self._pause(instruction))
            case Watch(host):
                if host not in self._watched:
                    self._watched.add(host)
                    self._do(self._watch(host))
            case Release():
                self._releasing.append(instruction)
                if len(self._releasing) == 1:
                    self._do(self._release())
            case Answer(ticket, host):
                self._settle(ticket, host)
            case Refuse(ticket, failure):
                self._settle(ticket, UndyingError(failure))
            case Record(ending):
                self._tell(ending)
            case _:
                assert_never(instruction)

    def _settle(self, ticket: int, answer: str | UndyingError) -> None:
        waiting = self._asking.get(ticket)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, str):
            waiting.set_result(answer)
        else:
            waiting.set_exception(answer)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pause(self, pause: Pause) -> None:
        await asyncio.sleep(pause.after_s)
        self._handle(Due(pause.stream, pause.attempt))

    async def _watch(self, host: str) -> None:
        ref = self._known.get(host) or await find_surely(host, self._inside.runtime)
        exit_ = Exit("killed", "gone before it was watched") if ref is None else await ref.watch()
        self._watched.discard(host)
        self._known.forget(host)
        _log.info("host %s is gone: %s %s", host, exit_.reason, exit_.detail)
        self._handle(HostGone(host, exit_))

    async def _activate(self, wanted: Activate) -> None:
        tried = [""]
        try:
            async with asyncio.timeout(self._settings.activate_s):
                event = await self._try_to_activate(wanted, tried)
        except TimeoutError:
            exit_ = Exit("killed", "activation took too long")
            event = Crashed(wanted.stream, wanted.attempt, tried[-1], exit_, guilty=True)
        self._handle(event)

    async def _try_to_activate(self, wanted: Activate, tried: list[str]) -> Event:
        """Activate; `tried` is told the host as soon as it is known."""
        stream, attempt, host = wanted.stream, wanted.attempt, ""
        try:
            place = await self._place_of(wanted)
            host = place["host"]
            tried.append(host)
            ref = self._known.get(host) or await self._inside.runtime.find(host)
            if ref is None:
                return Crashed(stream, attempt, host, Exit("killed", "gone before it was used"), guilty=False)
            if wanted.back is None:
                epoch, _ = await ref.call("activate", stream, wanted.create)
            else:
                epoch, _, self._dropped[stream] = await ref.call("roll_back", stream, [*wanted.back])
            self._known.add(ref)
            return Activated(stream, attempt, Home(host, place["pid"], place["node"], epoch))
        except UndyingError as refused:
            return NotActivated(stream, attempt, refused.failure)
        except ProcessDied as died:
            return Crashed(stream, attempt, host, Exit("killed", str(died)), guilty=True)
        except CallLost as lost:
            return Crashed(stream, attempt, host, Exit("killed", str(lost)), guilty=False)
        except ProgramFailed as failed:
            return Crashed(stream, attempt, host, Exit("failed", str(failed)), guilty=True)

    async def _place_of(self, wanted: Activate) -> Mapping[str, Any]:
        if wanted.on is not None:
            return {"host": wanted.on.host, "pid": wanted.on.pid, "node": wanted.on.node}
        wakes = not (wanted.create or wanted.suspect or wanted.avoid)
        place: Mapping[str, Any] = await self._hosts.call(
            "acquire", wanted.stream, wanted.avoid, wanted.near, wanted.suspect, wakes
        )
        return place

    async def _release(self) -> None:
        """Give back places: all that come together in this turn, since thousands may go to rest at once."""
        await asyncio.sleep(0)
        released, self._releasing = self._releasing, []
        try:
            await self._hosts.call("release", [each.stream for each in released])
        except (RuntimeFault, UndyingError) as problem:
            _log.info("%d places stay taken: %s", len(released), problem)
        for each in released:
            self._handle(Released(each.stream, each.attempt))

    async def _adopt(self, ref: Ref, info: ProcessInfo) -> None:
        if info.program != HOST:
            return
        for row in await ref.call("status"):
            if split_stream(row["id"])[0] is self._kind:
                self._known.add(ref)
                self._handle(Activated(row["id"], 0, Home(ref.name, info.pid, info.node, row["epoch"])))

    async def _recover(self) -> None:
        """Restart what was on a host that died while nobody of this kind was watching."""
        placements: Mapping[str, str] | None = None
        while placements is None:
            try:
                placements = await self._hosts.call("placements")
            except (RuntimeFault, UndyingError) as problem:
                _log.warning("no list of placements yet: %s", problem)
                await asyncio.sleep(AGAIN_S)
        for stream, host in placements.items():
            if split_stream(stream)[0] is self._kind and stream not in self._table.entities:
                self._handle(Crashed(stream, 0, host, Exit("killed", "died while its supervisor was away"), guilty=True))
