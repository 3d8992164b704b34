"""What `entity_table` is told (events) and what it wants done (instructions)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from actors.runtime import Exit
from supervision.chronicle import Ending
from undying.protocol.errors import Failure
from undying.protocol.position import Position


@dataclass(frozen=True, slots=True)
class Home:
    """Where an incarnation lives."""

    host: str
    pid: int
    node: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants to know where an entity is; `ticket` tells who. The rest as in `locate`."""

    ticket: int
    stream: str
    create: bool = False
    avoid: str = ""
    near: str = ""


@dataclass(frozen=True, slots=True)
class Activated:
    """An activation succeeded, or (attempt 0) a living entity was found."""

    stream: str
    attempt: int
    home: Home


@dataclass(frozen=True, slots=True)
class NotActivated:
    """An activation was refused, for a reason that is in the taxonomy."""

    stream: str
    attempt: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Crashed:
    """An activation ended with its host, or (attempt 0) an entity is known to have been on a host that died."""

    stream: str
    attempt: int
    host: str
    exit: Exit
    guilty: bool


@dataclass(frozen=True, slots=True)
class HostGone:
    """A host ended."""

    host: str
    exit: Exit


@dataclass(frozen=True, slots=True)
class Due:
    """A pause is over."""

    stream: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Expired:
    """Who asked waits no longer."""

    stream: str
    ticket: int


@dataclass(frozen=True, slots=True)
class Rested:
    """A host let an entity go that nobody needed: its state is saved, the next who asks wakes it."""

    stream: str
    host: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Released:
    """The place of an entity was given back."""

    stream: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """A host is about to let all its entities go, for it is to end: nobody is sent there any more."""

    host: str


@dataclass(frozen=True, slots=True)
class Left:
    """That host has let all go, saved: they come to life elsewhere."""

    host: str


@dataclass(frozen=True, slots=True)
class Readmitted:
    """A person wants a quarantined or failed entity to be tried again."""

    stream: str


@dataclass(frozen=True, slots=True)
class SetBack:
    """A person wants a quarantined or failed entity to be rolled back to a position; `ticket` tells who."""

    ticket: int
    stream: str
    to: Position


Event: TypeAlias = (
    Asked
    | Activated
    | NotActivated
    | Crashed
    | HostGone
    | Due
    | Expired
    | Rested
    | Released
    | Leaving
    | Left
    | Readmitted
    | SetBack
)


@dataclass(frozen=True, slots=True)
class Activate:
    """Bring an entity to life: where it is said to live (`on`), or on a host that the hosts supervisor gives.

    `back`: as it was at this position, rolling back what came after.
    """

    stream: str
    attempt: int
    create: bool
    on: Home | None
    avoid: str
    near: str
    suspect: bool
    back: Position | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Send `Due` after so many seconds."""

    stream: str
    attempt: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Send `HostGone` when this host ends, if that is not being done already."""

    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell who asked: the entity is live on this host."""

    ticket: int
    host: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell who asked: it can't be had."""

    ticket: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Release:
    """Give back the place of an entity that does not live anywhere now, then send `Released`."""

    stream: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Record:
    """Tell the tracker how an entity ended, and what was decided."""

    ending: Ending


Instruction: TypeAlias = Activate | Pause | Watch | Answer | Refuse | Release | Record
