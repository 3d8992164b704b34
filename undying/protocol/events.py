"""Events, and who may see them.

An event carries one or more *views*, widest first. A view is an audience and the data that this audience gets; a viewer
gets the first view whose audience they are in, and a viewer who is in none gets a skip in its place. The first view holds
the whole data, the one the entity itself evolves by; its audience may be nobody.

In a journal entry and on the link from host to gateway an event is a map. Public ones (one view, for everybody) are
stored as the wire has them, so that the same bytes go from the journal to the sockets:

    {n, k, d, by, at}                 public
    {n, k, by, at, v: [[audience, d], …]}     restricted
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from undying.protocol.data import JsonObject
from undying.protocol.ids import Role

GMS: Final = "@gm"
"""Stands in an audience for every game master of the table."""

Audience: TypeAlias = tuple[str, ...] | None
"""None: everybody at the table. Otherwise user ids and `GMS`; empty: nobody."""

NOBODY: Final[tuple[str, ...]] = ()


class Viewer(NamedTuple):
    """Whose eyes: a member of the table and the role they have now."""

    user: str
    role: Role


def sees(audience: Audience | Sequence[str], viewer: Viewer) -> bool:
    """Tell whether the viewer is in the audience. The one rule that all filtering comes down to."""
    if audience is None:
        return True
    return viewer.user in audience or (viewer.role is Role.GM and GMS in audience)


class View(NamedTuple):
    """An audience and the data that it gets."""

    audience: Audience
    data: JsonObject


class Event(NamedTuple):
    """What happened at position seq `n` of an epoch. `by` is a user, or `@` and a stream for the server itself; `at` is ms."""

    n: int
    kind: str
    by: str
    at: int
    views: tuple[View, ...]

    @property
    def data(self) -> JsonObject:
        """Return the whole data, which only the entity itself evolves by."""
        return self.views[0].data

    @property
    def public(self) -> bool:
        """Tell whether everybody gets the same."""
        return len(self.views) == 1 and self.views[0].audience is None

    def to_entry(self) -> JsonObject:
        """Return the map that journal entries hold."""
        if self.public:
            return {"n": self.n, "k": self.kind, "d": self.views[0].data, "by": self.by, "at": self.at}
        views = [[None if view.audience is None else list(view.audience), view.data] for view in self.views]
        return cast(JsonObject, {"n": self.n, "k": self.kind, "by": self.by, "at": self.at, "v": views})

    @classmethod
    def from_entry(cls, entry: Mapping[str, object]) -> Event:
        """Read a journal entry's map. Raises KeyError, TypeError or ValueError when it is not one."""
        raw = entry.get("v")
        views: tuple[View, ...]
        if raw is None:
            views = (View(None, cast(JsonObject, entry["d"])),)
        else:
            pairs = cast(list[tuple[list[str] | None, JsonObject]], raw)
            views = tuple(View(None if audience is None else tuple(audience), data) for audience, data in pairs)
        return cls(cast(int, entry["n"]), cast(str, entry["k"]), cast(str, entry["by"]), cast(int, entry["at"]), views)


def project(entry: Mapping[str, object], viewer: Viewer) -> JsonObject | None:
    """Return what the viewer gets of one event (an entry's map) in wire form, or None when they may not see it."""
    views = entry.get("v")
    if views is None:
        return cast(JsonObject, entry)
    for audience, data in cast(list[tuple[list[str] | None, JsonObject]], views):
        if sees(audience, viewer):
            wire = {"n": entry["n"], "k": entry["k"], "d": data, "by": entry["by"], "at": entry["at"]}
            return cast(JsonObject, wire)
    return None


def project_all(entries: Iterable[Mapping[str, object]], viewer: Viewer) -> list[JsonObject]:
    """Project a run of events for a viewer; neighbours that they may not see become one `{n, skip: m}`."""
    out: list[JsonObject] = []
    for entry in entries:
        wire = project(entry, viewer)
        if wire is not None:
            out.append(wire)
            continue
        last = out[-1] if out else None
        if last is not None and "skip" in last:
            last["skip"] = cast(int, last["skip"]) + 1
        else:
            out.append({"n": cast(int, entry["n"]), "skip": 1})
    return out
