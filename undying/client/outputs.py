"""What the client's machine wants done: data, carried out by the shell in the order in which it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from undying.client.events import Status, TableEvent
from undying.protocol.data import JsonObject
from undying.protocol.errors import Failure


@dataclass(frozen=True, slots=True)
class Open:
    """Open a connection, to `url` instead of the usual one when the server named it. Answer with connected or disconnected."""

    url: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame on the open connection."""

    frame: JsonObject


@dataclass(frozen=True, slots=True)
class Shut:
    """Let go of the connection, or of the attempt to open one. What it still brings is not for the machine."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Tell the person's side what happened."""

    event: TableEvent


@dataclass(frozen=True, slots=True)
class Settled:
    """An op has its answer: a result, or a failure; `unknown`: the failure does not say whether it was done."""

    op_id: str
    result: JsonObject
    failure: Failure | None = None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The table's status changed."""

    status: Status


@dataclass(frozen=True, slots=True)
class Ended:
    """The table is closed for good. `failure` says why, None when this side left. The ops `unanswered` have no answer."""

    failure: Failure | None
    unanswered: tuple[str, ...]


Output: TypeAlias = Open | Send | Shut | Happened | Settled | StatusChanged | Ended
