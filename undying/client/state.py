"""What a client knows of a table: the last snapshot of each stream, and every event since applied to it.

`apply(stream's state, event)` is pure: it returns a new state and leaves the one it was given as it was, sharing what did
not change, so a state that somebody holds on to stays what it was. It follows the protocol's event names. Kinds that this
version does not know change nothing, and neither does an event that lacks what its kind should carry: a client shows a
little less rather than fail.

Windows are bounded as the server's are, to the last `WINDOW` chat lines and rolls. The server bounds bytes too: of very long
lines a snapshot holds fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, cast

from undying.client import sheet
from undying.client.events import GONE, PRESENCE, SNAPSHOT, TableEvent
from undying.protocol.data import Json, JsonObject

WINDOW: Final = 200
ASKS_MAX: Final = 70

Change: TypeAlias = Callable[[JsonObject, TableEvent], JsonObject]


def apply(state: JsonObject, event: TableEvent) -> JsonObject:
    """Return the state of the event's stream after the event."""
    change = _SESSION.get(event.kind) if event.stream.startswith("session:") else sheet.CHANGES.get(event.kind)
    if change is None:
        return state
    try:
        return change(state, event)
    except (KeyError, TypeError, ValueError, IndexError):
        return state  # an event without what its kind should carry; see the module


class TableState:
    """All streams that the client follows; the properties are views of the session's and the characters'."""

    def __init__(self) -> None:
        self.streams: Mapping[str, JsonObject] = {}
        """The state of each stream, by its name."""
        self.presence: list[Json] = []
        """Who is here: `[{user, name, role, state}]`."""

    def apply(self, event: TableEvent) -> None:
        """Take what happened."""
        if event.kind == SNAPSHOT:
            self.streams = {**self.streams, event.stream: event.data}
        elif event.kind == GONE:
            self.streams = {stream: state for stream, state in self.streams.items() if stream != event.stream}
        elif event.kind == PRESENCE:
            users = event.data.get("users")
            self.presence = users if isinstance(users, list) else []
        elif event.stream in self.streams:
            self.streams = {**self.streams, event.stream: apply(self.streams[event.stream], event)}

    @property
    def session(self) -> JsonObject:
        """Return all that is known of the session; empty before the first snapshot."""
        return next((state for stream, state in self.streams.items() if stream.startswith("session:")), {})

    @property
    def chat(self) -> list[Json]:
        """Return the last lines: `[{by, at, text, mode, to?}]`."""
        return _list(self.session, "chat")

    @property
    def dice(self) -> list[Json]:
        """Return the last rolls: `[{by, at, expr, total?, detail?, mode, label?, character?}]`."""
        return _list(self.session, "dice")

    @property
    def initiative(self) -> JsonObject:
        """Return the fight: `{active, round, turn, entry, entries}`."""
        return _map(self.session, "combat")

    @property
    def notes(self) -> JsonObject:
        """Return the notes by id: `{id, title, text, visibility, author}`."""
        return _map(self.session, "notes")

    @property
    def map(self) -> JsonObject:
        """Return the scene: `{scene, grid, image, tokens}`."""
        return _map(self.session, "map")

    @property
    def tokens(self) -> JsonObject:
        """Return the tokens on the map by id: `{id, x, y, …}`."""
        return _map(self.map, "tokens")

    @property
    def members(self) -> JsonObject:
        """Return who belongs to the table, by user id: `{user, name, role}`."""
        return _map(self.session, "members")

    @property
    def seats(self) -> JsonObject:
        """Return the table's characters by id: `{name, owner, seated}`."""
        return _map(self.session, "characters")

    @property
    def asks(self) -> list[Json]:
        """Return the latest questions to AI providers: `[{ask, by, at, prompt, provider, visibility, text? | error?}]`."""
        return _list(self.session, "asks")

    @property
    def characters(self) -> JsonObject:
        """Return the sheets that are followed, by character id."""
        ids = (stream.removeprefix("character:") for stream in self.streams if stream.startswith("character:"))
        return {character_id: self.sheet(character_id) for character_id in ids}

    def sheet(self, character_id: str) -> JsonObject:
        """Return what is known of a character's sheet; empty when nothing is."""
        return sheet.of(self.streams.get(f"character:{character_id}", {}))


