"""What ended in the whole tree and what was decided about it: the restart history that outlives supervisors and servers.

A supervisor tells of an `Ending`. On its way it becomes a `Note`: who tells it, in which of its lives, as which number, when.
The chronicle keeps the latest notes and counts the endings of each child. Pure; the tracker is its shell.

Laws (property-tested): a note that is told again, after a call that was lost or to a tracker that was restarted, counts once;
at most `keep` notes are kept, the latest that came in; the endings of one child are numbered 1, 2, 3 …, also past what is
forgotten; a number that was left out between two notes of one life is counted as lost, once.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar, assert_never, cast, get_args

import msgpack

from actors.runtime import Exit
from supervision.policy import Escalate, GiveUp, RestartAfter, Verdict
from undying.protocol.data import JsonObject

KEPT_MAX: Final = 1_000
"""Notes that are kept."""
COUNTED_MAX: Final = 4_096
"""Children whose endings are counted, and lives whose numbers are known: the ones heard of last."""
DETAIL_CHARS_MAX: Final = 300

K = TypeVar("K")

Decided: TypeAlias = Literal["restart", "quarantined", "failed", "given up", "replaced"]
"""restart: the child is started again, after `after_s`. quarantined, failed: a person is needed, or a supervisor above.
given up: it is not to come back, and that is in order. replaced: another process does its work."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A child ended: who, of which kind, in which process on which node, how, and what its supervisor decided."""

    id: str
    kind: str
    where: str
    node: str
    exit: Exit
    decided: Decided = "restart"
    after_s: float = 0.0

    def after(self, verdict: Verdict, too_often: Decided) -> Ending:
        """Return it with what the policy decided; `too_often` is what that means past the child's intensity."""
        match verdict:
            case RestartAfter(after_s):
                return replace(self, decided="restart", after_s=after_s)
            case Escalate():
                return replace(self, decided=too_often)
            case GiveUp():
                return replace(self, decided="given up")
            case _:
                assert_never(verdict)


@dataclass(frozen=True, slots=True)
class Note:
    """An ending as it was told. `nth`: which of the child's endings on record it is; 0 until the chronicle has it."""

    by: str
    life: str
    number: int
    at_ms: int
    ending: Ending
    nth: int = 0

    def row(self) -> JsonObject:
        """Return it for people, as plain data."""
        ending = self.ending
        return {
            "at_ms": self.at_ms,
            "id": ending.id,
            "kind": ending.kind,
            "where": ending.where,
            "node": ending.node,
            "reason": ending.exit.reason,
            "detail": ending.exit.detail,
            "decided": ending.decided,
            "after_s": ending.after_s,
            "nth": self.nth,
            "by": self.by,
        }

    def pack(self) -> bytes:
        """Return it for another process or the store."""
        return cast(bytes, msgpack.packb({**self.row(), "life": self.life, "number": self.number}))


def read_note(packed: bytes) -> Note | None:
    """Read what `pack` wrote; None when it is something else."""
    try:
        row: dict[str, Any] = msgpack.unpackb(packed)
        ending = Ending(
            id=str(row["id"]),
            kind=str(row["kind"]),
            where=str(row["where"]),
            node=str(row["node"]),
            exit=Exit(str(row["reason"]), str(row["detail"])),
            decided=row["decided"],
            after_s=float(row["after_s"]),
        )
        known = ending.decided in get_args(Decided)
        note = Note(str(row["by"]), str(row["life"]), int(row["number"]), int(row["at_ms"]), ending, int(row["nth"]))
    except (ValueError, TypeError, KeyError, OverflowError, msgpack.UnpackException):
        return None
    return note if known else None


class Chronicle:
    """The latest notes. `lost` counts those that were told and never came in, as far as their lives are known."""

    def __init__(self, keep: int = KEPT_MAX) -> None:
        self.lost = 0
        self._notes: deque[Note] = deque(maxlen=keep)
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._numbers: OrderedDict[tuple[str, str], int] = OrderedDict()

    @property
    def notes(self) -> list[Note]:
        """Return what is kept, in the order in which it came in."""
        return list(self._notes)

    def add(self, note: Note) -> Note | None:
        """Take a note in; returns it with its `nth`, None when it was known."""
        life = (note.by, note.life)
        last = self._numbers.get(life)
        if last is not None and note.number <= last:
            return None
        self.lost += 0 if last is None else note.number - last - 1
        _put(self._numbers, life, note.number)
        nth = self._counts.get(note.ending.id, 0) + 1
        _put(self._counts, note.ending.id, nth)
        numbered = replace(note, nth=nth)
        self._notes.append(numbered)
        return numbered

    def restore(self, notes: Iterable[Note]) -> None:
        """Take in stored notes, the oldest first, before any other. One may be there twice."""
        for note in notes:
            life = (note.by, note.life)
            if note.number > self._numbers.get(life, 0):
                _put(self._numbers, life, note.number)
                _put(self._counts, note.ending.id, max(note.nth, self._counts.get(note.ending.id, 0)))
                self._notes.append(note)

    def rows(self, limit: int) -> list[JsonObject]:
        """Return up to `limit` notes as plain data, the latest ending first."""
        in_time = sorted(self._notes, key=lambda note: note.at_ms)
        return [note.row() for note in reversed(in_time[max(0, len(in_time) - limit) :])]


def _put(counts: OrderedDict[K, int], key: K, value: int) -> None:
    counts[key] = value
    counts.move_to_end(key)
    if len(counts) > COUNTED_MAX:
        counts.popitem(last=False)
