"""One bad input and what must come back: the columns of the tables in `hostile_frames` and `hostile_ops`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.integration.hostile_scene import Scene
from tests.integration.raw_client import Encoding, RawClient

OP_ID: Final = "the-op"
BOTH: Final[tuple[Encoding, ...]] = ("json", "msgpack")


@dataclass(frozen=True)
class Acked:
    """The op is refused with this code; the connection stays."""

    code: str


@dataclass(frozen=True)
class Ended:
    """The connection ends with this close code, after a notice with this error code unless it is empty."""

    close: int
    code: str = ""


@dataclass(frozen=True)
class Ignored:
    """Nothing comes of it; the connection stays."""


Send = Callable[[RawClient, Scene], Awaitable[None]]
Expected = Acked | Ended | Ignored


@dataclass(frozen=True)
class Row:
    """One bad input: its name, what is sent, what must come back. `who` joined before; `silent`: nothing can be said after."""

    name: str
    send: Send
    expected: Expected
    encodings: tuple[Encoding, ...] = BOTH
    who: str = "ada"
    silent: bool = False


def said(message: Any) -> Send:
    """Send one message. The op id `OP_ID` in it becomes the client's own, for a table remembers what it was asked."""

    async def send(client: RawClient, _: Scene) -> None:
        own = isinstance(message, dict) and message.get("id") == OP_ID
        await client.say({**message, "id": client.name} if own else message)

    return send


def bytes_of(data: bytes) -> Send:
    """Send one message of these bytes."""

    async def send(client: RawClient, _: Scene) -> None:
        await client.payload(data)

    return send


def wire(data: bytes) -> Send:
    """Send bytes as they are, below messages."""

    async def send(client: RawClient, _: Scene) -> None:
        await client.raw(data)

    return send


def asked(kind: object, args: object, on: str = "table") -> Send:
    """Ask an op of the table, or of the character that `on` names."""

    async def send(client: RawClient, scene: Scene) -> None:
        stream = scene.stream(on)
        await client.say({"t": "op", "id": client.name, "s": stream, "k": kind, "d": args})

    return send


def addressed(stream: object) -> Send:
    """Ask an op of a stream by its name."""
    return said({"t": "op", "id": OP_ID, "s": stream, "k": "chat.say", "d": {"text": "hello"}})


def bad_op(name: str, kind: object, args: object, code: str = "BAD_ARGS", on: str = "table", who: str = "ada") -> Row:
    """Return the row of an op that is refused."""
    return Row(name, asked(kind, args, on), Acked(code), who=who)


def roll(name: str, expr: object, code: str = "BAD_ARGS") -> Row:
    """Return the row of a roll that is refused."""
    return bad_op(f"dice: {name}", "dice.roll", {"expr": expr}, code)


def deep(levels: int) -> Any:
    """Return a value inside as many lists."""
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value
