"""The verdict: a pure function of what the clients wrote down, which shares no rule with the server or the SDK.

    lost          an acknowledged op whose event a client that may see it was not given at the position that the ack named
    repeated      a position that a client was given twice, or an event more than there were ops that ask for it
    out of order  an op that began after another one was acknowledged, yet stands before it; a position that goes backwards
                  at a client; a position of the session at which two clients were given different things

What is said and rolled is for everybody; of blows the judge asks only the client that dealt them.

    noticed_ms    from `kill -9` to when the supervisor learnt of it (a gateway's: to when the first client lost its connection)
    live_ms       from `kill -9` to the next acknowledgement, of an op sent after it, by the entity that was killed (by any
                  entity when a gateway was). Only when none was sent after it: of one that was under way at the kill.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from undying.cli.demo.history import Ack, Fact, Notes, Seen
from undying.protocol.data import JsonObject
from undying.protocol.position import NOWHERE, Position

EXAMPLES_MAX: Final = 5
SESSION: Final = "session:"


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """See the module. `turns` of the play, `acked` of them, `other_acked` ops beside the play; `examples` of the faults."""

    turns: int
    acked: int
    other_acked: int
    lost: int
    repeated: int
    out_of_order: int
    kills: tuple[Recovery, ...]
    examples: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Tell whether every turn was acknowledged and nothing was lost, repeated or out of order."""
        return self.acked == self.turns and not (self.lost or self.repeated or self.out_of_order)

    @property
    def gaps_ms(self) -> tuple[float, float] | None:
        """Return the median and the worst of `live_ms`."""
        gaps = [kill.live_ms for kill in self.kills if kill.live_ms is not None]
        return (round(median(gaps), 1), max(gaps)) if gaps else None

    def to_json(self) -> JsonObject:
        """Return it as plain data."""
        gaps = self.gaps_ms
        return {
            "turns": self.turns,
            "acked": self.acked,
            "other_acked": self.other_acked,
            "lost": self.lost,
            "repeated": self.repeated,
            "out_of_order": self.out_of_order,
            "kills": [kill.to_json() for kill in self.kills],
            "gap_ms": None if gaps is None else {"median": gaps[0], "worst": gaps[1]},
        }


def judge(notes: Sequence[Notes], turns: int, other: int, kills: Sequence[Killed]) -> Verdict:
    """Judge a demo of so many turns, by what its clients wrote down. `other`: how many ops beside the play succeeded."""
    acks = sorted((ack for each in notes for ack in each.acks), key=lambda ack: ack.acked_s)
    lost = _lost(acks, notes)
    repeated = [*_heard_twice(notes), *_done_twice(notes)]
    disordered = [*_overtaken(acks), *_backwards(notes), *_disagreed(notes)]
    dropped = [f"client {each.client} read too slowly: {each.missed} events dropped" for each in notes if each.missed]
    return Verdict(
        turns=turns,
        acked=len(acks) - other,
        other_acked=other,
        lost=len(lost),
        repeated=len(repeated),
        out_of_order=len(disordered),
        kills=tuple(recovery(kill, acks) for kill in kills),
        examples=tuple([*dropped, *lost, *repeated, *disordered][:EXAMPLES_MAX]),
    )


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


def _lost(acks: Sequence[Ack], notes: Sequence[Notes]) -> list[str]:
    """Name the acknowledged ops that are missing somewhere, each once."""
    seen = [set(each.seen) for each in notes]
    faults = []
    for ack in acks:
        witnesses = range(len(notes)) if ack.fact.stream.startswith(SESSION) else (ack.client,)
        blind = [client for client in witnesses if Seen(ack.fact, ack.position) not in seen[client]]
        if blind:
            faults.append(f"lost: {_name(ack.fact, ack.position)} at client {', '.join(map(str, blind))}")
    return faults


def _heard_twice(notes: Sequence[Notes]) -> list[str]:
    faults = []
    for each in notes:
        heard = Counter((seen.fact.stream, seen.position) for seen in each.seen)
        for (stream, position), times in heard.items():
            faults += [f"repeated: {stream} {tuple(position)} at client {each.client}"] * (times - 1)
    return faults


def _done_twice(notes: Sequence[Notes]) -> list[str]:
    """Name the events beyond the number of ops that ask for the same."""
    asked = Counter(fact for each in notes for fact, _ in each.asked.values())
    happened = Counter(seen.fact for seen in {seen for each in notes for seen in each.seen if _may_judge(each, seen.fact)})
    return [f"repeated: done more often than asked: {_name(fact)}" for fact in (happened - asked).elements()]


def _may_judge(notes: Notes, fact: Fact) -> bool:
    """Tell whether a client sees the whole of an event: of a character's, others may see a part."""
    return fact.stream.startswith(SESSION) or fact.by == notes.user


def _overtaken(acks: Sequence[Ack]) -> list[str]:
    """Name the acks whose op began after another one was acknowledged, and stands before it in its stream."""
    by_stream: defaultdict[str, list[Ack]] = defaultdict(list)
    for ack in acks:
        by_stream[ack.fact.stream].append(ack)
    return [fault for stream in by_stream.values() for fault in _overtaken_in(stream)]


def _overtaken_in(acks: Sequence[Ack]) -> Iterable[str]:
    done, highest = 0, NOWHERE
    for ack in sorted(acks, key=lambda each: each.sent_s):
        while acks[done].acked_s < ack.sent_s:
            highest = max(highest, acks[done].position)
            done += 1
        if ack.position <= highest:
            yield f"out of order: {_name(ack.fact, ack.position)} began after {tuple(highest)} was acknowledged"


def _backwards(notes: Sequence[Notes]) -> list[str]:
    faults = []
    for each in notes:
        at: defaultdict[str, Position] = defaultdict(lambda: NOWHERE)
        for fact, position in each.seen:
            if position < at[fact.stream]:  # equal ones are repeated
                faults.append(f"out of order: {_name(fact, position)} after {tuple(at[fact.stream])} at client {each.client}")
            at[fact.stream] = max(at[fact.stream], position)
    return faults


def _disagreed(notes: Sequence[Notes]) -> list[str]:
    told: defaultdict[tuple[str, Position], set[Fact]] = defaultdict(set)
    for each in notes:
        for fact, position in each.seen:
            if fact.stream.startswith(SESSION):
                told[fact.stream, position].add(fact)
    return [f"out of order: clients differ at {stream} {tuple(at)}" for (stream, at), facts in told.items() if len(facts) > 1]


def _name(fact: Fact, position: Position | None = None) -> str:
    where = "" if position is None else f" at {tuple(position)}"
    return f"{fact.event} {fact.mark[:40]!r} by {fact.by} in {fact.stream}{where}"
