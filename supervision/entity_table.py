"""The entities of one supervisor as a state machine: events in, instructions out, no task, no clock, no runtime.

    (asked) ─▶ starting ─activated▶ live ─host gone▶ restarting ─activated▶ live
                  │                                      │ too often ─▶ quarantined
                  └─ refused ─▶ resting, or failed       └─ data damaged ─▶ failed

    live ─rested▶ resting ─released▶ forgotten, or starting when somebody asked meanwhile
    live ─leaving▶ restarting ─left, or LEAVE_S▶ (activation elsewhere)
    quarantined, failed ─readmitted▶ restarting
    quarantined, failed ─set back▶ restarting ─activated▶ live, or what it was, when that one activation fails in any way

Every activation, pause and release has a number of its own (`attempt`); an outcome with another number than the entity's is
of no interest any more. No number comes twice: an entity may be forgotten and asked for again before the last outcome is in.
Those who ask while an activation is under way wait for that one: there is never more than one per entity. A place is asked for
only when the last one was given back, or it would be taken away again by a release that was still on its way.

Invariants: an entity that is starting or restarting has an activation or a pause under way; one that is live has a host
and nobody waits for it, unless it is being checked because somebody saw it fail there.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias, assert_never

from actors.runtime import Exit
from supervision.chronicle import Ending
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
from supervision.history import Ended, History
from supervision.policy import Escalate, GiveUp, RestartAfter, decide
from supervision.spec import ChildSpec
from undying.protocol.errors import Code, Failure
from undying.protocol.position import Position

WAITERS_MAX: Final = 1024
"""Callers that may wait for one entity; the next one is refused with OVERLOADED."""
FAILED_S: Final = 10.0
"""Seconds that a failed entity is left alone; who asks meanwhile gets the failure again."""

LEAVE_S: Final = 15.0
"""Seconds within which a host has let its entities go, or they are claimed from it: the epoch fences it then."""

Ill: TypeAlias = Literal["quarantined", "failed"]
State: TypeAlias = Literal["starting", "live", "restarting", "resting"] | Ill


@dataclass(frozen=True, slots=True)
class Back:
    """A rollback under way: to which position, who wants it, and what the entity is again when it does not succeed."""

    to: Position
    ticket: int
    was: Ill


@dataclass(slots=True)
class Entity:
    """One entity. `created` says that it was live once, so it is brought back unasked; `suspect` that its host died.

    `leaving` names the host that is about to let it go. `checked` says that a live one is being activated where it is, since
    somebody saw it fail there.
    """

    stream: str
    state: State = "starting"
    attempt: int = 0
    home: Home | None = None
    waiting: dict[int, Asked] = field(default_factory=dict)
    create: bool = False
    created: bool = False
    suspect: bool = False
    checked: bool = False
    avoid: str = ""
    near: str = ""
    leaving: str = ""
    back: Back | None = None
    tries: int = 0
    failure: Failure | None = None
    retry_at: float = 0.0
    history: History = field(default_factory=History)


class EntityTable:
    """The one place that changes entities. `spec` holds the restart policy for each of them."""

    def __init__(self, spec: ChildSpec, rng: random.Random) -> None:
        self.entities: dict[str, Entity] = {}
        self._spec = spec
        self._rng = rng
        self._numbers = itertools.count(1)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take an event in at `now` (seconds) and return what is to be done, in order."""
        if isinstance(event, Asked):
            return self._asked(event, now)
        if isinstance(event, HostGone):
            return self._host_gone(event, now)
        if isinstance(event, Leaving):
            return self._leaving(event)
        if isinstance(event, Left):
            return self._left(event)
        if isinstance(event, Activated):
            return self._activated(event)
        if isinstance(event, Crashed):
            return self._crashed(event, now)
        if isinstance(event, Rested):
            return self._rested(event)
        if isinstance(event, Readmitted):
            return self._readmitted(event)
        if isinstance(event, SetBack):
            return self._set_back(event)
        entity = self.entities.get(event.stream)
        if isinstance(event, Expired):
            if entity is not None:
                entity.waiting.pop(event.ticket, None)
            return []
        if entity is None or event.attempt != entity.attempt:
            return []
        if isinstance(event, NotActivated):
            return self._refused(entity, event.failure, now)
        if isinstance(event, Due):
            return [self._activate(entity)]
        if isinstance(event, Released):
            return self._released(entity)
        assert_never(event)

    def _asked(self, asked: Asked, now: float) -> list[Instruction]:
        entity = self.entities.get(asked.stream)
        if entity is None:
            entity = self.entities[asked.stream] = Entity(asked.stream)
            return self._begin(entity, asked)
        if entity.state in ("quarantined", "failed"):
            if entity.state == "failed" and now >= entity.retry_at:
                return self._begin(entity, asked)
            assert entity.failure is not None
            return [Refuse(asked.ticket, entity.failure)]
        if entity.state == "live" and entity.home is not None and not entity.checked:
            if entity.home.host != asked.avoid:
                return [Answer(asked.ticket, entity.home.host)]
            entity.waiting[asked.ticket], entity.checked = asked, True
            return [self._activate(entity, on=entity.home)]  # it may be well, or the news of its death is on the way
        if len(entity.waiting) >= WAITERS_MAX:
            return [Refuse(asked.ticket, Failure(Code.OVERLOADED, "too many wait for it", {"stream": asked.stream}))]
        entity.waiting[asked.ticket] = asked
        return []

    def _begin(self, entity: Entity, asked: Asked) -> list[Instruction]:
        entity.state, entity.failure = "starting", None
        entity.avoid, entity.near = asked.avoid, asked.near
        entity.waiting[asked.ticket] = asked
        return [self._activate(entity)]

    def _activate(self, entity: Entity, on: Home | None = None) -> Activate:
        entity.attempt = next(self._numbers)
        entity.leaving = ""
        entity.create = any(asked.create for asked in entity.waiting.values())
        back = None if entity.back is None else entity.back.to
        return Activate(entity.stream, entity.attempt, entity.create, on, entity.avoid, entity.near, entity.suspect, back)

    def _activated(self, event: Activated) -> list[Instruction]:
        entity = self.entities.get(event.stream)
        if entity is None and event.attempt == 0:
            entity = self.entities[event.stream] = Entity(event.stream)
        if entity is None or event.attempt != entity.attempt:
            return []
        if event.attempt == 0 and entity.home is not None and entity.home.epoch > event.home.epoch:
            return []  # an old life that does not know yet that it is fenced
        entity.state, entity.home, entity.created, entity.tries = "live", event.home, True, 0
        entity.suspect = entity.checked = False
        entity.retry_at = 0.0
        if entity.back is not None:
            entity.history.forget()
            entity.back = entity.failure = None
        answers = [Answer(ticket, event.home.host) for ticket in entity.waiting]
        entity.waiting.clear()
        return [*answers, Watch(event.home.host)]

    def _refused(self, entity: Entity, failure: Failure, now: float) -> list[Instruction]:
        if entity.back is not None:
            return self._not_set_back(entity, entity.back, failure)
        if failure.code is Code.NOT_FOUND:
            return self._not_found(entity, failure)
        refusals = self._refuse_all(entity, failure)
        if failure.row.recoverable and entity.created:
            entity.tries += 1
            return [*refusals, self._pause(entity, self._spec.backoff.delay(entity.tries, self._rng))]
        if failure.row.recoverable:
            return [*refusals, self._rest(entity)]  # it keeps no place that it does not need
        if entity.retry_at == 0.0:  # whoever asks again and again finds the same failure: it is recorded once
            refusals.append(Record(replace(_ending(entity, "", Exit("failed", failure.message)), decided="failed")))
        entity.state, entity.home, entity.failure, entity.retry_at = "failed", None, failure, now + FAILED_S
        return refusals

    def _not_found(self, entity: Entity, failure: Failure) -> list[Instruction]:
        if entity.create or not any(asked.create for asked in entity.waiting.values()):
            return [*self._refuse_all(entity, failure), self._rest(entity)]
        # Somebody who may create it asked after the activation had begun without.
        denied = [ticket for ticket, asked in entity.waiting.items() if not asked.create]
        for ticket in denied:
            del entity.waiting[ticket]
        entity.state, entity.home = "starting", None
        return [*(Refuse(ticket, failure) for ticket in denied), self._activate(entity)]

    def _crashed(self, event: Crashed, now: float) -> list[Instruction]:
        entity = self.entities.get(event.stream)
        if entity is None and event.attempt == 0:
            entity = self.entities[event.stream] = Entity(event.stream, created=True)
        if entity is None or event.attempt != entity.attempt:
            return []
        return self._restart(entity, event.host, event.exit, now, guilty=event.guilty)

    def _host_gone(self, gone: HostGone, now: float) -> list[Instruction]:
        instructions: list[Instruction] = []
        for entity in list(self.entities.values()):
            if entity.state == "live" and entity.home is not None and entity.home.host == gone.host:
                guilty = gone.exit.reason != "stopped"
                instructions += self._restart(entity, gone.host, gone.exit, now, guilty=guilty)
        return instructions

    def _rested(self, event: Rested) -> list[Instruction]:
        entity = self.entities.get(event.stream)
        if entity is None or entity.state != "live" or entity.home is None or entity.checked:
            return []
        if (entity.home.host, entity.home.epoch) != (event.host, event.epoch):
            return []  # it was woken since, there or elsewhere
        return [self._rest(entity)]

    def _rest(self, entity: Entity) -> Release:
        entity.state, entity.home, entity.created = "resting", None, False
        entity.attempt = next(self._numbers)
        return Release(entity.stream, entity.attempt)

    def _released(self, entity: Entity) -> list[Instruction]:
        if not entity.waiting:
            del self.entities[entity.stream]
            return []
        entity.state, entity.avoid = "starting", ""
        return [self._activate(entity)]

    def _readmitted(self, event: Readmitted) -> list[Instruction]:
        entity = self.entities.get(event.stream)
        if entity is None or entity.state not in ("quarantined", "failed"):
            return []
        entity.history.forget()
        entity.retry_at = 0.0
        entity.state, entity.failure, entity.suspect = "restarting", None, True
        return [self._activate(entity)]

    def _set_back(self, event: SetBack) -> list[Instruction]:
        entity = self.entities.get(event.stream)
        if entity is None or (entity.state != "quarantined" and entity.state != "failed"):
            reason = f"{event.stream} is {'not known' if entity is None else entity.state}, not in quarantine"
            return [Refuse(event.ticket, Failure(Code.WRONG_STATE, reason, {"stream": event.stream}))]
        entity.back = Back(event.to, event.ticket, entity.state)
        entity.state, entity.suspect = "restarting", True
        entity.waiting[event.ticket] = Asked(event.ticket, event.stream)
        return [self._activate(entity)]

    def _not_set_back(self, entity: Entity, back: Back, failure: Failure) -> list[Instruction]:
        """Leave it alone again: what it is after the try, rolled back or not, a person sees who looks at it or releases it."""
        assert entity.failure is not None
        entity.state, entity.back = back.was, None
        entity.attempt = next(self._numbers)
        wanted = [Refuse(ticket, failure) for ticket in entity.waiting if ticket == back.ticket]
        entity.waiting.pop(back.ticket, None)
        return [*wanted, *self._refuse_all(entity, entity.failure)]

    def _leaving(self, event: Leaving) -> list[Instruction]:
        moving = [entity for entity in self.entities.values() if entity.home is not None and entity.home.host == event.host]
        for entity in moving:
            entity.avoid = entity.leaving = event.host
        return [self._pause(entity, LEAVE_S) for entity in moving]

    def _left(self, event: Left) -> list[Instruction]:
        moving = [entity for entity in self.entities.values() if entity.leaving == event.host]
        return [self._activate(entity) for entity in moving]

    def _restart(self, entity: Entity, host: str, exit_: Exit, now: float, *, guilty: bool) -> list[Instruction]:
        if entity.back is not None:
            entity.history.add(Ended(now, host, exit_))
            record = Record(replace(_ending(entity, host, exit_), decided=entity.back.was))
            entity.avoid = host
            unknown = Failure(Code.UNAVAILABLE, f"it is not known whether {entity.stream} was rolled back: {exit_.detail}")
            return [*self._not_set_back(entity, entity.back, unknown), record]
        verdict = decide(self._spec, entity.history, exit_, now, self._rng)
        entity.history.add(Ended(now, host, exit_))
        record = Record(_ending(entity, host, exit_).after(verdict, "quarantined"))
        entity.avoid, entity.home = host, None
        entity.suspect = entity.suspect or guilty
        if isinstance(verdict, RestartAfter):
            if verdict.after_s > 0:
                return [self._pause(entity, verdict.after_s), record]
            entity.state = "restarting"
            return [self._activate(entity), record]
        if isinstance(verdict, Escalate):
            facts = Failure(Code.QUARANTINED, f"{entity.stream} failed too often: {verdict.reason}", {"stream": entity.stream})
            entity.state, entity.failure = "quarantined", facts
            entity.attempt = next(self._numbers)
            return [*self._refuse_all(entity, facts), record]
        if isinstance(verdict, GiveUp):
            del self.entities[entity.stream]
            gone = Failure(Code.UNAVAILABLE, verdict.reason, {"stream": entity.stream})
            return [*self._refuse_all(entity, gone), record]
        assert_never(verdict)

    def _pause(self, entity: Entity, after_s: float) -> Pause:
        entity.state, entity.home = "restarting", None
        entity.attempt = next(self._numbers)
        return Pause(entity.stream, entity.attempt, after_s)

    def _refuse_all(self, entity: Entity, failure: Failure) -> list[Instruction]:
        tickets = list(entity.waiting)
        entity.waiting.clear()
        return [Refuse(ticket, failure) for ticket in tickets]


def _ending(entity: Entity, host: str, exit_: Exit) -> Ending:
    return Ending(entity.stream, entity.stream.partition(":")[0], host, entity.home.node if entity.home else "", exit_)
