import pytest
from websockets.frames import Close, Frame, Opcode

from benchmarks.wire import BadFrame, Cutter


def _frame(payload: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    return Frame(opcode, payload).serialize(mask=False)


def test_payloads_of_every_length_are_cut_out_however_the_bytes_arrive() -> None:
    payloads = [b"", b"a" * 125, b"b" * 126, b"c" * 70_000]
    stream = b"".join(_frame(payload) for payload in payloads)
    for step in (1, 7, 4096, len(stream)):
        cutter = Cutter()
        got = [payload for at in range(0, len(stream), step) for payload in cutter.cut(stream[at : at + step])]
        assert got == payloads


def test_a_close_frame_tells_its_code() -> None:
    cutter = Cutter()
    assert cutter.cut(_frame(b"x") + _frame(Close(4303, "too slow").serialize(), Opcode.CLOSE)) == [b"x"]
    assert cutter.close_code == 4303


def test_a_frame_of_another_kind_is_refused() -> None:
    with pytest.raises(BadFrame):
        Cutter().cut(_frame(b"{}", Opcode.TEXT))
