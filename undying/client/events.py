"""What a client hears: one type for all of it, so that a loop over events needs one `if`.

An event of a stream has a position, and its kind is one of the protocol's (`chat.said`, `dice.rolled` …). What happens
to the client itself has no position, and its kind starts with `table.`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from undying.protocol.data import JsonObject
from undying.protocol.position import Position

CLAIMED: Final = "claimed"
"""A new incarnation of the stream's actor took over; nothing is missing. Data: `{prev: position}`."""

SNAPSHOT: Final = "table.snapshot"
"""The stream's state came whole. Events between the last one and this one, if any, are in the state and not heard."""

GONE: Final = "table.gone"
"""The stream can't be followed any more. Data: `{reason}`."""

PRESENCE: Final = "table.presence"
"""Who is at the table. Data: `{users: [{user, name, role, state}]}`."""

EPHEMERAL: Final = "table.ephemeral"
"""Something for now only: a cursor, somebody typing. Data: `{kind, data}`."""

NOTICE: Final = "table.notice"
"""For a person to see. Data: `{error: …}` or `{feature: {name, status, fallback?}}`."""

LAGGED: Final = "table.lagged"
"""This subscriber read too slowly and lost events. Data: `{lost: how many}`; `table.state` holds what they led to."""

Status = Literal["connecting", "live", "reconnecting", "closed"]
"""`live`: what you see is now. `connecting`: not yet, for the first time; `reconnecting`: not just now. `closed`: for good."""


@dataclass(frozen=True, slots=True)
class TableEvent:
    """Something that happened. `by` is a user, or `@` and a stream for the server itself; `at_ms` is since 1970."""

    stream: str
    kind: str
    data: JsonObject = field(default_factory=dict)
    by: str = ""
    at_ms: int = 0
    position: Position | None = None


def role_told(event: TableEvent, user: str) -> str:
    """Return the role of a user that an event or a session's snapshot tells, empty when it tells none."""
    told: object = event.data if event.kind == "member.changed" and event.data.get("user") == user else None
    if event.kind == SNAPSHOT:
        members = event.data.get("members")
        told = members.get(user) if isinstance(members, dict) else None
    return str(told.get("role", "")) if isinstance(told, dict) else ""
