import asyncio
from typing import cast

import msgpack
import pytest
from websockets.frames import Frame, Opcode

from benchmarks.visitor import Gone, Visitor


class _Wire(asyncio.Transport):
    """A socket that takes everything and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: object) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def _visitor() -> Visitor:
    visitor = Visitor("127.0.0.1:1")
    visitor.connection_made(_Wire())
    visitor._upgrade = None
    return visitor


def _says(visitor: Visitor, **message: object) -> None:
    visitor.data_received(Frame(Opcode.BINARY, cast(bytes, msgpack.packb(message))).serialize(mask=False))


def _welcomes(visitor: Visitor) -> None:
    _says(visitor, t="welcome", session="a")
    _says(visitor, t="snapshot", s="session:a", pos=[2, 7], state={"chat": ["hello"]})
    _says(visitor, t="live", s="character:b", pos=[1, 1])


async def test_a_table_is_live_when_its_session_is() -> None:
    visitor = _visitor()
    joining = asyncio.create_task(visitor.join("token"))
    await asyncio.sleep(0)
    _welcomes(visitor)
    await asyncio.sleep(0)
    assert not joining.done()
    _says(visitor, t="live", s="session:a", pos=[2, 7])
    assert await joining >= 0
    assert visitor.epoch == 2
    assert b"hello" in visitor.shown


async def test_an_op_that_is_refused_is_an_error() -> None:
    visitor = _visitor()
    asking = asyncio.create_task(visitor.ask("1", "chat.say", {"text": "x"}))
    await asyncio.sleep(0)
    _says(visitor, t="ack", id="1", ok=False, error={"code": "PAUSED"})
    with pytest.raises(Gone, match="PAUSED"):
        await asking


async def test_who_waits_is_let_down_when_the_connection_ends() -> None:
    visitor = _visitor()
    joining = asyncio.create_task(visitor.join("token"))
    await asyncio.sleep(0)
    visitor.connection_lost(None)
    with pytest.raises(Gone):
        await joining
    with pytest.raises(Gone):
        await visitor.ask("1", "chat.say", {"text": "x"})
