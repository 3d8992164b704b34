"""How things are written in Redis: keys, stream entries, and what the replies to writes mean. Pure.

Keys of one entity share a hash tag, so a Redis Cluster keeps them together. A stream entry has always the same five
fields, which Redis then stores once per node of the stream.

    undying:{session:ID}:log     stream, ids are positions, fields f first seq, p public, b body, a answers, e effects
    undying:{session:ID}:ckpt    hash, position -> sealed checkpoint
    undying:directory:session    hash, id -> facts
    undying:secret:NAME          string
    undying:{tracker}:log        stream, ids are the store's own, field r a row of the chronicle
"""

from __future__ import annotations

from collections.abc import Mapping

from persistence.resp import Reply, ReplyError
from persistence.store import Append, Damaged, Entry, Fenced, StoreUnavailable
from undying.protocol.ids import Kind
from undying.protocol.position import NOWHERE, Position

CHRONICLE_KEY = b"undying:{tracker}:log"
"""The key of the server's chronicle. No entity's journal: their names have a colon."""

_XADD = (
    b"*13\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$1\r\nf\r\n$%d\r\n%b\r\n$1\r\np\r\n$1\r\n%d\r\n"
    b"$1\r\nb\r\n$%d\r\n%b\r\n$1\r\na\r\n$%d\r\n%b\r\n$1\r\ne\r\n$%d\r\n%b\r\n"
)
_ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN", "MOVED", "CLUSTERDOWN")
_NOT_ABOVE = ("equal or smaller than the target stream top item", "must be greater than 0-0")


def journal_key(stream: str) -> bytes:
    """Name the key of an entity's journal."""
    return b"undying:{%b}:log" % stream.encode()


def checkpoints_key(stream: str) -> bytes:
    """Name the key of an entity's checkpoints."""
    return b"undying:{%b}:ckpt" % stream.encode()


def directory_key(kind: Kind) -> bytes:
    """Name the key of the directory of a kind."""
    return b"undying:directory:" + kind.value.encode()


def secret_key(name: str) -> bytes:
    """Name the key of a server-wide secret."""
    return b"undying:secret:" + name.encode()


def pack_position(position: Position) -> bytes:
    """Write a position as a stream id: `epoch-seq`."""
    return b"%d-%d" % position


def read_position(raw: bytes) -> Position | None:
    """Read a stream id; None when it is not `epoch-seq`."""
    epoch, _, seq = raw.partition(b"-")
    return Position(int(epoch), int(seq)) if epoch.isdigit() and seq.isdigit() else None


def pack_append(append: Append) -> bytes:
    """Pack the XADD of an entry, whole, in one formatting: this is the innermost loop of a commit."""
    entry = append.entry
    key, position, first = journal_key(append.stream), b"%d-%d" % entry.position, b"%d" % entry.first
    body, answers, effects = entry.body, entry.answers, entry.effects
    return _XADD % (
        *(len(key), key, len(position), position, len(first), first, entry.public),
        *(len(body), body, len(answers), answers, len(effects), effects),
    )


def read_entry(stream: str, raw_position: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """Read a stream entry. Raises Damaged."""
    position = read_position(raw_position)
    try:
        if position is None:
            raise ValueError("its id is not a position")
        first, public = int(fields[b"f"]), fields[b"p"] == b"1"
        return Entry(position, first, public, fields[b"b"], fields[b"a"], fields[b"e"])
    except (KeyError, ValueError) as error:
        raise Damaged(f"journal entry {raw_position!r} of {stream} can't be read: {error!r}") from None


def read_outcome(append: Append, reply: Reply) -> Fenced | StoreUnavailable | None:
    """Tell what a reply to an XADD means. Whatever is refused for another reason than its id was not written."""
    if not isinstance(reply, ReplyError):
        return None
    if any(text in reply.text for text in _NOT_ABOVE):
        return Fenced(append.stream, append.entry.position)
    return StoreUnavailable(f"the store refused a write: {reply.text}", unknown=False)


def is_elsewhere(reply: Reply) -> bool:
    """Tell whether a reply says that the store is now another server than this one, which was demoted or is not up yet."""
    return isinstance(reply, ReplyError) and reply.text.startswith(_ELSEWHERE)


def read_last(reply: Reply) -> Position:
    """Read the position from the reply to `XREVRANGE key + - COUNT 1`. Raises Damaged."""
    match reply:
        case []:
            return NOWHERE
        case [[bytes() as raw, *_]] if (position := read_position(raw)) is not None:
            return position
        case _:
            raise Damaged(f"the last entry of a journal can't be read: {str(reply)[:80]}")
