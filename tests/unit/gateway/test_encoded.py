"""A frame is encoded once, as RFC 6455 has it."""

from __future__ import annotations

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from gateway.encoded import Encoded, encode
from undying.protocol.errors import UndyingError


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
@pytest.mark.parametrize("text", [True, False])
def test_another_implementation_reads_the_frame_whatever_its_length(size: int, text: bool) -> None:
    client = ClientProtocol(parse_uri("ws://x/"), state=State.OPEN, max_size=None)
    client.receive_data(Encoded(b"x" * size, text).frame)
    [frame] = client.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT if text else Opcode.BINARY, True, b"x" * size)


def test_the_frame_is_built_once() -> None:
    out = Encoded(b"x", True)
    assert out.frame is out.frame


def test_json_travels_as_text_and_messagepack_as_binary() -> None:
    assert encode({"t": "hb"}, "json").text
    assert not encode({"t": "hb"}, "msgpack").text


def test_what_no_encoding_can_carry_is_refused() -> None:
    with pytest.raises(UndyingError):
        encode({"t": "\ud800"}, "json")
