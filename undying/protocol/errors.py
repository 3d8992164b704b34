"""The taxonomy: every failure that reaches a person is one row of this table.

A failure has a code; the code fixes severity, category, whether trying again can help, and the HTTP status. The message
is for a person and the context is plain data without secrets. `Failure` is the value, `UndyingError` carries one as an
exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from undying.protocol.data import Json, JsonObject


class Severity(StrEnum):
    """How bad: critical, the session can't go on; high, a main feature is broken; medium, there is a way round; low."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Category(StrEnum):
    """Where to look for the cause."""

    NETWORK = "network"
    DATA = "data"
    AUTH = "auth"
    INTEGRATION = "integration"
    SYSTEM = "system"


RetryStrategy = Literal["immediate", "backoff", "none"]


class Code(StrEnum):
    """The names of all failures."""

    BAD_FRAME = "BAD_FRAME"
    BAD_OP = "BAD_OP"
    BAD_ARGS = "BAD_ARGS"
    FRAME_TOO_LARGE = "FRAME_TOO_LARGE"
    VERSION_NOT_SUPPORTED = "VERSION_NOT_SUPPORTED"
    NOT_AUTHENTICATED = "NOT_AUTHENTICATED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    FORBIDDEN = "FORBIDDEN"
    REMOVED = "REMOVED"
    REPLACED = "REPLACED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    WRONG_STATE = "WRONG_STATE"
    PAUSED = "PAUSED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    UNAVAILABLE = "UNAVAILABLE"
    DRAINING = "DRAINING"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    DATA_DAMAGED = "DATA_DAMAGED"
    OP_POISONED = "OP_POISONED"
    QUARANTINED = "QUARANTINED"
    AI_PROVIDER_ERROR = "AI_PROVIDER_ERROR"
    SAGA_COMPENSATED = "SAGA_COMPENSATED"
    RESUME_REFUSED = "RESUME_REFUSED"
    TOO_SLOW = "TOO_SLOW"
    HEARTBEAT_MISSED = "HEARTBEAT_MISSED"
    JOIN_TIMEOUT = "JOIN_TIMEOUT"
    WEBSOCKET_DISCONNECTED = "WEBSOCKET_DISCONNECTED"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Row:
    """What a code fixes: its place in the taxonomy and what the one who gets it should do."""

    severity: Severity
    category: Category
    recoverable: bool
    retry: RetryStrategy
    http_status: int
    meaning: str
    retries_max: int | None = None
    fallback: str | None = None


_S, _C = Severity, Category

