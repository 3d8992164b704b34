"""What can be asked of a table, by topic: each method is one op of the protocol, and returns when it was done.

All methods raise what `Table.op` raises: OpRefused when the answer is no, OutcomeUnknown when there was none that says
whether it was done, Disconnected when the table ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from undying.protocol.data import Json, JsonObject

if TYPE_CHECKING:
    from undying.client.state import TableState

SayMode = Literal["ic", "ooc", "emote"]
RollMode = Literal["public", "gm", "blind", "self"]
RoleName = Literal["gm", "player", "spectator", "agent"]


class Asker(Protocol):
    """What the topics need of a table."""

    state: TableState

    @property
    def stream(self) -> str:
        """Return the name of the session's stream."""
        ...

    async def op(self, stream: str, kind: str, /, **args: Json) -> JsonObject:
        """Ask for an op."""
        ...


def given(**args: Json) -> dict[str, Json]:
    """Return the arguments that were given: those that are not None."""
    return {name: value for name, value in args.items() if value is not None}


@dataclass(frozen=True, slots=True)
class RollResult:
    """A roll as its roller may see it; `total` and `detail` are None for a blind roll, which only game masters see."""

    expr: str
    total: int | None
    detail: str | None
    mode: str

    @classmethod
    def of(cls, result: JsonObject) -> RollResult:
        """Read an ack's result."""
        total, detail = result.get("total"), result.get("detail")
        return cls(
            str(result.get("expr", "")),
            total if isinstance(total, int) else None,
            detail if isinstance(detail, str) else None,
            str(result.get("mode", "public")),
        )


class _Topic:
    """Ops of the session's stream."""

    def __init__(self, table: Asker) -> None:
        self._table = table

    async def _op(self, kind: str, /, **args: Json) -> JsonObject:
        return await self._table.op(self._table.stream, kind, **args)


class Combat(_Topic):
    """Fights."""

    async def start(self) -> None:
        """Start a fight (game master)."""
        await self._op("combat.start")

    async def end(self) -> None:
        """End the fight (game master)."""
        await self._op("combat.end")


class Initiative(_Topic):
    """The order in a fight. An entry: `{id, name, value, character?, hidden?}`."""

    async def set(self, entries: Sequence[Mapping[str, Json]]) -> None:
        """Set the whole order (game master); the server sorts it, highest value first."""
        await self._op("initiative.set", entries=[dict(entry) for entry in entries])

    async def add(
        self, entry_id: str, name: str, value: float, *, character: str | None = None, hidden: bool | None = None
    ) -> None:
        """Add an entry, or put it in place of that with the same id."""
        entry: JsonObject = {"id": entry_id, "name": name, "value": value, **given(character=character, hidden=hidden)}
        await self._op("initiative.add", entry=entry)

    async def remove(self, entry_id: str) -> None:
        """Take an entry out."""
        await self._op("initiative.remove", id=entry_id)

    async def next(self) -> None:
        """End the turn: the next one in the order has it (game master, or who has the turn)."""
        await self._op("initiative.next")

    async def prev(self) -> None:
        """Go back to the turn before (game master)."""
        await self._op("initiative.prev")


class Notes(_Topic):
    """Notes at the table. `visibility`: `public`, `gm` or a list of user ids; the author always sees a note."""

    async def put(
        self, note_id: str, text: str, *, title: str | None = None, visibility: str | Sequence[str] | None = None
    ) -> None:
        """Write a note, new or in place of that with the same id. What is left out stays as it was."""
        seen_by: Json = visibility if visibility is None or isinstance(visibility, str) else list(visibility)
        await self._op("note.put", id=note_id, text=text, **given(title=title, visibility=seen_by))

    async def append(self, note_id: str, text: str) -> None:
        """Add text to the end of a note."""
        await self._op("note.append", id=note_id, text=text)

    async def delete(self, note_id: str) -> None:
        """Throw a note away."""
        await self._op("note.delete", id=note_id)


