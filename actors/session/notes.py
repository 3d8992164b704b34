"""Notes at the table: public, for the game masters, or for named users; the author always sees a note.

Who sees a note may change or add to it when it is public, when it is theirs, or as a game master. Only its author and a
game master who sees it decide who sees it. Its author throws it away, and any game master, who need not see it for that. A
note that is thrown away, or that a viewer may not see any more, is `{id, gone: true}` for those who saw it.

A game master who puts a note in place of somebody else's is its author from then on: what they write for the game masters is
told to nobody else, whoever wrote the note before. When a player replaces a note, or anybody adds to one, its author stays.

Notes for named users go with an author who is sent from the table: nobody else could look after them.
"""

from __future__ import annotations

from typing import Any, cast

from actors.request import Request
from actors.rules import Accepted, Decision, Draft, Refused, refuse
from actors.session.state import (
    NOTE_BYTES_MAX,
    NOTES_AUTHOR_BYTES_MAX,
    NOTES_AUTHOR_MAX,
    NOTES_BYTES_MAX,
    NOTES_MAX,
    Decider,
    Evolver,
    Note,
    SessionState,
)
from actors.visibility import Views, audience_of, change, shown
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code
from undying.protocol.events import Event, View, Viewer
from undying.protocol.fields import utf8_size
from undying.protocol.ids import Role
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
        return _written(state, request, None, note)
    if not _sees(known, request):
        return refuse(Code.ALREADY_EXISTS, "That id is taken.", id=args.id)
    visibility = known.visibility if args.visibility is None else args.visibility
    if not _may_write(known, request) or (visibility != known.visibility and not _may_govern(known, request)):
        return _not_yours(args.id)
    title = known.title if args.title is None else args.title
    author = user if request.leads else known.author
    return _written(state, request, known, Note(args.id, title, args.text, visibility, author))


def _append(state: SessionState, request: Request[AppendNote]) -> Decision:
    known = state.notes.get(request.args.id)
    if known is None or not _sees(known, request):
        return _no_note(request.args.id)
    if not _may_write(known, request):
        return _not_yours(known.id)
    text = known.text + request.args.text
    return _written(state, request, known, Note(known.id, known.title, text, known.visibility, known.author))


def _delete(state: SessionState, request: Request[DeleteNote]) -> Decision:
    known = state.notes.get(request.args.id)
    if known is None or not (_sees(known, request) or request.leads):
        return _no_note(request.args.id)
    if not _may_govern(known, request):
        return _not_yours(known.id)
    return Accepted((_thrown_away(known),), {})


def left_behind(state: SessionState, user: str) -> tuple[Draft, ...]:
    """Draft what becomes of the notes of a member who is sent from the table."""
    private = [note for note in state.notes.values() if note.author == user and not isinstance(note.visibility, str)]
    return tuple(_thrown_away(note) for note in private)


def _thrown_away(note: Note) -> Draft:
    return Draft("note.changed", tuple(View(audience, _gone(note.id)) for audience, _ in note_views(note)))


def _written(state: SessionState, request: Request[Any], before: Note | None, after: Note) -> Decision:
    growth = after.weight - (0 if before is None else before.weight)
    refused = _no_room(state, request, before, after, growth) if growth > 0 else None
    if refused is not None:
        return refused
    views = change(note_views(before) if before is not None else (), note_views(after), _gone(after.id))
    return Accepted((Draft("note.changed", views),), {})


def _no_room(state: SessionState, request: Request[Any], before: Note | None, after: Note, growth: int) -> Refused | None:
    """Refuse a note that is new or grew when it has no room: in itself, at the table, or among those of its author."""
    if utf8_size(after.text) > NOTE_BYTES_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A note holds at most {NOTE_BYTES_MAX} bytes.", limit=NOTE_BYTES_MAX)
    if state.notes_bytes + growth > NOTES_BYTES_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"The notes of a table hold {NOTES_BYTES_MAX} bytes.", limit=NOTES_BYTES_MAX)
    author = state.members.get(after.author)
    if request.leads or (author is not None and author.role is Role.GM):
        return None
    others = [note.weight for note in state.notes.values() if note.author == after.author and note is not before]
    if before is None and len(others) >= NOTES_AUTHOR_MAX:
        return refuse(Code.LIMIT_EXCEEDED, f"A player writes at most {NOTES_AUTHOR_MAX} notes.", limit=NOTES_AUTHOR_MAX)
    if sum(others) + after.weight > NOTES_AUTHOR_BYTES_MAX:
        limit = NOTES_AUTHOR_BYTES_MAX
        return refuse(Code.LIMIT_EXCEEDED, f"The notes of a player hold {limit} bytes.", limit=limit)
    return None


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
    known = state.notes.get(data["id"])
    if known is not None:
        state.notes_bytes -= known.weight
    if data.get("gone"):
        state.notes.pop(data["id"], None)
        return
    visibility = data["visibility"] if isinstance(data["visibility"], str) else list(data["visibility"])
    note = Note(data["id"], data["title"], data["text"], visibility, data["author"])
    state.notes[note.id] = note
    state.notes_bytes += note.weight


DECIDERS: dict[str, Decider] = {"note.put": _put, "note.append": _append, "note.delete": _delete}
EVOLVERS: dict[str, Evolver] = {"note.changed": _changed}
