"""The table of bad messages: bytes, frames and joins that are wrong whatever is at the table.

`FRAMES` are for a client who has joined, `STRANGERS` for one who has not. A row is sent in each encoding that it names.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgpack

from tests.integration.hostile_rows import OP_ID, Ended, Ignored, Row, bytes_of, deep, said, wire
from tests.integration.hostile_scene import Scene
from tests.integration.raw_client import BINARY, PING, TEXT, Encoding, RawClient, frame

FRAME_MAX: Final = 64 * 1024


def _op(**keys: object) -> dict[str, Any]:
    return {"t": "op", "id": OP_ID, "s": "session:x", "k": "chat.say", "d": {"text": "hello"}, **keys}


def _padded(size: int, encoding: Encoding) -> bytes:
    """Return a heartbeat of exactly `size` bytes: keys that the server does not know are ignored."""
    empty = json.dumps({"t": "hb", "x": ""}).encode() if encoding == "json" else msgpack.packb({"t": "hb", "x": "x" * 40_000})
    missing = size - len(empty)
    text = "x" * missing if encoding == "json" else "x" * (40_000 + missing)
    return json.dumps({"t": "hb", "x": text}).encode() if encoding == "json" else msgpack.packb({"t": "hb", "x": text})


async def _exactly_max(client: RawClient, _: Scene) -> None:
    await client.payload(_padded(FRAME_MAX, client.encoding))
    await client.until("hb_ok")


async def _over_max(client: RawClient, _: Scene) -> None:
    await client.payload(_padded(FRAME_MAX + 1, client.encoding))


async def _over_max_in_fragments(client: RawClient, _: Scene) -> None:
    opcode = TEXT if client.encoding == "json" else BINARY
    await client.raw(frame(opcode, b"x" * 40_000, fin=False) + frame(0, b"x" * 40_000))


async def _whole_in_fragments(client: RawClient, _: Scene) -> None:
    data = _padded(60_000, client.encoding)
    opcode = TEXT if client.encoding == "json" else BINARY
    parts = [data[at : at + 6_000] for at in range(0, len(data), 6_000)]
    for at, part in enumerate(parts):
        await client.raw(frame(0 if at else opcode, part, fin=at == len(parts) - 1) + frame(PING, b"in between"))
    await client.until("hb_ok")


async def _wrong_opcode(client: RawClient, _: Scene) -> None:
    await client.raw(frame(BINARY if client.encoding == "json" else TEXT, b'{"t":"hb"}'))


_JSON: Final[tuple[Encoding, ...]] = ("json",)
_MSGPACK: Final[tuple[Encoding, ...]] = ("msgpack",)
_NO_SENSE: Final = Ended(4002, "BAD_FRAME")
_NO_VALUE: Final = Ended(1007, "BAD_FRAME")

FRAMES: Final = (
    Row("a list", said([1, 2]), _NO_SENSE),
    Row("a number", said(7), _NO_SENSE),
    Row("null", said(None), _NO_SENSE),
    Row("an empty map", said({}), _NO_SENSE),
    Row("t is a number", said({"t": 1}), _NO_SENSE),
    Row("t is unknown", said({"t": "sudo"}), _NO_SENSE),
    Row("t is a frame of the server", said({"t": "ev", "s": "session:x", "e": 1, "b": []}), _NO_SENSE),
    Row("t is 60 kB long", said({"t": "x" * 60_000}), _NO_SENSE),
    Row("a second join", said({"t": "join", "token": "x"}), _NO_SENSE),
    Row("an op without an id", said({"t": "op", "s": "session:x", "k": "chat.say", "d": {}}), _NO_SENSE),
    Row("an op with an empty id", said(_op(id="")), _NO_SENSE),
    Row("an op with an id of 65 characters", said(_op(id="x" * 65)), _NO_SENSE),
    Row("an op whose id is a number", said(_op(id=1)), _NO_SENSE),
    Row("an op whose id is a list", said(_op(id=["x"])), _NO_SENSE),
    Row("an eph without a stream", said({"t": "eph", "k": "typing"}), _NO_SENSE),
    Row("an eph on a foreign stream", said({"t": "eph", "s": "session:other", "k": "typing", "d": {}}), Ignored()),
    Row("a heartbeat with nonsense", said({"t": "hb", "pos": {"session:x": "y", "z": [-1, 2], "": None}}), Ignored()),
    Row("no bytes at all", bytes_of(b""), _NO_VALUE),
    Row("half a value", bytes_of(b'{"t":'), _NO_VALUE, _JSON),
    Row("two values", bytes_of(b'{"t":"hb"}{"t":"hb"}'), _NO_VALUE, _JSON),
    Row("half a value", bytes_of(b"\x82\xa1t"), _NO_VALUE, _MSGPACK),
    Row("a map that claims 4 billion pairs", bytes_of(b"\xdf\xff\xff\xff\xff\xa1t"), _NO_VALUE, _MSGPACK),
    Row("a byte that MessagePack never uses", bytes_of(b"\xc1"), _NO_VALUE, _MSGPACK),
    Row("an extension type", bytes_of(msgpack.packb({"t": "hb", "x": msgpack.ExtType(5, b"x")})), _NO_VALUE, _MSGPACK),
    Row("a timestamp", bytes_of(msgpack.packb({"t": "hb", "x": msgpack.Timestamp(1)})), _NO_SENSE, _MSGPACK),
    Row("binary data", bytes_of(msgpack.packb({"t": "hb", "x": b"x"})), _NO_SENSE, _MSGPACK),
    Row("a binary key", bytes_of(msgpack.packb({"t": "hb", b"x": 1})), _NO_SENSE, _MSGPACK),
    Row("a number as key", bytes_of(msgpack.packb({"t": "hb", 1: 1})), _NO_VALUE, _MSGPACK),
    Row("a list as key", bytes_of(b"\x82\xa1t\xa2hb\x91\x01\x01"), _NO_VALUE, _MSGPACK),
    Row("not UTF-8", bytes_of(b'{"t":"hb","x":"\xff\xfe"}'), Ended(1007), _JSON),
    Row("not UTF-8", bytes_of(b"\x82\xa1t\xa2hb\xa1x\xa2\xff\xfe"), _NO_VALUE, _MSGPACK),
    Row("a lone surrogate", bytes_of(rb'{"t":"hb","x":"\ud800"}'), _NO_SENSE, _JSON),
    Row("a lone surrogate as bytes", bytes_of(b"\x82\xa1t\xa2hb\xa1x\xa3\xed\xa0\x80"), _NO_VALUE, _MSGPACK),
    Row("NaN", bytes_of(b'{"t":"hb","x":NaN}'), _NO_VALUE, _JSON),
    Row("NaN", bytes_of(msgpack.packb({"t": "hb", "x": float("nan")})), _NO_SENSE, _MSGPACK),
    Row("infinity by overflow", bytes_of(b'{"t":"hb","x":1e999}'), _NO_SENSE, _JSON),
    Row("infinity", bytes_of(msgpack.packb({"t": "hb", "x": float("-inf")})), _NO_SENSE, _MSGPACK),
    Row("a number of 60,000 digits", bytes_of(b'{"t":"hb","x":' + b"9" * 60_000 + b"}"), _NO_VALUE, _JSON),
    Row("a number beyond 64 bits", bytes_of(b'{"t":"hb","x":' + b"9" * 30 + b"}"), _NO_SENSE, _JSON),
    Row("17 levels deep", said({"t": "hb", "x": deep(17)}), _NO_SENSE),
    Row("10,000 levels deep", bytes_of(b'{"t":"hb","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"), _NO_VALUE, _JSON),
    Row("30,000 maps deep", bytes_of(b'{"x":' * 10_000), _NO_VALUE, _JSON),
    Row("10,000 levels deep", bytes_of(b"\x82\xa1t\xa2hb\xa1x" + b"\x91" * 10_000 + b"\x01"), _NO_VALUE, _MSGPACK),
    Row("a map of many keys", said({"t": "hb", **{f"{at:x}": 1 for at in range(5_000)}}), Ignored()),
    Row("a map of 100,000 keys", said({"t": "hb", **{f"{at:x}": 1 for at in range(100_000)}}), Ended(1009)),
    Row("exactly the largest frame", _exactly_max, Ignored()),
    Row("a byte over the largest frame", _over_max, Ended(1009)),
    Row("fragments over the largest frame", _over_max_in_fragments, Ended(1009)),
    Row("fragments within it, pings between", _whole_in_fragments, Ignored()),
    Row("the other opcode", _wrong_opcode, Ended(4002)),
    Row("an unmasked frame", wire(frame(TEXT, b'{"t":"hb"}', mask=False)), Ended(1002)),
    Row("reserved bits", wire(frame(TEXT, b'{"t":"hb"}', reserved=4)), Ended(1002)),
    Row("an unknown opcode", wire(frame(0x3, b"x")), Ended(1002)),
    Row("a continuation of nothing", wire(frame(0x0, b"x")), Ended(1002)),
    Row("a ping of 126 bytes", wire(frame(PING, b"x" * 126)), Ended(1002)),
    Row("a fragmented ping", wire(frame(PING, b"x", fin=False)), Ended(1002)),
    Row("a close with a code of one byte", wire(frame(0x8, b"x")), Ended(1002)),
    Row("a close whose reason is not UTF-8", wire(frame(0x8, b"\x03\xe8\xff")), Ended(1007)),
    Row("a frame of 2**63 bytes announced", wire(b"\x81\xff" + b"\xff" * 8 + bytes(4)), Ended(1009)),
    Row("half a frame, then silence", wire(frame(TEXT, b"x" * 500)[:200]), Ignored(), silent=True),
)

STRANGERS: Final = (
    Row("an op before the join", said(_op()), Ended(4001, "NOT_AUTHENTICATED"), who=""),
    Row("an eph before the join", said({"t": "eph", "s": "session:x", "k": "typing"}), _NO_SENSE, who=""),
    Row("a join without a token", said({"t": "join"}), _NO_SENSE, who=""),
    Row("a join whose token is a map", said({"t": "join", "token": {}}), _NO_SENSE, who=""),
    Row("a join whose resume is a list", said({"t": "join", "token": "x", "resume": []}), _NO_SENSE, who=""),
    Row("an empty token", said({"t": "join", "token": ""}), Ended(4001, "NOT_AUTHENTICATED"), who=""),
    Row("a token of 5 kB", said({"t": "join", "token": "x" * 5_000}), Ended(4001, "NOT_AUTHENTICATED"), who=""),
    Row("a token with a null byte", said({"t": "join", "token": "a.b.c\x00"}), Ended(4001, "NOT_AUTHENTICATED"), who=""),
    Row("a token that is no ASCII", said({"t": "join", "token": "ä.ö.ü"}), Ended(4001, "NOT_AUTHENTICATED"), who=""),
    Row("a heartbeat before the join", said({"t": "hb", "pos": {"session:x": [0, 0]}}), _NO_SENSE, who=""),
)
