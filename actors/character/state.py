"""The state of a character, and who sees what of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, cast

from actors.visibility import Views
from undying.protocol.data import JsonObject
from undying.protocol.events import GMS, View
from undying.protocol.sheet import SheetData

Status = Literal["", "active", "retired"]
"""Empty: the character was not made yet. Retired: its making was undone; there is no way back."""

OPEN_FIELDS: Final = frozenset({"name", "level", "conditions"})
"""What of a sheet the whole table sees; hit points too, unless the character is an NPC."""


@dataclass(slots=True)
class CharacterState:
    """A character: its sheet, its owner (None: an NPC of the game masters) and the session that it belongs to.

    The parts of a sheet are replaced, never changed in place: so events and the state may share them.
    """

    id: str
    status: Status = ""
    owner: str | None = None
    session: str = ""
    sheet: SheetData = field(
        default_factory=lambda: SheetData(
            name="",
            hp={"current": 0, "max": 0, "temp": 0},
            xp=0,
            level=1,
            abilities={},
            inventory=[],
            conditions=[],
            notes=[],
            attributes={},
        )
    )


def keepers(owner: str | None) -> tuple[str, ...]:
    """Return the audience that sees all of a sheet."""
    return (GMS,) if owner is None else (owner, GMS)


def is_open(owner: str | None, part: str) -> bool:
    """Tell whether the whole table sees a part of a character's sheet."""
    return part in OPEN_FIELDS or (part == "hp" and owner is not None)


def views_of(owner: str | None, part: str, data: JsonObject, for_table: JsonObject | None = None) -> Views:
    """Return the views of an event about a part of the sheet; `for_table` is what others get when it is less."""
    if not is_open(owner, part):
        return (View(keepers(owner), data),)
    if for_table is None or for_table == data:
        return (View(None, data),)
    return (View(keepers(owner), data), View(None, for_table))


def sheet_views(character: str, owner: str | None, sheet: SheetData) -> Views:
    """Return a character as its first event and the snapshot show it: `{id, owner, sheet}`."""
    whole = cast(JsonObject, sheet)
    part: JsonObject = {name: value for name, value in whole.items() if is_open(owner, name)}
    return (
        View(keepers(owner), {"id": character, "owner": owner, "sheet": whole}),
        View(None, {"id": character, "owner": owner, "sheet": part}),
    )
