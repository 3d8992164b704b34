"""The table itself: made, renamed, paused and resumed."""

from __future__ import annotations

from typing import Any

from actors.request import Request
from actors.rules import Accepted, Decision, public, refuse
from actors.session.state import Decider, Evolver, SessionState, Status
from undying.protocol.effects import Pause
from undying.protocol.errors import Code
from undying.protocol.events import Event
from undying.protocol.fields import Args
from undying.protocol.session_ops import CreateSession, Rename


def _create(state: SessionState, request: Request[CreateSession]) -> Decision:
    if state.status:
        return refuse(Code.ALREADY_EXISTS, "There is a session of that id.", id=state.id)
    data = {"name": request.args.name, "status": "active"}
    return Accepted((public("session.created", {**data}),), {"session": state.id})


def _rename(state: SessionState, request: Request[Rename]) -> Decision:
    return _change(state, request.args.name, state.status)


def _pause(state: SessionState, request: Request[Args]) -> Decision:
    return _change(state, state.name, "paused")


def _resume(state: SessionState, request: Request[Args]) -> Decision:
    return _change(state, state.name, "active")


def _change(state: SessionState, name: str, status: Status) -> Decision:
    if (name, status) == (state.name, state.status):
        return Accepted((), {})
    effects = () if status == state.status else (Pause("pause", status == "paused"),)
    return Accepted((public("session.changed", {"name": name, "status": status}),), {}, effects)


def _changed(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    state.name, state.status = data["name"], data["status"]


DECIDERS: dict[str, Decider] = {
    "session.create": _create,
    "session.rename": _rename,
    "session.pause": _pause,
    "session.resume": _resume,
}
EVOLVERS: dict[str, Evolver] = {"session.created": _changed, "session.changed": _changed}
