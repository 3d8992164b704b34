"""A character sheet of any game system: few fields with fixed names, and `attributes` for all the rest.

Items keep further keys of any name; elsewhere keys that have no meaning here are ignored.

Only `name` must be given. `hp.max` 0 means that no maximum is kept; `hp.current` defaults to `hp.max`. Each part is bounded,
and the whole by `excess`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, cast

import msgpack
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator, with_config
from typing_extensions import TypedDict

from undying.protocol.errors import Code, Failure
from undying.protocol.fields import FreeMap, Label, Name, Number, Open, encodable

HP_MAX: Final = 1_000_000
XP_MAX: Final = 1_000_000_000
LEVEL_MAX: Final = 1_000
QTY_MAX: Final = 1_000_000
ROUNDS_MAX: Final = 100_000
ABILITIES_MAX: Final = 64
ITEMS_MAX: Final = 200
CONDITIONS_MAX: Final = 50
NOTES_MAX: Final = 200
NOTE_TEXT_MAX: Final = 2_000
SHEET_BYTES_MAX: Final = 128 << 10
"""Bytes of a whole sheet as MessagePack."""
SHEET_VALUES_MAX: Final = 4_000
"""Values in a whole sheet, maps and lists counted too: as many as items, conditions, notes and attributes may have at once."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class HitPoints(_Part):
    """Hit points: `current` in 0..`max` (0: no maximum), and temporary ones that damage takes first."""

    current: int = Field(default=0, ge=0, le=HP_MAX)
    max: int = Field(default=0, ge=0, le=HP_MAX)
    temp: int = Field(default=0, ge=0, le=HP_MAX)

    @model_validator(mode="before")
    @classmethod
    def _whole_at_first(cls, value: Any) -> Any:
        top = value.get("max") if isinstance(value, dict) else None
        if type(top) is int and 0 <= top <= HP_MAX and "current" not in value:
            return {**value, "current": top}
        return value

    @model_validator(mode="after")
    def _within(self) -> HitPoints:
        if self.max and self.current > self.max:
            raise ValueError("current should be at most max")
        return self


class Item(_Part, Open):
    """Something carried, `qty` of it, and whatever else there is to say of it."""

    name: Name
    qty: int = Field(default=1, ge=1, le=QTY_MAX)


class Condition(_Part):
    """Something that the character is under, from a source, for a number of rounds (None: until removed)."""

    name: Name
    source: Label | None = None
    rounds: int | None = Field(default=None, ge=0, le=ROUNDS_MAX)


class SheetNote(_Part):
    """A note on the sheet: its text, when (ms since 1970) and by whom."""

    text: Annotated[str, Field(max_length=NOTE_TEXT_MAX), AfterValidator(encodable)]
    at: int = Field(default=0, ge=0, le=2**53)
    by: Annotated[str, Field(max_length=128), AfterValidator(encodable)] = ""


class Sheet(_Part):
    """The whole sheet."""

    name: Name
    hp: HitPoints = Field(default_factory=HitPoints)
    xp: int = Field(default=0, ge=0, le=XP_MAX)
    level: int = Field(default=1, ge=0, le=LEVEL_MAX)
    abilities: dict[Name, Number] = Field(default_factory=dict, max_length=ABILITIES_MAX)
    inventory: Annotated[list[Item], Field(strict=False, max_length=ITEMS_MAX)] = Field(default_factory=list)
    conditions: Annotated[list[Condition], Field(strict=False, max_length=CONDITIONS_MAX)] = Field(default_factory=list)
    notes: Annotated[list[SheetNote], Field(strict=False, max_length=NOTES_MAX)] = Field(default_factory=list)
    attributes: FreeMap = Field(default_factory=dict)


class HitPointsData(TypedDict):
    """`HitPoints` as plain data."""

    current: int
    max: int
    temp: int


@with_config(ConfigDict(extra="allow"))
class ItemData(TypedDict):
    """`Item` as plain data, its further keys beside these."""

    name: str
    qty: int


class ConditionData(TypedDict):
    """`Condition` as plain data."""

    name: str
    source: str | None
    rounds: int | None


class SheetNoteData(TypedDict):
    """`SheetNote` as plain data."""

    text: str
    at: int
    by: str


class SheetData(TypedDict):
    """A sheet as plain data, complete and checked: what states and events hold."""

    name: str
    hp: HitPointsData
    xp: int
    level: int
    abilities: dict[str, int | float]
    inventory: list[ItemData]
    conditions: list[ConditionData]
    notes: list[SheetNoteData]
    attributes: dict[str, Any]


def excess(sheet: SheetData) -> Failure | None:
    """Return why a sheet is too large for one, None when it is not. Takes well below 1 ms for any sheet within the bounds."""
    size = len(cast(bytes, msgpack.packb(sheet)))
    if size > SHEET_BYTES_MAX:
        return Failure(Code.LIMIT_EXCEEDED, f"A sheet holds at most {SHEET_BYTES_MAX} bytes.", {"limit": SHEET_BYTES_MAX})
    if _count(sheet) > SHEET_VALUES_MAX:
        return Failure(Code.LIMIT_EXCEEDED, f"A sheet holds at most {SHEET_VALUES_MAX} values.", {"limit": SHEET_VALUES_MAX})
    return None


def _count(value: object) -> int:
    count, containers = 1, [value]
    while containers:
        node = containers.pop()
        children = node.values() if type(node) is dict else cast(list[object], node)
        count += len(children)
        containers += [child for child in children if type(child) is dict or type(child) is list]
    return count


_SHEET: Final = TypeAdapter(Sheet)


def check_sheet(value: Mapping[str, Any]) -> SheetData:
    """Return a sheet checked and completed with defaults; shares nothing with `value`. Raises pydantic.ValidationError."""
    return sheet_data(_SHEET.validate_python(value))


def sheet_data(sheet: Sheet) -> SheetData:
    """Return the sheet as plain data of its own."""
    return cast(SheetData, _SHEET.dump_python(sheet))
