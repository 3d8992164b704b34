"""A session's rules: every topic's deciders and evolvers in one table, what viewers see, and the stored form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from pydantic import TypeAdapter

from actors.request import read_request
from actors.rules import Command, Context, Decision, Op, Refused, refuse
from actors.session import board, chat, combat, members, narrator, notes, replies, rolls, seats, table
from actors.session.state import Decider, Evolver, SessionState
from actors.visibility import Views, named, shown
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event, Viewer
from undying.protocol.ids import Kind, Role, stream_name

_TOPICS: Final = (table, members, chat, rolls, combat, notes, board, seats, narrator)
_DECIDERS: Final[dict[str, Decider]] = {
    kind: decider for topic in (*_TOPICS, replies) for kind, decider in topic.DECIDERS.items()
}
_EVOLVERS: Final[dict[str, Evolver]] = {kind: evolver for topic in _TOPICS for kind, evolver in topic.EVOLVERS.items()}
_STATE: Final = TypeAdapter(SessionState)


class SessionRules:
    """The rules of a session (`actors.rules.Rules`)."""

    kind: Kind = Kind.SESSION
    schema: int = 1

    def initial(self, entity_id: str) -> SessionState:
        """Return a session that was not created yet."""
        return SessionState(entity_id)

    def exists(self, state: SessionState) -> bool:
        """Tell whether the session was created."""
        return state.status != ""

    def decide(self, state: SessionState, op: Op, context: Context) -> Decision:
        """Decide by the role that a member has here and now, whatever the gateway believes."""
        if not state.status and op.kind != "session.create":
            return refuse(Code.NOT_FOUND, "There is no such session.")
        role = _role_of(state, op)
        if role is None:
            return members.removed()
        request = read_request(Kind.SESSION, op, role, context)
        if isinstance(request, Refused):
            return request
        if state.status == "paused" and role not in (Role.GM, Role.SYSTEM):
            return refuse(Code.PAUSED, "The game master paused the session.")
        return _DECIDERS[op.kind](state, request)

    def evolve(self, state: SessionState, event: Event) -> None:
        """Change the state by an event; kinds without a meaning for it (a claim) change nothing."""
        evolver = _EVOLVERS.get(event.kind)
        if evolver is not None:
            evolver(state, event)

    def project(self, state: SessionState, viewer: Viewer) -> JsonObject:
        """Return the table as the viewer may see it."""
        order = shown(combat.combat_views(state.combat), viewer)
        tokens = {token.id: data for token in state.board.tokens.values() if (data := shown(board.token_views(token), viewer))}
        return {
            "id": state.id,
            "name": state.name,
            "status": state.status,
            "members": {
                user: {"user": user, "name": member.name, "role": member.role.value} for user, member in state.members.items()
            },
            "chat": _all_shown([chat.line_views(line) for line in state.chat], viewer),
            "dice": _all_shown([rolls.roll_views(roll) for roll in state.dice], viewer),
            "combat": order,
            "notes": {note.id: data for note in state.notes.values() if (data := shown(notes.note_views(note), viewer))},
            "map": {**board.scene_data(state.board), "tokens": cast(Json, tokens)},
            "characters": seats.seats_data(state),
            "asks": _all_shown([narrator.ask_views(ask) for ask in state.asks.values()], viewer),
        }

    def viewer_class(self, state: SessionState, viewer: Viewer) -> str:
        """Name a viewer by themselves only when something at the table is for them by name."""
        group = "gm" if viewer.role is Role.GM else "table"
        return f"{group}:{viewer.user}" if viewer.user in _named(state) else group

    def streams(self, state: SessionState, viewer: Viewer) -> Sequence[str]:
        """Name the streams of the seated characters: all at the table may follow them."""
        return [stream_name(Kind.CHARACTER, character) for character, seat in state.characters.items() if seat.seated]

    def outbox(self, state: SessionState) -> Mapping[str, Command]:
        """Return what sagas and questions wait for."""
        if not state.creations and not state.asks:
            return {}
        return seats.commands(state) | narrator.commands(state)

    def dump(self, state: SessionState) -> JsonObject:
        """Return the state as plain data."""
        return cast(JsonObject, _STATE.dump_python(state, mode="json"))

    def load(self, data: JsonObject) -> SessionState:
        """Return the state that `dump` made the data of. Raises ValueError."""
        return _STATE.validate_python(data)


def _role_of(state: SessionState, op: Op) -> Role | None:
    """Return the role that counts, None for a removed user. Who never joined has the role that their token gave them."""
    if op.role is Role.SYSTEM:
        return op.role
    member = state.members.get(op.user)
    if member is not None:
        return member.role
    return None if op.user in state.removed else op.role


def _all_shown(things: Sequence[Views], viewer: Viewer) -> Json:
    return [data for views in things if (data := shown(views, viewer)) is not None]


def _named(state: SessionState) -> set[str]:
    things = (
        *(chat.line_views(line) for line in state.chat if line.to),
        *(rolls.roll_views(roll) for roll in state.dice if roll.mode != "public"),
        *(notes.note_views(note) for note in state.notes.values() if note.visibility != "public"),
        *(narrator.ask_views(ask) for ask in state.asks.values() if ask.visibility != "public"),
    )
    return named(view for views in things for view in views)
