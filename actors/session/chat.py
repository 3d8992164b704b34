"""What is said at the table: lines that all hear, and whispers that only the sender and the named users hear."""

from __future__ import annotations

from typing import Any

from actors.request import Request
from actors.rules import Accepted, Decision, Draft, refuse
from actors.session.state import CHAT_BYTES_MAX, CHAT_WINDOW, ChatLine, Decider, Evolver, SessionState, trim_window
from actors.visibility import Views, whisper
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event, View
from undying.protocol.session_ops import Say


def _say(state: SessionState, request: Request[Say]) -> Decision:
    args = request.args
    data: JsonObject = {"text": args.text, "mode": args.mode}
    if args.to:
        strangers = [user for user in args.to if user not in state.members]
        if strangers:
            return refuse(Code.NOT_FOUND, f"{strangers[0]} is not at this table.", user=strangers[0])
        data["to"] = list(args.to)
    return Accepted((Draft("chat.said", (View(whisper(request.user, args.to), data),)),), {})


def _said(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    line = ChatLine(event.by, event.at, data["text"], data["mode"], list(data.get("to", ())))
    state.chat.append(line)
    state.chat_bytes = trim_window(state.chat, CHAT_WINDOW, state.chat_bytes + line.weight, CHAT_BYTES_MAX)


def line_views(line: ChatLine) -> Views:
    """Return a line of the chat as the snapshot shows it."""
    data: JsonObject = {"by": line.by, "at": line.at, "text": line.text, "mode": line.mode}
    if line.to:
        data["to"] = list(line.to)
    return (View(whisper(line.by, line.to), data),)


DECIDERS: dict[str, Decider] = {"chat.say": _say}
EVOLVERS: dict[str, Evolver] = {"chat.said": _said}
