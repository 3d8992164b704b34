"""Fights: the initiative order, rounds and turns.

Hidden entries exist only for game masters. Everybody else gets the order without them; while a hidden one has the turn
they are told that nobody has it. Every event but `turn.changed` carries the whole order, as its viewer may see it.

The order is by value, equal ones as they came. Who stands before the one whose turn it is has acted in this round, who stands
behind is still to come. So whatever becomes of others, nobody acts twice in a round and nobody is passed over, unless a game
master gives them another value: then they act where they stand now. A newcomer above the turn waits for the next round.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from actors.session.state import ROUND_MAX, Combat, Decider, Evolver, SessionState, Turn, facts
from actors.visibility import Views, two_views
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event
from undying.protocol.fields import Args
from undying.protocol.session_ops import ENTRIES_MAX, AddInitiative, Entry, RemoveInitiative, SetInitiative


def _start(state: SessionState, request: Request[Args]) -> Decision:
    combat = state.combat
    if combat.active:
        return refuse(Code.WRONG_STATE, "The fight is already on.")
    return _changed("combat.started", Combat(True, 1, combat.entries[0].id if combat.entries else None, combat.entries))


def _end(state: SessionState, request: Request[Args]) -> Decision:
    if not state.combat.active:
        return _no_fight()
    return _changed("combat.ended", Combat(False, 0, None, state.combat.entries))


def _set(state: SessionState, request: Request[SetInitiative]) -> Decision:
    ids = [entry.id for entry in request.args.entries]
    if len(set(ids)) < len(ids):
        return refuse(Code.BAD_ARGS, "Two entries have the same id.", path="entries", reason="ids should differ")
    put_by = {turn.id: turn.by for turn in state.combat.entries}
    return _reordered(state.combat, [_turn(entry, put_by.get(entry.id, request.user)) for entry in request.args.entries])


def _add(state: SessionState, request: Request[AddInitiative]) -> Decision:
    entry, combat = request.args.entry, state.combat
    known = _find(combat.entries, entry.id)
    if not request.leads:
        if known is not None and known.hidden:
            return refuse(Code.ALREADY_EXISTS, "That id is taken.", id=entry.id)
        if known is not None and not _is_own(state, request.user, known):
            return refuse(Code.FORBIDDEN, "That entry is not yours.", id=entry.id)
        if entry.hidden or (entry.character is not None and not state.owns(request.user, entry.character)):
            return refuse(Code.FORBIDDEN, "Only an open entry, of your own or of a character of yours.", id=entry.id)
    if known is None and len(combat.entries) >= ENTRIES_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"The order holds at most {ENTRIES_MAX}.", limit=ENTRIES_MAX)
    turn = _turn(entry, known.by if known is not None else request.user)
    if known is not None and known.value == entry.value:
        return _reordered(combat, [turn if other is known else other for other in combat.entries])
    return _reordered(combat, [*(other for other in combat.entries if other is not known), turn])


def _remove(state: SessionState, request: Request[RemoveInitiative]) -> Decision:
    known = _find(state.combat.entries, request.args.id)
    if known is None or (known.hidden and not request.leads):
        return refuse(Code.NOT_FOUND, "There is no such entry.", id=request.args.id)
    if not request.leads and not _is_own(state, request.user, known):
        return refuse(Code.FORBIDDEN, "That entry is not yours.", id=request.args.id)
    return _reordered(state.combat, [turn for turn in state.combat.entries if turn is not known])


def _next(state: SessionState, request: Request[Args]) -> Decision:
    combat = state.combat
    if not combat.active:
        return _no_fight()
    current = _find(combat.entries, combat.current)
    if not request.leads and (current is None or not _is_own(state, request.user, current)):
        return refuse(Code.FORBIDDEN, "It is not your turn.")
    if not combat.entries:
        return refuse(Code.WRONG_STATE, "Nobody is in the order.")
    at = combat.entries.index(current) + 1 if current is not None else 0
    if at < len(combat.entries):
        return _turned(combat, combat.round, at)
    if combat.round >= ROUND_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A fight has at most {ROUND_MAX} rounds.", limit=ROUND_MAX)
    return _turned(combat, combat.round + 1, 0)


def _prev(state: SessionState, request: Request[Args]) -> Decision:
    combat = state.combat
    if not combat.active:
        return _no_fight()
    current = _find(combat.entries, combat.current)
    at = combat.entries.index(current) - 1 if current is not None else -1
    if at >= 0:
        return _turned(combat, combat.round, at)
    if combat.round <= 1 or not combat.entries:
        return refuse(Code.WRONG_STATE, "This is the first turn of the fight.")
    return _turned(combat, combat.round - 1, len(combat.entries) - 1)


def _no_fight() -> Refused:
    return refuse(Code.WRONG_STATE, "There is no fight on.")


def _turn(entry: Entry, by: str) -> Turn:
    return Turn(entry.id, entry.name, entry.value, entry.character, entry.hidden, by)


def _find(entries: Iterable[Turn], entry_id: str | None) -> Turn | None:
    return next((turn for turn in entries if turn.id == entry_id), None)


def _is_own(state: SessionState, user: str, turn: Turn) -> bool:
    return not turn.hidden and (turn.by == user or state.owns(user, turn.character))


def _reordered(combat: Combat, entries: list[Turn]) -> Accepted:
    """Decide for a new order."""
    entries = sorted(entries, key=lambda turn: -turn.value)
    round_, current = _turn_after(combat, entries) if combat.active else (combat.round, None)
    return _changed("initiative.changed", Combat(combat.active, round_, current, entries))


def _turn_after(combat: Combat, entries: list[Turn]) -> tuple[int, str | None]:
    """Return round and turn under a new order. The turn stays with who has it, unless they are gone or wait for others.

    Then it goes to the first who is still to come in this round, and when there is none, the next round begins.
    """
    before = combat.entries
    current = _find(before, combat.current)
    at = before.index(current) if current is not None else 0
    acted, coming = {turn.id for turn in before[:at]}, {turn.id for turn in before[at + 1 :]}
    still = _find(entries, combat.current)
    first = next((turn for turn in entries if turn.id in coming), None)
    if current is not None and still is not None:
        waits = first is not None and entries.index(first) < entries.index(still) and still.value < current.value
        if not waits:
            return combat.round, still.id
    if first is not None:
        return combat.round, first.id
    over = any(turn.id in acted for turn in entries)
    return min(combat.round + over, ROUND_MAX), entries[0].id if entries else None


def _changed(kind: str, combat: Combat) -> Accepted:
    return Accepted((Draft(kind, combat_views(combat)),), {})


def _turned(combat: Combat, round_: int, at: int) -> Accepted:
    after = Combat(True, round_, combat.entries[at].id, combat.entries)
    views = two_views(_whose_turn(after, after.entries), _whose_turn(after, _visible(after)))
    return Accepted((Draft("turn.changed", views),), {})


def _visible(combat: Combat) -> list[Turn]:
    return [turn for turn in combat.entries if not turn.hidden]


def _whose_turn(combat: Combat, entries: list[Turn]) -> JsonObject:
    at = next((index for index, turn in enumerate(entries) if turn.id == combat.current), None)
    entry = None if at is None else facts(entries[at])
    return {"round": combat.round, "turn": at, "entry": entry}


def _order(combat: Combat, entries: list[Turn]) -> JsonObject:
    shown = [facts(turn) for turn in entries]
    return {"active": combat.active, **_whose_turn(combat, entries), "entries": list(shown)}


def combat_views(combat: Combat) -> Views:
    """Return the fight as events and the snapshot show it: `{active, round, turn, entry, entries}`."""
    return two_views(_order(combat, combat.entries), _order(combat, _visible(combat)))


def _evolve_order(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    entry = data["entry"]
    entries = [Turn(**turn) for turn in data["entries"]]
    state.combat = Combat(data["active"], data["round"], None if entry is None else entry["id"], entries)


def _evolve_turn(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    state.combat.round = data["round"]
    state.combat.current = data["entry"]["id"]


DECIDERS: dict[str, Decider] = {
    "combat.start": _start,
    "combat.end": _end,
    "initiative.set": _set,
    "initiative.add": _add,
    "initiative.remove": _remove,
    "initiative.next": _next,
    "initiative.prev": _prev,
}
EVOLVERS: dict[str, Evolver] = {
    "combat.started": _evolve_order,
    "combat.ended": _evolve_order,
    "initiative.changed": _evolve_order,
    "turn.changed": _evolve_turn,
}
