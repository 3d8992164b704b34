"""The judge: a pure function of what the clients of one table wrote down, which shares no rule with the server or the SDK.

    lost          an acknowledged op whose event a client that may see it was not given at the position that the ack named; a
                  question to an AI provider that was not answered, or with a failure
    repeated      a position that a client was given twice, an event more than there were ops that ask for it, or a question
                  that was answered twice
    out of order  an op that began after another one was acknowledged, yet stands before it; a position that goes backwards
                  at a client; a position of the session at which two clients were given different things

What happens in a session is for everybody; of blows the judge asks only the client that dealt them. Every client is asked
what became of the questions that it saw asked, so the clients must have heard all by the time they are judged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from undying.loadtest.history import ANSWERED, Ack, Fact, Notes, Seen
from undying.protocol.position import NOWHERE, Position

EXAMPLES_MAX: Final = 5
SESSION: Final = "session:"


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, a sentence for each fault. `dropped` are no faults of the server: events that a client did not read."""

    acked: int
    lost: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    out_of_order: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Tell whether nothing was lost, repeated or out of order."""
        return not (self.lost or self.repeated or self.out_of_order)

    @property
    def examples(self) -> tuple[str, ...]:
        """Return the first few faults of all."""
        return (*self.dropped, *self.lost, *self.repeated, *self.out_of_order)[:EXAMPLES_MAX]


def check(notes: Sequence[Notes]) -> Findings:
    """Judge by what all clients of one table wrote down."""
    acks = sorted((ack for each in notes for ack in each.acks), key=lambda ack: ack.acked_s)
    return Findings(
        acked=len(acks),
        lost=(*_lost(acks, notes), *_unanswered(notes)),
        repeated=(*_heard_twice(notes), *_done_twice(notes), *_answered_twice(notes)),
        out_of_order=(*_overtaken(acks), *_backwards(notes), *_disagreed(notes)),
        dropped=tuple(f"client {each.client} read too slowly: {each.missed} events dropped" for each in notes if each.missed),
    )


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


def _unanswered(notes: Sequence[Notes]) -> list[str]:
    """Name the questions that were asked and have no answer at some client, each once."""
    without: defaultdict[str, list[int]] = defaultdict(list)
    for each in notes:
        answered = {answer.question for answer in each.answers if answer.event == ANSWERED}
        for question, mark in each.questions.items():
            if question not in answered:
                without[mark].append(each.client)
    return [f"lost: the answer to {mark[:40]!r} at client {', '.join(map(str, blind))}" for mark, blind in without.items()]


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


def _answered_twice(notes: Sequence[Notes]) -> list[str]:
    faults = []
    for each in notes:
        for question, times in Counter(answer.question for answer in each.answers).items():
            faults += [f"repeated: the answer to {each.questions.get(question, question)[:40]!r} at client {each.client}"] * (
                times - 1
            )
    return faults


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
