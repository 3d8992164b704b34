"""Who sees what: the one place where things become views.

A thing with restricted parts is shown by *views* (`undying.protocol.events.View`), widest first. The same function that
makes a thing's views serves the event that tells of it and the snapshot that contains it; so a snapshot never holds what
no event told that viewer, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from undying.protocol.data import JsonObject
from undying.protocol.events import GMS, Audience, View, Viewer, sees

Views = tuple[View, ...]


def audience_of(visibility: str | Sequence[str], author: str) -> Audience:
    """Return who sees what an author made `public`, for the `gm`, or for a list of users. The author always does."""
    if visibility == "public":
        return None
    if visibility == "gm":
        return (author, GMS)
    return tuple(dict.fromkeys((author, *visibility)))


def whisper(author: str, to: Sequence[str]) -> Audience:
    """Return who hears a chat line: everybody, or the author and those it is for. A game master only when named."""
    return tuple(dict.fromkeys((author, *to))) if to else None


def shown(views: Views, viewer: Viewer) -> JsonObject | None:
    """Return what the viewer gets of a thing, None when they may not know of it."""
    for audience, data in views:
        if sees(audience, viewer):
            return data
    return None


def change(before: Views, after: Views, gone: JsonObject) -> Views:
    """Return the views of an event that turns one thing into another.

    Who sees it afterwards gets it; who saw it before and does not any more gets `gone`; nobody else learns of it.
    """
    seen = tuple(View(audience, gone) for audience, _ in before)
    out: list[View] = []
    for view in (*after, *seen):
        out.append(view)
        if view.audience is None:
            break
    return tuple(out)


def two_views(whole: JsonObject, table: JsonObject) -> Views:
    """Return the views of a thing that the game masters see whole and everybody else as `table`."""
    if whole == table:
        return (View(None, whole),)
    return (View((GMS,), whole), View(None, table))


def named(views: Iterable[View]) -> set[str]:
    """Return the users whom the audiences name one by one."""
    return {user for audience, _ in views if audience is not None for user in audience if user != GMS}
