"""Arguments of the ops of a character and of a provider, those that only the server itself asks included."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from undying.protocol.fields import Args, Free, Id, Label, Name, Said, encodable
from undying.protocol.sheet import HP_MAX, NOTE_TEXT_MAX, QTY_MAX, ROUNDS_MAX, XP_MAX, Item, Sheet

PATH_MAX: Final = 500
CONTEXT_LINES_MAX: Final = 20


class ChangeHp(Args):
    """Damage (below 0) or healing (above 0)."""

    delta: int = Field(ge=-HP_MAX, le=HP_MAX)
    reason: Label | None = None


class SetHp(Args):
    """Hit points as they shall be; what is left out stays. `max` 0: no maximum is kept."""

    value: int = Field(ge=0, le=HP_MAX)
    temp: int | None = Field(default=None, ge=0, le=HP_MAX)
    max: int | None = Field(default=None, ge=0, le=HP_MAX)


class AwardXp(Args):
    """Experience points, below 0 to take some back."""

    amount: int = Field(ge=-XP_MAX, le=XP_MAX)


class AddItem(Args, Item):
    """More of an item. Further keys go to the item; `delta` is what its event calls `qty`, and no key of an item here."""

    RESERVED = frozenset({"delta"})


class RemoveItem(Args):
    """How many of what go."""

    name: Name
    qty: int = Field(default=1, ge=1, le=QTY_MAX)


class AddCondition(Args):
    """A condition, new or in place of that with the same name."""

    name: Name
    source: Label | None = None
    rounds: int | None = Field(default=None, ge=0, le=ROUNDS_MAX)


class RemoveCondition(Args):
    """Which condition ends."""

    name: Name


class AppendSheetNote(Args):
    """A note for the sheet."""

    text: Annotated[Said, Field(max_length=NOTE_TEXT_MAX)]


class SetSheet(Args):
    """Any part of the sheet by its path: `level`, `abilities.str`, `inventory.0.qty`, `attributes.speed.walk`."""

    path: Annotated[str, Field(min_length=1, max_length=PATH_MAX), AfterValidator(encodable)]
    value: Free


class StoreCharacter(Args):
    """The step of a session's saga that makes the character: its sheet, its owner (None: an NPC) and its table."""

    sheet: Sheet
    owner: Id | None = None
    session: Id


class RetireCharacter(Args):
    """The step that undoes `character.store`."""

    reason: Label = ""


class AskProvider(Args):
    """A question, and the last lines at the table that everybody heard."""

    prompt: Said
    context: Annotated[list[Said], Field(strict=False, max_length=CONTEXT_LINES_MAX)] = Field(default_factory=list)
