"""What an entity is: state, and the pure rules that change it.

    decide(state, op, context) -> Accepted | Refused     reads the state, changes nothing
    evolve(state, event)                                 the only thing that changes the state; never fails, never decides

Everything that is not a function of the state comes in the context: the time, randomness, new ids. So an entity is
rebuilt by evolving a checkpoint with the events after it, and a test needs no process.

Laws, each with a property test over all kinds:

- `load(dump(state)) == state`, and both agree under every further event.
- `decide` leaves the state as it was, whatever the op. A refused op leaves nothing behind.
- For any accepted decision, `evolve` over its events never raises.
- `BAD_ARGS` depends on the op alone, for it is not remembered. A refusal that state or chance has a part in has another code.
- An answer, a result or a failure, is at most 4 KiB as MessagePack: hundreds are remembered for each user.
- `project` of a state never holds what no event told that viewer (the visibility law, see `actors.visibility`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from undying.protocol.data import Json, JsonObject
from undying.protocol.effects import Effect
from undying.protocol.errors import Code, Failure
from undying.protocol.events import Audience, Event, View, Viewer
from undying.protocol.ids import Kind, Role, new_id

S = TypeVar("S")


class Op(NamedTuple):
    """What somebody asks of an entity. `id` is theirs, unique per user and entity; `at` is their clock in ms, or 0.

    Another entity asks as user `@<its stream>` with role SYSTEM.
    """

    id: str
    kind: str
    args: JsonObject
    user: str
    role: Role
    at: int = 0

    @property
    def viewer(self) -> Viewer:
        """Return who asks, as a viewer."""
        return Viewer(self.user, self.role)


class Context(NamedTuple):
    """What a decision may use besides the state: the time in ms since 1970, and randomness."""

    now_ms: int
    rng: random.Random

    def new_id(self) -> str:
        """Draw a new id."""
        return new_id(self.rng)


class Draft(NamedTuple):
    """An event before it has a position: its kind and its views, widest first (see `undying.protocol.events`).

    `by`: in whose name it happens, when that is not who sent the op: a saga goes on for the user who started it.
    """

    kind: str
    views: tuple[View, ...]
    by: str | None = None


def public(kind: str, data: JsonObject, by: str | None = None) -> Draft:
    """Draft an event that everybody sees whole."""
    return Draft(kind, (View(None, data),), by)


def private(kind: str, data: JsonObject, audience: Audience) -> Draft:
    """Draft an event that only `audience` sees."""
    return Draft(kind, (View(audience, data),))


@dataclass(frozen=True, slots=True)
class Settlement:
    """The answer, at last, to an op that was accepted with `later`: its user and id, and a result or a failure."""

    user: str
    id: str
    result: JsonObject | None = None
    failure: Failure | None = None


class Accepted(NamedTuple):
    """Yes: these events happen. `result` goes into the ack.

    `repeatable`: deciding the same op again is as good an answer as this one, so it need not be remembered.
    `later` says that the answer comes with a `Settlement` of a later decision (an op that starts a saga).
    """

    events: tuple[Draft, ...] = ()
    result: JsonObject | None = None
    effects: tuple[Effect, ...] = ()
    later: bool = False
    repeatable: bool = False
    settles: tuple[Settlement, ...] = ()


class Refused(NamedTuple):
    """No: nothing happens."""

    failure: Failure


Decision = Accepted | Refused


def refuse(code: Code, message: str, **context: Json) -> Refused:
    """Make a refusal."""
    return Refused(Failure(code, message, context))


@dataclass(frozen=True, slots=True)
class Command:
    """Something that an entity wants of another one, kept in its state until the answer is in its state too.

    Sent at least once, with the command's key as op id, so done at most once. The answer comes back as an op of kind
    `REPLIED` with args `{key, ok, result | error, heard}` from user `@<to>`; `heard` is False when `to` could not be asked.
    """

    to: str
    kind: str
    args: JsonObject = field(default_factory=dict)
    create: bool = False
    """Whether `to` may come into being by this."""


REPLIED = "@replied"
"""The op by which an entity learns what became of a command."""


class Rules(Protocol[S]):
    """One kind of entity. Holds no state of its own."""

    kind: Kind
    schema: int
    """Version of the state's stored form, 1 and up."""

    def initial(self, entity_id: str) -> S:
        """Return the state before the first event."""
        ...

    def exists(self, state: S) -> bool:
        """Tell whether the entity was created. Only the creating op is taken before that."""
        ...

    def decide(self, state: S, op: Op, context: Context) -> Decision:
        """Decide what an op leads to. Never raises for what a client can send."""
        ...

    def evolve(self, state: S, event: Event) -> None:
        """Change the state by an event."""
        ...

    def project(self, state: S, viewer: Viewer) -> JsonObject:
        """Return the part of the state that the viewer may see."""
        ...

    def viewer_class(self, state: S, viewer: Viewer) -> str:
        """Name what `project` depends on: two viewers of one class get the same projection."""
        ...

    def streams(self, state: S, viewer: Viewer) -> Sequence[str]:
        """Name the other streams that a viewer of this one may follow."""
        ...

    def outbox(self, state: S) -> Mapping[str, Command]:
        """Return the commands that wait for an answer, by key."""
        ...

    def dump(self, state: S) -> JsonObject:
        """Return the state as plain data that shares nothing with it."""
        ...

    def load(self, data: JsonObject) -> S:
        """Return the state that `dump` made the data of. Raises ValueError when it is not such data."""
        ...