TAXONOMY: Final[dict[Code, Row]] = {
    Code.BAD_FRAME: Row(_S.LOW, _C.DATA, False, "none", 400, "A frame or a request does not have the shape it must have."),
    Code.BAD_OP: Row(_S.LOW, _C.DATA, False, "none", 400, "No such op on this stream."),
    Code.BAD_ARGS: Row(_S.LOW, _C.DATA, False, "none", 400, "An argument is missing, of the wrong type or out of bounds."),
    Code.FRAME_TOO_LARGE: Row(_S.LOW, _C.DATA, False, "none", 413, "A frame is larger than the server takes."),
    Code.VERSION_NOT_SUPPORTED: Row(_S.HIGH, _C.NETWORK, False, "none", 400, "The server does not speak this version."),
    Code.NOT_AUTHENTICATED: Row(_S.HIGH, _C.AUTH, False, "none", 401, "No token, or one that this server did not sign."),
    Code.TOKEN_EXPIRED: Row(_S.HIGH, _C.AUTH, False, "none", 401, "The token was good and is not any more."),
    Code.FORBIDDEN: Row(_S.LOW, _C.AUTH, False, "none", 403, "This role, or this user, may not do that."),
    Code.REMOVED: Row(_S.HIGH, _C.AUTH, False, "none", 403, "The game master removed this user from the table."),
    Code.REPLACED: Row(_S.LOW, _C.NETWORK, False, "none", 409, "A newer connection of the same client took over."),
    Code.NOT_FOUND: Row(_S.LOW, _C.DATA, False, "none", 404, "No such thing, or none that this viewer may see."),
    Code.ALREADY_EXISTS: Row(_S.LOW, _C.DATA, False, "none", 409, "That name or id is taken."),
    Code.WRONG_STATE: Row(_S.LOW, _C.DATA, False, "none", 409, "Not now: combat is not on, it is not your turn, and the like."),
    Code.PAUSED: Row(_S.LOW, _C.DATA, False, "none", 409, "The game master paused the session."),
    Code.LIMIT_EXCEEDED: Row(_S.LOW, _C.DATA, False, "none", 409, "A bound of the table is reached."),
    Code.RATE_LIMITED: Row(_S.LOW, _C.SYSTEM, True, "backoff", 429, "Too many ops in too short a time."),
    Code.OVERLOADED: Row(_S.MEDIUM, _C.SYSTEM, True, "backoff", 503, "The server holds as much as it may; try again soon."),
    Code.UNAVAILABLE: Row(_S.HIGH, _C.SYSTEM, True, "backoff", 503, "The actor is being brought back and was not in time."),
    Code.DRAINING: Row(_S.LOW, _C.SYSTEM, True, "immediate", 503, "The server is going down in order; connect again."),
    Code.DATABASE_UNAVAILABLE: Row(
        _S.CRITICAL, _C.SYSTEM, True, "backoff", 503, "The store can't be written.", fallback="read-only"
    ),
    Code.DATA_DAMAGED: Row(_S.CRITICAL, _C.DATA, False, "none", 500, "What the store holds for this entity can't be read."),
    Code.OP_POISONED: Row(_S.HIGH, _C.SYSTEM, False, "none", 500, "This op ended the process that ran it, twice."),
    Code.QUARANTINED: Row(_S.CRITICAL, _C.SYSTEM, False, "none", 503, "The actor failed too often and waits for a person."),
    Code.AI_PROVIDER_ERROR: Row(
        _S.MEDIUM, _C.INTEGRATION, True, "backoff", 502, "The AI provider gave no answer.", fallback="alternative provider"
    ),
    Code.SAGA_COMPENSATED: Row(_S.MEDIUM, _C.DATA, False, "none", 409, "One step failed, the steps before it were undone."),
    Code.RESUME_REFUSED: Row(_S.MEDIUM, _C.NETWORK, False, "none", 409, "The connection can't be resumed; join again."),
    Code.TOO_SLOW: Row(_S.MEDIUM, _C.NETWORK, True, "backoff", 503, "The client reads slower than the table plays."),
    Code.HEARTBEAT_MISSED: Row(_S.LOW, _C.NETWORK, True, "immediate", 408, "Nothing was heard from the client in time."),
    Code.JOIN_TIMEOUT: Row(_S.LOW, _C.NETWORK, True, "backoff", 408, "The client connected and did not join in time."),
    Code.WEBSOCKET_DISCONNECTED: Row(
        _S.HIGH, _C.NETWORK, True, "backoff", 503, "The connection broke.", retries_max=5, fallback="polling"
    ),
    Code.INTERNAL: Row(_S.HIGH, _C.SYSTEM, True, "backoff", 500, "A defect of the server; it was recorded."),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: its code, a message for a person, and facts (`context`) that hold no secret.

    `after_ms` is how long to wait before trying again, when the server knows it.
    """

    code: Code
    message: str
    context: JsonObject = field(default_factory=dict)
    after_ms: int | None = None

    @property
    def row(self) -> Row:
        """Return the taxonomy's row for this code."""
        return TAXONOMY[self.code]

    def to_wire(self) -> JsonObject:
        """Return the error object as the protocol has it."""
        row = self.row
        retry: JsonObject = {"strategy": row.retry}
        if self.after_ms is not None:
            retry["after_ms"] = self.after_ms
        if row.retries_max is not None:
            retry["max"] = row.retries_max
        wire: JsonObject = {
            "code": self.code.value,
            "severity": row.severity.value,
            "category": row.category.value,
            "message": self.message,
            "recoverable": row.recoverable,
            "retry": retry,
        }
        if row.fallback is not None:
            wire["fallback"] = row.fallback
        if self.context:
            wire["context"] = self.context
        return wire

    @classmethod
    def from_wire(cls, wire: object) -> Failure:
        """Read an error object. A code that this version does not know becomes INTERNAL and stands in the context."""
        if not isinstance(wire, dict):
            return cls(Code.INTERNAL, "an error without a shape")
        code, message = wire.get("code"), str(wire.get("message", ""))
        context = wire.get("context")
        facts: dict[str, Json] = dict(context) if isinstance(context, dict) else {}
        retry = wire.get("retry")
        after = retry.get("after_ms") if isinstance(retry, dict) else None
        after_ms = after if isinstance(after, int) else None
        try:
            return cls(Code(str(code)), message, facts, after_ms)
        except ValueError:
            return cls(Code.INTERNAL, message, {**facts, "code": str(code)}, after_ms)


class UndyingError(Exception):
    """A failure on its way up. `failure` is the whole of it; the text is for logs."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.failure = failure

    def __reduce__(self) -> tuple[type[UndyingError], tuple[Failure]]:
        """Survive a trip between processes whole."""
        return type(self), (self.failure,)


def error(code: Code, message: str, **context: Json) -> UndyingError:
    """Make an exception of a code, a message and facts."""
    return UndyingError(Failure(code, message, context))