def _list(state: JsonObject, key: str) -> list[Json]:
    value = state.get(key)
    return value if isinstance(value, list) else []


def _map(state: JsonObject, key: str) -> JsonObject:
    value = state.get(key)
    return value if isinstance(value, dict) else {}


def _line(key: str) -> Change:
    """Return a change that adds the event to a window."""

    def change(state: JsonObject, event: TableEvent) -> JsonObject:
        line: JsonObject = {**event.data, "by": event.by, "at": event.at_ms}
        return {**state, key: [*_list(state, key), line][-WINDOW:]}

    return change


def _put(key: str, name: str = "id") -> Change:
    """Return a change that puts the event's data under its id, or takes it away when it says `gone`."""

    def change(state: JsonObject, event: TableEvent) -> JsonObject:
        things, thing_id = _map(state, key), cast(str, event.data[name])
        if event.data.get("gone"):
            return {**state, key: {other: thing for other, thing in things.items() if other != thing_id}}
        return {**state, key: {**things, thing_id: event.data}}

    return change


def _drop(key: str, name: str = "id") -> Change:
    """Return a change that takes away what the event names."""

    def change(state: JsonObject, event: TableEvent) -> JsonObject:
        return {**state, key: {other: thing for other, thing in _map(state, key).items() if other != event.data[name]}}

    return change


def _on_map(change_tokens: Change) -> Change:
    """Return a change of the map's tokens as a change of the session."""

    def change(state: JsonObject, event: TableEvent) -> JsonObject:
        return {**state, "map": change_tokens(_map(state, "map"), event)}

    return change


def _merge(key: str) -> Change:
    """Return a change that lays the event's data over a map."""

    def change(state: JsonObject, event: TableEvent) -> JsonObject:
        return {**state, key: {**_map(state, key), **event.data}}

    return change


def _named(state: JsonObject, event: TableEvent) -> JsonObject:
    return {**state, **{key: event.data[key] for key in ("name", "status") if key in event.data}}


def _moved(board: JsonObject, event: TableEvent) -> JsonObject:
    tokens, token_id = _map(board, "tokens"), cast(str, event.data["id"])
    token = _map(tokens, token_id)
    return {**board, "tokens": {**tokens, token_id: {**token, **event.data}}} if token else board


def _seat(seated: bool | None) -> Change:
    def change(state: JsonObject, event: TableEvent) -> JsonObject:
        seats, character = _map(state, "characters"), cast(str, event.data["character"])
        facts: JsonObject = {key: event.data[key] for key in ("name", "owner") if key in event.data}
        before: JsonObject = {"seated": False, **_map(seats, character), **facts}
        return {**state, "characters": {**seats, character: before if seated is None else {**before, "seated": seated}}}

    return change


def _asked(state: JsonObject, event: TableEvent) -> JsonObject:
    question: JsonObject = {**event.data, "by": event.by, "at": event.at_ms}
    return {**state, "asks": [*_list(state, "asks"), question][-ASKS_MAX:]}


def _answered(state: JsonObject, event: TableEvent) -> JsonObject:
    asks = [
        {**ask, **event.data} if isinstance(ask, dict) and ask.get("ask") == event.data["ask"] else ask
        for ask in _list(state, "asks")
    ]
    return {**state, "asks": asks}


_SESSION: Final[dict[str, Change]] = {
    "chat.said": _line("chat"),
    "dice.rolled": _line("dice"),
    "combat.started": _merge("combat"),
    "combat.ended": _merge("combat"),
    "initiative.changed": _merge("combat"),
    "turn.changed": _merge("combat"),
    "note.changed": _put("notes"),
    "map.changed": _merge("map"),
    "token.changed": _on_map(_put("tokens")),
    "token.moved": _on_map(_moved),
    "token.removed": _on_map(_drop("tokens")),
    "character.created": _seat(None),
    "character.seated": _seat(seated=True),
    "character.unseated": _seat(seated=False),
    "member.changed": _put("members", "user"),
    "member.removed": _drop("members", "user"),
    "ai.asked": _asked,
    "ai.answered": _answered,
    "ai.failed": _answered,
    "session.created": _named,
    "session.changed": _named,
}
