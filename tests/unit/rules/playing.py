"""Plays ops against rules without any process, and holds the laws of `actors.rules` at every step."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgpack

from actors.rules import Accepted, Command, Context, Decision, Op, Refused, Rules, Settlement
from undying.protocol.data import JsonObject
from undying.protocol.effects import Effect
from undying.protocol.errors import Code, Failure
from undying.protocol.events import Event, Viewer, project
from undying.protocol.ids import Role

S = TypeVar("S")
NOTHING: Any = object()
RESULT_BYTES_MAX = 4_096
"""Bytes of an answer as MessagePack: hundreds are remembered for each user."""


def through_the_journal(data: Any) -> Any:
    """Return plain data as it comes back from MessagePack."""
    return msgpack.unpackb(msgpack.packb(data))


@dataclass
class Play(Generic[S]):
    """One entity under test. `roles` are those that a gateway would put on the users' ops."""

    rules: Rules[S]
    entity: str
    roles: dict[str, Role]
    seed: int = 0
    now_ms: int = 1_000_000_000_000
    entries: list[JsonObject] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    settled: list[Settlement] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.state = self.rules.initial(self.entity)
        self.rebuilt = self.rules.initial(self.entity)
        self._ops = 0

    def do(self, user: str, kind: str, args: Any = NOTHING, *, role: Role | None = None) -> Decision:
        """Ask something; evolve by what was decided."""
        self._ops += 1
        self.now_ms += 1_500
        role = role or (Role.SYSTEM if user.startswith("@") else self.roles[user])
        op = Op(f"op-{self._ops}", kind, {} if args is NOTHING else args, user, role)
        before = self.rules.dump(self.state)
        decision = self.rules.decide(self.state, op, Context(self.now_ms, self.rng))
        assert self.rules.dump(self.state) == before, "decide changed the state"
        if isinstance(decision, Accepted):
            self._accept(op, decision)
            _is_small(decision.result)
            for settlement in decision.settles:
                _is_small(settlement.failure.to_wire() if settlement.failure else settlement.result)
        else:
            _is_small(decision.failure.to_wire())
        return decision

    def _accept(self, op: Op, decision: Accepted) -> None:
        for draft in decision.events:
            event = Event(len(self.entries) + 1, draft.kind, op.user, self.now_ms, draft.views)
            written = through_the_journal(event.to_entry())
            self.rules.evolve(self.state, event)
            assert through_the_journal(event.to_entry()) == written, "evolve changed the event"
            self.rules.evolve(self.rebuilt, Event.from_entry(written))
            self.entries.append(written)
            self.events.append(event)
        self.effects.extend(decision.effects)
        self.settled.extend(decision.settles)

    def ok(self, user: str, kind: str, args: Any = NOTHING, *, role: Role | None = None) -> JsonObject:
        """Ask something that has to be accepted; return the result."""
        decision = self.do(user, kind, args, role=role)
        assert isinstance(decision, Accepted), decision
        return decision.result or {}

    def refused(self, user: str, kind: str, args: Any = NOTHING, *, role: Role | None = None) -> Failure:
        """Ask something that has to be refused; return why."""
        decision = self.do(user, kind, args, role=role)
        assert isinstance(decision, Refused), decision
        return decision.failure

    def code(self, user: str, kind: str, args: Any = NOTHING, *, role: Role | None = None) -> Code:
        """Ask something that has to be refused; return the code."""
        return self.refused(user, kind, args, role=role).code

    def sees(self, user: str, role: Role | None = None) -> Any:
        """Return the snapshot of a viewer."""
        return through_the_journal(self.rules.project(self.state, Viewer(user, role or self.roles[user])))

    def told(self, user: str, role: Role | None = None) -> list[tuple[str, Any]]:
        """Return kinds and data of all events that a viewer gets."""
        viewer = Viewer(user, role or self.roles[user])
        wires: list[Any] = [wire for entry in self.entries if (wire := project(entry, viewer)) is not None]
        return [(wire["k"], wire["d"]) for wire in wires]

    def last_told(self, user: str, role: Role | None = None) -> tuple[str, Any] | None:
        """Return the last event as a viewer gets it, None when they do not."""
        wire: Any = project(self.entries[-1], Viewer(user, role or self.roles[user]))
        return None if wire is None else (wire["k"], wire["d"])

    def command(self) -> tuple[str, Command]:
        """Return the one command that waits for an answer."""
        ((key, command),) = self.rules.outbox(self.state).items()
        return key, command

    def reply(self, key: str, command: Command, **outcome: Any) -> Decision:
        """Let the entity learn what became of a command."""
        return self.do(f"@{command.to}", "@replied", {"key": key, **outcome})

    def holds_its_laws(self) -> None:
        """Check that the state is its own dump loaded again, and what the journal alone leads to, which stays what it was."""
        dumped = self.rules.dump(self.state)
        assert self.rules.load(through_the_journal(dumped)) == self.state
        assert self.rules.load(dumped) == self.state
        assert self.rebuilt == self.state
        assert [through_the_journal(event.to_entry()) for event in self.events] == self.entries


def _is_small(answer: JsonObject | None) -> None:
    assert len(msgpack.packb(answer)) <= RESULT_BYTES_MAX, "an answer is remembered and has to be small"
