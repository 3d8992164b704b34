"""Ops that have no answer yet, in the order in which they were asked.

Sans-I/O. An op leaves the list in one of three ways: the server answered it for good, its caller gave it up, or the
table closed. Until then it is sent again, with its id, on every new connection; the server answers a repeated id with
its first answer, so an op happens once however often it is sent.

A recoverable refusal is no answer: the op waits (as long as the server says, and longer from try to try) and goes again,
`tries_max` times; ops that were asked after it may be done before it then. An op that its caller gave up is not sent
any more: late is not what they asked for.

A try is *open* when nothing is known of it: it was sent and the connection ended, or its failure says that it may have been
done. An op with an open try is not refused by a failure that speaks only of another try (`failures.leaves_open`).

Bounds: `limit` ops; one more is refused with OVERLOADED and was never sent. At most `WINDOW` of them are on the wire;
the others wait their turn, so that a server's own bound does not break the order.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from undying.client.failures import OpRefused, leaves_open, says_nothing
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure
from undying.resilience.backoff import Backoff

RETRY: Final = Backoff(base_s=0.1, factor=2.0, cap_s=5.0)
"""Delays between tries of an op that was refused with a recoverable failure."""

WINDOW: Final = 64
"""Ops on the wire at a time."""


@dataclass(slots=True)
class _Pending:
    frame: JsonObject
    on_wire: bool = False
    given_up: bool = False
    refusals: int = 0
    open: bool = False
    """Whether one of its tries is open."""
    due_s: float | None = None
    """When to send it again after a recoverable refusal."""


class PendingOps:
    """The unacknowledged ops of one client."""

    def __init__(self, rng: random.Random, *, limit: int, tries_max: int) -> None:
        self._rng = rng
        self._limit = limit
        self._tries_max = tries_max
        self._ops: dict[str, _Pending] = {}
        self._on_wire = 0

    def __len__(self) -> int:
        return len(self._ops)

    def add(self, frame: JsonObject) -> None:
        """Keep an op's frame until it is answered. Raises OpRefused OVERLOADED when `limit` ops already wait."""
        if len(self._ops) >= self._limit:
            raise OpRefused(Failure(Code.OVERLOADED, f"{self._limit} ops already wait for an answer", {"bound": self._limit}))
        self._ops[str(frame["id"])] = _Pending(frame)

    def rewind(self) -> None:
        """Make all go again on a new connection. What was given up is dropped instead."""
        self._ops = {op_id: op for op_id, op in self._ops.items() if not op.given_up}
        self._on_wire = 0
        for op in self._ops.values():
            op.open |= op.on_wire
            op.on_wire, op.due_s = False, None

    def sendable(self, now: float) -> list[JsonObject]:
        """Return the frames to send now, in order; from then on they are on the wire."""
        frames: list[JsonObject] = []
        if self._on_wire == len(self._ops):
            return frames
        for op in self._ops.values():
            if self._on_wire >= WINDOW:
                break
            if not op.on_wire and (op.due_s is None or op.due_s <= now):
                op.on_wire, op.due_s = True, None
                self._on_wire += 1
                frames.append(op.frame)
        return frames

    def next_due(self) -> float | None:
        """Return when the next op is to be tried again, None when none waits for time to pass."""
        if self._on_wire >= WINDOW:
            return None  # an answer makes room, and then it is looked at again
        return min((op.due_s for op in self._ops.values() if op.due_s is not None), default=None)

    def settle(self, op_id: str) -> bool:
        """Forget an op that was answered. Returns whether its caller is still to be told."""
        op = self._ops.pop(op_id, None)
        if op is None:
            return False
        self._on_wire -= op.on_wire
        return not op.given_up

    def refuse(self, op_id: str, failure: Failure, now: float) -> bool:
        """Take a recoverable refusal. Returns True when the op will be tried again, False when that was tried enough."""
        op = self._ops.get(op_id)
        if op is None or op.given_up:
            return False
        if not op.on_wire:
            return True  # it waits for its next try already
        op.open |= says_nothing(failure)
        op.refusals += 1
        if op.refusals >= self._tries_max:
            return False
        wait_s = max(RETRY.delay(op.refusals - 1, self._rng), (failure.after_ms or 0) / 1000)
        op.due_s, op.on_wire = now + wait_s, False
        self._on_wire -= 1
        return True

    def outcome_unknown(self, op_id: str, failure: Failure) -> bool:
        """Tell whether an op may have been done although `failure` is the last word on it."""
        op = self._ops.get(op_id)
        return says_nothing(failure) or (op is not None and op.open and leaves_open(failure))

    def give_up(self, op_id: str) -> None:
        """Take note that the caller waits no more. An op that was never sent is forgotten, and never will be."""
        op = self._ops.get(op_id)
        if op is None:
            return
        if op.on_wire:
            op.given_up = True
        else:
            del self._ops[op_id]  # never sent, or refused until now

    def clear(self) -> list[str]:
        """Forget all ops. Returns the ids of those whose callers are to be told."""
        self._on_wire = 0
        told = [op_id for op_id, op in self._ops.items() if not op.given_up]
        self._ops.clear()
        return told
