"""Judges a run from histories and the journal alone; shares no code with what it judges but the journal's encoding.

1. acked is durable, once: an op that was acknowledged has its marker in exactly one event of the journal; a refused one
   in none; one of which nobody can tell in one or none; nothing is in it twice.
2. one order, no gap, no repeat: what a player heard of a stream has growing positions, and between two of them, without
   a snapshot in between, the journal has nothing that this player may see.
3. the same for all: what a player heard at a position is what the journal has there for them.
4. no leak: no player heard, or was shown in a state, a marker of an op that was not for them.
5. said in one breath, heard in that order: ops of one client keep their order, whatever fails in between.
6. converged: hit points are the sum of what was done.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgpack

from persistence.store import Entry
from tests.simulation.players import UNKNOWN, Done, History

_MARKER = re.compile(r"m-[a-z0-9]+-\d+-")
_CREATION_STEPS = ("saga.started", "character.created", "character.seated", "character.stored", "saga.ended")
Place = tuple[int, int]


class Journal:
    """A stream's events by position, as they are stored."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.events: dict[Place, dict[str, Any]] = {}
        previous: Place = (0, 0)
        for entry in entries:
            for event in msgpack.unpackb(entry.body):
                place = (entry.position.epoch, event["n"])
                assert place > previous, f"{place} after {previous}"
                if event["n"] == 0:
                    assert tuple(event["d"]["prev"]) == previous, f"the claim {place} does not follow {previous}"
                else:
                    assert place == (previous[0], previous[1] + 1), f"a hole between {previous} and {place}"
                self.events[place] = event
                previous = place
        self.last = previous

    def shown(self, place: Place, user: str, role: str) -> dict[str, Any] | None:
        """Return the data that a viewer gets at a position, None when they get nothing."""
        event = self.events[place]
        if "v" not in event:
            return dict(event["d"])
        for audience, data in event["v"]:
            if audience is None or user in audience or (role == "gm" and "@gm" in audience):
                return dict(data)
        return None


def check(histories: Sequence[History], journals: Mapping[str, Journal]) -> None:
    """Raise AssertionError with what is wrong, if something is."""
    _acked_is_durable(histories, journals)
    for history in histories:
        for stream, journal in journals.items():
            _one_order(history, stream, journal)
        _in_one_breath(history, journals)
        _no_leak(history, [op for each in histories for op in each.ops])
    _hit_points(histories, journals)


def _acked_is_durable(histories: Sequence[History], journals: Mapping[str, Journal]) -> None:
    found: Counter[str] = Counter()
    for journal in journals.values():
        for event in journal.events.values():
            text = json.dumps(event.get("d", event.get("v")))
            kind = event["k"]
            for marker in set(_MARKER.findall(text)):
                if kind not in _CREATION_STEPS or kind == "character.created":
                    found[marker] += 1
    for history in histories:
        for op in history.ops:
            assert op.outcome is not None, f"{op} was never answered"
            if op.outcome == UNKNOWN:
                assert found[op.marker] <= 1, f"{op} is {found[op.marker]} times in the journal"
                continue
            want = 1 if op.outcome == "ok" else 0
            assert found[op.marker] == want, f"{op} is {found[op.marker]} times in the journal"


def _one_order(history: History, stream: str, journal: Journal) -> None:
    heard = [event for event in history.heard if event.stream == stream]
    last: Place | None = None
    for event in heard:
        if event.kind == "table.snapshot":
            last = event.position
        if event.position is None or event.kind.startswith("table."):
            continue
        place = event.position
        assert last is None or place > last, f"{history.user} heard {place} of {stream} after {last}"
        shown = journal.shown(place, history.user, history.role.value)
        assert shown == event.data, f"{history.user} heard {event} where the journal has {shown}"
        if last is not None:
            between = [each for each in journal.events if last < each < place and each[1] > 0]
            missed = [each for each in between if journal.shown(each, history.user, history.role.value) is not None]
            assert not missed, f"{history.user} missed {missed} of {stream} between {last} and {place}"
        last = place


def _in_one_breath(history: History, journals: Mapping[str, Journal]) -> None:
    heard: dict[str, Place] = {}
    for journal in journals.values():
        for place, event in journal.events.items():
            if event["k"] == "chat.said":
                heard.update(dict.fromkeys(_MARKER.findall(json.dumps(event.get("d", event.get("v")))), place))
    for breath in {op.breath for op in history.ops if op.breath is not None}:
        places = [heard[op.marker] for op in history.ops if op.breath == breath and op.outcome == "ok"]
        assert places == sorted(places), f"{history.user}: what was said in one breath came as {places}"


def _no_leak(history: History, ops: Iterable[Done]) -> None:
    secret = {op.marker for op in ops if op.audience is not None and not _may(history, op.audience)}
    shown = [*(json.dumps(event.data) for event in history.heard), *history.seen_states]
    for text in shown:
        leaked = secret.intersection(_MARKER.findall(text))
        assert not leaked, f"{history.user} was shown {leaked}: {text[:500]}"


def _may(history: History, audience: tuple[str, ...]) -> bool:
    return history.user in audience or (history.role.value == "gm" and "@gm" in audience)


def _hit_points(histories: Sequence[History], journals: Mapping[str, Journal]) -> None:
    texts = [json.dumps(event.get("d", event.get("v"))) for journal in journals.values() for event in journal.events.values()]
    acked: dict[str, int] = defaultdict(int)
    for history in histories:
        for op in history.ops:
            done = op.outcome == "ok" or (op.outcome == UNKNOWN and any(op.marker in text for text in texts))
            if op.kind == "hp" and op.delta and done:
                acked[op.user] += op.delta
    for history in histories:
        if "hp" in history.final:
            want = history.final["hp_first"] + acked[history.user]
            assert history.final["hp"] == want, f"{history.user}: {history.final} with {acked[history.user]} acknowledged"
    assert journals
