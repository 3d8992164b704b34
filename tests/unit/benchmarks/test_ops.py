import msgpack
import pytest
from websockets.frames import Frame
from websockets.streams import StreamReader

from benchmarks.ops import Mix, number_of, op_frame
from undying.protocol.ids import Kind
from undying.protocol.ops import parse_args
from undying.protocol.session_ops import MoveToken, RollDice, Say


def _sent(frame: bytes) -> bytes:
    reader = StreamReader()
    reader.feed_data(frame)
    parsing = Frame.parse(reader.read_exact, mask=True)
    while True:
        try:
            next(parsing)
        except StopIteration as done:
            return bytes(done.value.data)


@pytest.mark.parametrize(
    ("kind", "model", "event"),
    [("chat.say", Say, "chat.said"), ("token.move", MoveToken, "token.moved"), ("dice.roll", RollDice, "dice.rolled")],
)
def test_an_op_is_one_that_the_server_takes_and_its_event_gives_the_number_back(kind: str, model: type, event: str) -> None:
    op = msgpack.unpackb(_sent(op_frame(12_345_678, "session:a", kind, "piece-1")))
    assert (op["t"], op["id"], op["k"]) == ("op", "12345678", kind)
    assert isinstance(parse_args(Kind.SESSION, kind, op["d"]), model)
    assert number_of({"k": event, "d": op["d"]}) == 12_345_678


def test_what_the_load_did_not_ask_for_has_no_number() -> None:
    assert number_of({"k": "member.joined", "d": {}}) is None
    assert number_of({"n": 5, "skip": 2}) is None


def test_a_mix_adds_up_to_a_hundred() -> None:
    with pytest.raises(ValueError, match="100"):
        Mix(80, 10, 20)
