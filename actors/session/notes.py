"""Notes at the table: public, for the game masters, or for named users; the author always sees a note.

Who sees a note may change or add to it when it is public, when it is theirs, or as a game master. Only its author and a
game master who sees it decide who sees it and throw it away. A note that is thrown away, or that a viewer may not see any
more, is `{id, gone: true}` for those who saw it.
"""

from __future__ import annotations

from typing import Any, cast

from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from actors.session.state import NOTE_TEXT_MAX, NOTES_MAX, NOTES_TEXT_MAX, Decider, Evolver, Note, SessionState
from actors.visibility import Views, audience_of, change, shown
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event, View, Viewer
from undying.protocol.session_ops import AppendNote, DeleteNote, PutNote


def _put(state: SessionState, request: Request[PutNote]) -> Decision:
    args, user = request.args, request.user
    known = state.notes.get(args.id)
    visibility: str | list[str]
    if known is None:
        if len(state.notes) >= NOTES_MAX:
            return refuse(Code.LIMIT_EXCEEDED, f"A table holds at most {NOTES_MAX} notes.", limit=NOTES_MAX)
        visibility = "public" if args.visibility is None else args.visibility
        note = Note(args.id, args.title or "", args.text, visibility, user)
        return _written(state, None, note)
    if not _sees(known, request):
        return refuse(Code.ALREADY_EXISTS, "That id is taken.", id=args.id)
    visibility = known.visibility if args.visibility is None else args.visibility
    if not _may_write(known, request) or (visibility != known.visibility and not _may_govern(known, request)):
        return _not_yours(args.id)
    title = known.title if args.title is None else args.title
    return _written(state, known, Note(args.id, title, args.text, visibility, known.author))


def _append(state: SessionState, request: Request[AppendNote]) -> Decision:
    known = state.notes.get(request.args.id)
    if known is None or not _sees(known, request):
        return _no_note(request.args.id)
    if not _may_write(known, request):
        return _not_yours(known.id)
    text = known.text + request.args.text
    return _written(state, known, Note(known.id, known.title, text, known.visibility, known.author))


def _delete(state: SessionState, request: Request[DeleteNote]) -> Decision:
    known = state.notes.get(request.args.id)
    if known is None or not _sees(known, request):
        return _no_note(request.args.id)
    if not _may_govern(known, request):
        return _not_yours(known.id)
    views = tuple(View(audience, _gone(known.id)) for audience, _ in note_views(known))
    return Accepted((Draft("note.changed", views),), {})


def _written(state: SessionState, before: Note | None, after: Note) -> Decision:
    if len(after.text) > NOTE_TEXT_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A note holds at most {NOTE_TEXT_MAX} characters.", limit=NOTE_TEXT_MAX)
    size = sum(len(note.text) for note in state.notes.values() if note is not before) + len(after.text)
    if size > NOTES_TEXT_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"The notes of a table hold {NOTES_TEXT_MAX} characters.", limit=NOTES_TEXT_MAX)
    views = change(note_views(before) if before is not None else (), note_views(after), _gone(after.id))
    return Accepted((Draft("note.changed", views),), {})


def _sees(note: Note, request: Request[Any]) -> bool:
    return shown(note_views(note), Viewer(request.user, request.role)) is not None


def _may_write(note: Note, request: Request[Any]) -> bool:
    return note.visibility == "public" or _may_govern(note, request)


def _may_govern(note: Note, request: Request[Any]) -> bool:
    return note.author == request.user or request.leads


def _no_note(note_id: str) -> Refused:
    return refuse(Code.NOT_FOUND, "There is no such note.", id=note_id)


def _not_yours(note_id: str) -> Refused:
    return refuse(Code.FORBIDDEN, "That note is not yours.", id=note_id)


def _gone(note_id: str) -> JsonObject:
    return {"id": note_id, "gone": True}


def note_views(note: Note) -> Views:
    """Return a note as events and the snapshot show it."""
    visibility = note.visibility if isinstance(note.visibility, str) else list(note.visibility)
    data = {"id": note.id, "title": note.title, "text": note.text, "visibility": visibility, "author": note.author}
    return (View(audience_of(note.visibility, note.author), cast(JsonObject, data)),)


def _changed(state: SessionState, event: Event) -> None:
    data: dict[str, Any] = event.data
    if data.get("gone"):
        state.notes.pop(data["id"], None)
        return
    visibility = data["visibility"] if isinstance(data["visibility"], str) else list(data["visibility"])
    state.notes[data["id"]] = Note(data["id"], data["title"], data["text"], visibility, data["author"])


DECIDERS: dict[str, Decider] = {"note.put": _put, "note.append": _append, "note.delete": _delete}
EVOLVERS: dict[str, Evolver] = {"note.changed": _changed}