class Map(_Topic):
    """The scene on the table and the tokens on it."""

    async def set(self, scene: str, *, grid: Mapping[str, Json] | None = None, image: str | None = None) -> None:
        """Lay out a scene (game master); tokens stay where they are."""
        await self._op("map.set", scene=scene, **given(grid=None if grid is None else dict(grid), image=image))

    async def put(self, token: str, x: float, y: float, **looks: Json) -> None:
        """Put a token, new or in place of that with the same id.

        `looks`: name, image, size, rotation, color, character, hidden, and whatever else clients make of it.
        """
        await self._op("token.put", id=token, x=x, y=y, **given(**looks))

    async def move(self, token: str, x: float, y: float) -> None:
        """Move a token."""
        await self._op("token.move", id=token, x=x, y=y)

    async def remove(self, token: str) -> None:
        """Take a token away."""
        await self._op("token.remove", id=token)


class Members(_Topic):
    """Who sits at the table (game master)."""

    async def set_role(self, user: str, role: RoleName) -> None:
        """Give a member another role."""
        await self._op("member.set_role", user=user, role=role)

    async def remove(self, user: str) -> None:
        """Remove a member; the tokens they have do not let them in again."""
        await self._op("member.remove", user=user)

    async def seat(self, character: str) -> None:
        """Seat a character at the table."""
        await self._op("character.seat", character=character)

    async def unseat(self, character: str) -> None:
        """Take a character from the table; it is kept."""
        await self._op("character.unseat", character=character)


class Session(_Topic):
    """The session itself (game master)."""

    async def rename(self, name: str) -> None:
        """Give the table another name."""
        await self._op("session.rename", name=name)

    async def pause(self) -> None:
        """Pause: players' ops are refused until the session goes on."""
        await self._op("session.pause")

    async def resume(self) -> None:
        """Go on after a pause."""
        await self._op("session.resume")


class CharacterHandle:
    """A character: its sheet, and what can be done to it (by its owner and the game master, xp by the latter)."""

    def __init__(self, table: Asker, character_id: str) -> None:
        self._table = table
        self.id = character_id
        self.stream = f"character:{character_id}"

    @property
    def sheet(self) -> JsonObject:
        """Return what you may see of the sheet, as of now; empty while nothing is known of it."""
        return self._table.state.sheet(self.id)

    async def damage(self, points: int, reason: str | None = None) -> JsonObject:
        """Take hit points, temporary ones first; returns `{hp, max, temp, delta}` as far as you may see it."""
        return await self._op("hp.change", delta=-points, **given(reason=reason))

    async def heal(self, points: int, reason: str | None = None) -> JsonObject:
        """Give hit points back."""
        return await self._op("hp.change", delta=points, **given(reason=reason))

    async def set_hp(self, value: int, *, temp: int | None = None, max: int | None = None) -> JsonObject:  # noqa: A002 the op's word
        """Set hit points as they shall be; what is left out stays."""
        return await self._op("hp.set", value=value, **given(temp=temp, max=max))

    async def award_xp(self, amount: int) -> JsonObject:
        """Award experience points."""
        return await self._op("xp.award", amount=amount)

    async def add_item(self, name: str, qty: int = 1, **more: Json) -> JsonObject:
        """Put `qty` of something into the inventory; `more` is what else there is to say of it."""
        return await self._op("item.add", name=name, qty=qty, **more)

    async def remove_item(self, name: str, qty: int = 1) -> JsonObject:
        """Take `qty` of something out of the inventory."""
        return await self._op("item.remove", name=name, qty=qty)

    async def add_condition(self, name: str, *, source: str | None = None, rounds: int | None = None) -> JsonObject:
        """Put the character under a condition, for a number of rounds or until it is removed."""
        return await self._op("condition.add", name=name, **given(source=source, rounds=rounds))

    async def remove_condition(self, name: str) -> JsonObject:
        """End a condition."""
        return await self._op("condition.remove", name=name)

    async def note(self, text: str) -> JsonObject:
        """Add a note to the sheet."""
        return await self._op("note.append", text=text)

    async def set(self, path: str, value: Json) -> JsonObject:
        """Set any part of the sheet by its path: `level`, `abilities.str`, `attributes.speed.walk`."""
        return await self._op("sheet.set", path=path, value=value)

    async def _op(self, kind: str, /, **args: Json) -> JsonObject:
        return await self._table.op(self.stream, kind, **args)
