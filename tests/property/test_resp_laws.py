"""Replies are read the same, however the network cuts the bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from persistence.resp import Replies, Reply, ReplyError, pack

lines = st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=12)
replies: st.SearchStrategy[Reply] = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20) | st.builds(ReplyError, lines),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def encode(reply: Reply) -> bytes:
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case ReplyError(text):
            return b"-%b\r\n" % text.encode()
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(encode, reply))


@given(st.lists(replies, max_size=6), st.data())
def test_replies_come_out_whole_and_in_order_from_any_pieces(expected: list[Reply], data: st.DataObject) -> None:
    stream = b"".join(map(encode, expected))
    reader = Replies()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
    assert reader.ready == expected


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
def test_a_packed_command_reads_as_the_array_of_its_arguments(arguments: list[bytes]) -> None:
    reader = Replies()
    reader.feed(pack(*arguments))
    assert reader.ready == [arguments]
