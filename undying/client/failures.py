"""What a caller of the SDK can get instead of an answer.

    UndyingError            carries a `failure`: code, severity, whether it is recoverable, a message for a person
    ├── OpRefused           the server's answer to this op is no, and nothing happened
    ├── OutcomeUnknown      it was tried as often as it may be, and one of the tries may have done it
    └── Disconnected        the connection is over for good; `failure` says why
        └── Closed          because this side closed it

An op that was under way when the table was closed, or that its caller gave up (`asyncio.timeout`, a cancelled task), has
an *unknown* outcome too: it may have happened.
"""

from __future__ import annotations

from typing import Final

from undying.protocol.closes import Close
from undying.protocol.errors import Code, Failure, UndyingError

_CODE_OF_CLOSE: Final[dict[int, Code]] = {
    Close.INVALID_DATA: Code.BAD_FRAME,
    Close.TOO_BIG: Code.FRAME_TOO_LARGE,
    Close.NOT_AUTHENTICATED: Code.NOT_AUTHENTICATED,
    Close.PROTOCOL_ERROR: Code.BAD_FRAME,
    Close.FORBIDDEN: Code.FORBIDDEN,
    Close.REPLACED: Code.REPLACED,
    Close.VERSION_NOT_SUPPORTED: Code.VERSION_NOT_SUPPORTED,
}


class OpRefused(UndyingError):
    """The op was refused and nothing happened. Unless `failure` is recoverable, asking again gives the same answer."""


class OutcomeUnknown(UndyingError):
    """The op may have happened, now or in a moment, or not at all; `failure` is the last that was heard of it.

    Look at the table's state before asking again: asking again is a new op.
    """


class Disconnected(UndyingError):
    """The connection ended in a way that coming back can't mend, or coming back took longer than allowed."""


class Closed(Disconnected):
    """The table was closed from here."""

    def __init__(self, failure: Failure | None = None) -> None:
        super().__init__(failure or Failure(Code.WEBSOCKET_DISCONNECTED, "the table was closed by this client"))


_SAYS_NOTHING: Final = frozenset(
    {Code.UNAVAILABLE, Code.INTERNAL, Code.DATABASE_UNAVAILABLE, Code.DATA_DAMAGED, Code.QUARANTINED, Code.DRAINING}
)
"""Failures on the way to an entity or inside it: the op may have been done before them."""

_BY_GATEWAY: Final = frozenset({Code.NOT_FOUND, Code.PAUSED})
"""Refusals that a gateway may make without asking the entity: no to this try, and nothing said of an earlier one."""


def says_nothing(failure: Failure) -> bool:
    """Tell whether an op that failed so may have been done all the same. A code that is not known here is a refusal."""
    return failure.code in _SAYS_NOTHING and "code" not in failure.context


def leaves_open(failure: Failure) -> bool:
    """Tell whether an earlier try may have been done although this one failed so.

    An entity knows what it has done and what it refused, so its refusal holds for all tries; a recoverable one is not kept.
    """
    return says_nothing(failure) or failure.row.recoverable or failure.code in _BY_GATEWAY


def recoverable(wire: object, failure: Failure) -> bool:
    """Tell whether trying again can help: the server's word if it gave it, else the taxonomy's."""
    said = wire.get("recoverable") if isinstance(wire, dict) else None
    return said if isinstance(said, bool) else failure.row.recoverable


def failure_of_close(code: int, reason: str) -> Failure:
    """Say what a close code that ends the table means; a reason that starts with a failure's code says it more exactly."""
    named = reason.partition(":")[0]
    if named in Code.__members__:
        return Failure(Code(named), reason, {"close": code})
    fitting = _CODE_OF_CLOSE.get(code, Code.WEBSOCKET_DISCONNECTED)
    return Failure(fitting, reason or fitting.value, {"close": code})
