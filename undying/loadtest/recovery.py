"""How long a death is felt, by the acks that came after it. Times are of one clock, in seconds.

noticed_ms    from `kill -9` to when the supervisor learnt of it (a gateway's: to when the first client lost its connection)
live_ms       from `kill -9` to the next acknowledgement, of an op sent after it, by the entity that was killed (by any
              entity when a gateway was). Only when none was sent after it: of one that was under way at the kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from undying.loadtest.history import Ack
from undying.protocol.data import JsonObject


@dataclass(frozen=True, slots=True)
class Killed:
    """A process that was killed: what lived in it, when it was killed and when that was noticed, in seconds of one clock."""

    id: str
    at_s: float
    noticed_s: float | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long a kill was felt. None: it was not noticed, or nothing was acknowledged any more."""

    id: str
    noticed_ms: float | None
    live_ms: float | None

    def to_json(self) -> JsonObject:
        """Return it as plain data."""
        return {"id": self.id, "noticed_ms": self.noticed_ms, "live_ms": self.live_ms}


def recovery(kill: Killed, acks: Sequence[Ack]) -> Recovery:
    """Measure a kill by the acks, which are in the order in which they came."""
    came = [ack for ack in acks if ack.acked_s > kill.at_s and (ack.fact.stream == kill.id or kill.id.startswith("gateway:"))]
    later = next((ack for ack in came if ack.sent_s > kill.at_s), None) or next(iter(came), None)
    return Recovery(
        kill.id,
        None if kill.noticed_s is None else _ms(kill.noticed_s - kill.at_s),
        None if later is None else _ms(later.acked_s - kill.at_s),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
