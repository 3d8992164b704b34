"""Arguments of the ops of a session (PROTOCOL, "Ops of a session"), and of those that only the server itself asks."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, cast

import msgpack
from pydantic import AfterValidator, Field, model_validator

from undying.protocol.fields import (
    Address,
    Args,
    FreeMap,
    Id,
    Label,
    Name,
    Number,
    Open,
    RoleWord,
    Said,
    Size,
    Text,
    Users,
    Visibility,
)
from undying.protocol.sheet import Sheet

ENTRIES_MAX: Final = 100
"""Entries of one initiative order."""
TOKEN_MORE_BYTES_MAX: Final = 2 << 10
"""Bytes, as MessagePack, of a token's keys that have no meaning here."""

ChatMode = Literal["ic", "ooc", "emote"]
RollMode = Literal["public", "gm", "blind", "self"]


def _somebody(users: list[str]) -> list[str]:
    if not users:
        raise ValueError("should name somebody, or be left out")
    return users


class NoArgs(Args):
    """Ops that need none."""


class Say(Args):
    """A chat line; with `to` a whisper that only the sender and those users see. A whisper to nobody would be public."""

    text: Said
    mode: ChatMode = "ic"
    to: Annotated[Users, AfterValidator(_somebody)] = Field(default_factory=list)


class RollDice(Args):
    """A roll. `gm`: the roller and the game masters see it; `blind`: only the game masters; `self`: only the roller."""

    expr: str
    label: Label | None = None
    mode: RollMode = "public"
    character: Id | None = None


class Entry(Args):
    """One in the initiative order; `hidden` ones only game masters see."""

    id: Id
    name: Name
    value: Number
    character: Id | None = None
    hidden: bool = False


class SetInitiative(Args):
    """The whole order, sorted by the server: highest value first, equal ones as given."""

    entries: Annotated[list[Entry], Field(strict=False, max_length=ENTRIES_MAX)]


class AddInitiative(Args):
    """One entry more, or another one in place of that with the same id."""

    entry: Entry


class RemoveInitiative(Args):
    """Which entry goes."""

    id: Id


class PutNote(Args):
    """A note, new or in place of that with the same id. What is left out stays as it was (new: no title, public)."""

    id: Id
    title: Label | None = None
    text: Text
    visibility: Visibility | None = None


class AppendNote(Args):
    """Text that goes to the end of a note; blanks are text."""

    id: Id
    text: Annotated[Text, Field(min_length=1)]


class DeleteNote(Args):
    """Which note goes."""

    id: Id


class SetMap(Args):
    """The scene that lies on the table; tokens stay where they are."""

    scene: Name
    grid: FreeMap | None = None
    image: Address | None = None


class PutToken(Args, Open):
    """A token, new or in place of that with the same id; `hidden` ones only game masters see. Further keys are shown too."""

    RESERVED = frozenset({"by", "gone"})

    id: Id
    x: Number
    y: Number
    name: Label | None = None
    image: Address | None = None
    size: Size | None = None
    rotation: Number | None = None
    color: Label | None = None
    character: Id | None = None
    hidden: bool = False

    @model_validator(mode="after")
    def _small(self) -> PutToken:
        if self.more and len(cast(bytes, msgpack.packb(self.more))) > TOKEN_MORE_BYTES_MAX:
            raise ValueError(f"should have at most {TOKEN_MORE_BYTES_MAX} bytes of further keys")
        return self


class MoveToken(Args):
    """Where a token goes."""

    id: Id
    x: Number
    y: Number


class RemoveToken(Args):
    """Which token goes."""

    id: Id


class CreateCharacter(Args):
    """A new character. A game master may name a member as its owner, or nobody (an NPC); a player's is their own."""

    sheet: Sheet
    owner: Id | None = None


class SeatCharacter(Args):
    """Which character of this table."""

    character: Id


class SetRole(Args):
    """Who gets which role."""

    user: Id
    role: RoleWord


class RemoveMember(Args):
    """Who goes. Tokens made before do not let them in again."""

    user: Id


class AskAi(Args):
    """A question to an AI provider; question and answer have the same visibility, and who asks always sees them."""

    prompt: Annotated[Said, Field(max_length=4_000)]
    provider: Id = "oracle"
    visibility: Visibility = "public"


class Rename(Args):
    """The table's name."""

    name: Name


class CreateSession(Args):
    """The table's name."""

    name: Name


class JoinMember(Args):
    """A member whose token the gateway checked. `issued` is when they were invited, in ms since 1970."""

    user: Id
    name: Name
    role: RoleWord
    issued: int


class Replied(Args):
    """What became of a command (`actors.rules.Command`): a result, or an error object.

    Comes from the server's own entities and is never refused for what it holds: a command that is not answered is sent
    again for ever. The rules take from it what they know and bound that.

    `heard`: it is the other entity's own answer. If not, nobody could be asked (any more), and an earlier try may have been
    done: a failure is then no "no".
    """

    key: str
    ok: bool
    result: Any = None
    error: Any = None
    heard: bool = True
