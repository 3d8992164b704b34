"""One life of an entity: its state, and what a commit is made of. No I/O, no clock.

States: between commits an incarnation is *settled*, its state is what the journal holds up to `position`. `take` stages
ops on top: the state runs ahead, replies are held back. `seal` turns what was staged into one journal entry; after the
write, `settle` makes the new position the truth and hands out the replies. There is no way back from a staged state: when
the write fails or its outcome is unknown, the incarnation is thrown away and the journal is read again.

Invariants:

- A reply leaves only with `settle`; so nothing that is not in the journal is ever answered, and no refusal that was
  decided on a state which then never came to be.
- The position moves only in `settle`, by exactly the events of one entry.
- `tail` holds the last entries of its line up to `position`, without a hole; `tail_from` is the position just before them.
- `gaps` are the last rollbacks on its line (`persistence.lineage`), so that the right checkpoints are kept.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, cast

import msgpack

from actors.answers import Answer, Answers, Record, pack_records
from actors.rules import Accepted, Context, Op, Refused, Rules
from persistence.journal import claimed_after, gap_of
from persistence.lineage import Gap
from persistence.store import Entry
from undying.protocol.data import JsonObject
from undying.protocol.effects import Effect, pack_effects
from undying.protocol.errors import Code, Failure
from undying.protocol.events import Event, Viewer
from undying.protocol.position import Position


class Asker(Protocol):
    """Who waits for an answer."""

    @property
    def source(self) -> Hashable:
        """Return where they ask from. Who asks the same again from there waits in the place of the first."""
        ...

    def replaced(self) -> None:
        """Learn that no answer will come."""
        ...


S = TypeVar("S")
T = TypeVar("T", bound=Asker)

RECORDS_MAX: Final = 1_024
TAIL_ENTRIES_MAX: Final = 256
TAIL_BYTES_MAX: Final = 256 << 10
"""Some seconds of a busy table, for those whose connection broke. Each table holds as much all the time; who was away longer
is given what the journal has."""

PROJECTIONS_BYTES_MAX: Final = 1 << 20
GAPS_MAX: Final = 16
"""Rollbacks that are remembered. Older ones than the kept checkpoints do not matter, and these are saved every few minutes."""
WAITERS_MAX: Final = 16
"""Sources (gateways, in effect) whose question after one answer to come is kept."""

_SAME_FOREVER = frozenset({Code.BAD_OP, Code.BAD_ARGS})
"""Refusals that depend on nothing but the op itself; a retry is told the same without a memory of it."""


class Reply(NamedTuple, Generic[T]):
    """An answer and whom it is for. `dup`: it answers a retry."""

    to: T
    answer: Answer
    dup: bool


class Incarnation(Generic[S, T]):
    """One life. `T` is how the host names who waits for an answer."""

    def __init__(self, stream: str, rules: Rules[S], state: S, answers: Answers, position: Position) -> None:
        self.stream = stream
        self.rules = rules
        self.state = state
        self.answers = answers
        self.position = position
        self.gaps: tuple[Gap, ...] = ()
        self.tail: deque[Entry] = deque()
        self.tail_from = position
        self._tail_bytes = 0
        self._next = position.seq + 1
        self._events: list[JsonObject] = []
        self._public = True
        self._effects: list[Effect] = []
        self._records: list[tuple[str, str, Record]] = []
        self._records_max = RECORDS_MAX
        self._replies: list[Reply[T]] = []
        self._waiting: dict[tuple[str, str], dict[Hashable, tuple[T, bool]]] = {}
        self._projections: OrderedDict[str, bytes] = OrderedDict()
        self._projections_bytes = 0

    @property
    def staged(self) -> bool:
        """Tell whether there is something that a commit must write."""
        return bool(self._events)

    def take(self, op: Op, context: Context, to: T) -> None:
        """Stage one op. What rules raise goes through: the incarnation is broken then and must be thrown away."""
        known = self.answers.get(op.user, op.id)
        if known is not None:
            if known.pending:
                self._wait(op, to, dup=True)
            else:
                self._replies.append(Reply(to, known, dup=True))
            return
        if not self.rules.exists(self.state) and not op.user.startswith("@"):
            absent = Failure(Code.NOT_FOUND, f"there is no {self.stream}")
            self._replies.append(Reply(to, Answer(error=absent.to_wire()), dup=False))
            return
        decision = self.rules.decide(self.state, op, context)
        if isinstance(decision, Refused):
            failure = decision.failure
            answer = Answer(error=failure.to_wire())
            if not failure.row.recoverable and failure.code not in _SAME_FOREVER:
                self._remember(op.user, op.id, answer)
            self._replies.append(Reply(to, answer, dup=False))
        else:
            self._accept(op, decision, context, to)

    def _accept(self, op: Op, decision: Accepted, context: Context, to: T) -> None:
        for draft in decision.events:
            event = Event(self._next, draft.kind, draft.by or op.user, context.now_ms, draft.views)
            self.rules.evolve(self.state, event)
            self._events.append(event.to_entry())
            self._public = self._public and event.public
            self._next += 1
        self._effects.extend(decision.effects)
        position = Position(self.position.epoch, self._next - 1)
        if decision.later:
            self._remember(op.user, op.id, Answer(position, pending=True))
            self._wait(op, to, dup=False)
        else:
            answer = Answer(position, decision.result)
            if not decision.repeatable:
                self._remember(op.user, op.id, answer)
            self._replies.append(Reply(to, answer, dup=False))
        for settlement in decision.settles:
            if settlement.failure is not None:
                answer = Answer(error=settlement.failure.to_wire())
            else:
                answer = Answer(position, settlement.result)
            self._remember(settlement.user, settlement.id, answer)
            for waiter, dup in self._waiting.pop((settlement.user, settlement.id), {}).values():
                self._replies.append(Reply(waiter, answer, dup))

    def _wait(self, op: Op, to: T, *, dup: bool) -> None:
        """Keep who waits for an answer to come: of each source the latest, of all sources the latest `WAITERS_MAX`."""
        waiting = self._waiting.setdefault((op.user, op.id), {})
        replaced = waiting.pop(to.source, None)
        if replaced is None and len(waiting) >= WAITERS_MAX:
            replaced = waiting.pop(next(iter(waiting)))
        waiting[to.source] = (to, dup)
        if replaced is not None:
            replaced[0].replaced()

    def _remember(self, user: str, op_id: str, answer: Answer) -> None:
        self._records.append((user, op_id, self.answers.put(user, op_id, answer)))
        if len(self._records) > self._records_max:
            # Refusals that no commit took along: only those that are still remembered are worth taking along later.
            kept = [each for each in self._records if self.answers.record(each[0], each[1]) is each[2]]
            self._records, self._records_max = kept, max(RECORDS_MAX, 2 * len(kept))

    def seal(self) -> Entry:
        """Make one entry of what is staged. Only when `staged`."""
        entry = Entry(
            position=Position(self.position.epoch, self._next - 1),
            first=self.position.seq + 1,
            public=self._public,
            body=cast(bytes, msgpack.packb(self._events)),
            answers=pack_records([record for _, _, record in self._records]),
            effects=pack_effects(self._effects),
        )
        self._events, self._records, self._effects, self._public = [], [], [], True
        return entry

    def settle(self, entry: Entry | None) -> Sequence[Reply[T]]:
        """Take note that the entry (None: nothing was staged) is in the journal. Returns the replies that may leave now."""
        if entry is not None:
            self.position = entry.position
            if self._projections:
                self._projections.clear()
                self._projections_bytes = 0
            self.remember_entry(entry)
        replies, self._replies = self._replies, []
        return replies

    def replay(self, entry: Entry) -> None:
        """Take in the next entry of the line, before the first op. What evolving or unpacking raises goes through."""
        if entry.first > 0:
            for raw in msgpack.unpackb(entry.body):
                self.rules.evolve(self.state, Event.from_entry(raw))
        elif (gap := gap_of(entry)) is not None:
            self.gaps = (*self.gaps, gap)[-GAPS_MAX:]
        self.answers.restore(entry.answers)
        self.position, self._next = entry.position, entry.position.seq + 1
        self.remember_entry(entry)

    def remember_entry(self, entry: Entry) -> None:
        """Add an entry to the tail; the oldest leave when it grows past its bounds."""
        self.tail.append(entry)
        self._tail_bytes += entry.size
        while len(self.tail) > TAIL_ENTRIES_MAX or (self._tail_bytes > TAIL_BYTES_MAX and len(self.tail) > 1):
            gone = self.tail.popleft()
            self._tail_bytes -= gone.size
            self.tail_from = gone.position

    def orphans(self) -> list[T]:
        """Return everybody who still waits for an answer that will not come from this incarnation."""
        waiting = [to for waiters in self._waiting.values() for to, _ in waiters.values()]
        return [reply.to for reply in self._replies] + waiting

    def since(self, position: Position) -> list[Entry] | None:
        """Return the entries after `position`, the first of which may begin before it; None: not contiguous from here."""
        if position == self.position:
            return []
        if position < self.tail_from or position > self.position:
            return None
        after = [entry for entry in self.tail if entry.position > position]
        return after if after and follows(after[0], position) else None

    def projection(self, viewer: Viewer) -> bytes:
        """Return the settled state as the viewer may see it, MessagePack.

        At one position it is made once per class of viewers, as far as `PROJECTIONS_BYTES_MAX` goes; the last one is always
        kept, so that many of one class who come at once cost one.
        """
        name = self.rules.viewer_class(self.state, viewer)
        packed = self._projections.get(name)
        if packed is not None:
            self._projections.move_to_end(name)
            return packed
        packed = self._projections[name] = cast(bytes, msgpack.packb(self.rules.project(self.state, viewer)))
        self._projections_bytes += len(packed)
        while self._projections_bytes > PROJECTIONS_BYTES_MAX and len(self._projections) > 1:
            _, oldest = self._projections.popitem(last=False)
            self._projections_bytes -= len(oldest)
        return packed


def follows(entry: Entry, position: Position) -> bool:
    """Tell whether the entry is the one that comes next after `position`, or contains what comes next."""
    if entry.first == 0:
        return claimed_after(entry) == position
    return entry.position.epoch == position.epoch and entry.first - 1 <= position.seq < entry.position.seq
