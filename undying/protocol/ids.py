"""Names of things: ids, stream names, roles."""

from __future__ import annotations

import random
import re
from enum import StrEnum
from typing import Final

ID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
STREAM_PATTERN: Final = r"^(session|character|provider):[A-Za-z0-9_-]{1,64}$"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STREAM = re.compile(r"(session|character|provider):[A-Za-z0-9_-]{1,64}")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class Kind(StrEnum):
    """The kinds of entity. The value is the first part of a stream's name."""

    SESSION = "session"
    CHARACTER = "character"
    PROVIDER = "provider"


class Role(StrEnum):
    """What a member may do at a table. `SYSTEM` is the server itself and never comes from a token."""

    GM = "gm"
    PLAYER = "player"
    SPECTATOR = "spectator"
    AGENT = "agent"
    SYSTEM = "system"


_ROLE_WORDS: Final = {
    "g": Role.GM,
    "gm": Role.GM,
    "game_master": Role.GM,
    "p": Role.PLAYER,
    "player": Role.PLAYER,
    "s": Role.SPECTATOR,
    "spectator": Role.SPECTATOR,
    "a": Role.AGENT,
    "agent": Role.AGENT,
}


def parse_role(text: str) -> Role:
    """Read a role as a person or a client writes it: `gm`, `player`, `spectator`, `agent`, or its first letter.

    Raises ValueError when it is none of them.
    """
    try:
        return _ROLE_WORDS[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is not a role: gm, player, spectator or agent") from None


def is_id(text: object) -> bool:
    """Tell whether `text` is 1-64 characters of `A-Z a-z 0-9 _ -`."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def is_stream(text: object) -> bool:
    """Tell whether `text` is a stream's name, `kind:id`."""
    return isinstance(text, str) and _STREAM.fullmatch(text) is not None


def stream_name(kind: Kind, entity_id: str) -> str:
    """Name the stream of an entity."""
    return f"{kind.value}:{entity_id}"


def split_stream(stream: str) -> tuple[Kind, str]:
    """Take a stream's name apart. Raises ValueError when it is not one."""
    kind, colon, entity_id = stream.partition(":")
    if not colon or not is_id(entity_id):
        raise ValueError(f"{stream!r} is not a stream name")
    return Kind(kind), entity_id


def new_id(rng: random.Random, length: int = 12) -> str:
    """Draw an id of `length` characters (5 bits each) that people can read out to each other."""
    return "".join(rng.choice(_ALPHABET) for _ in range(length))
