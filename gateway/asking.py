"""What one client asks of the table: ops, each answered once, and things for now only.

A bad op gets a refusal and never ends the connection. A client with `OPS_MAX` ops without an answer is not refused more of
them, for that costs as much as doing them: its socket is not read until fewer than `OPS_LOW` are left. It feels that as TCP
backpressure. The router answers every op in the end, so that ends too.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Final

from gateway.ports import Socket
from gateway.router import Outcome
from undying.protocol.closes import Close
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure
from undying.protocol.events import Viewer
from undying.protocol.ids import Role, is_id
from undying.protocol.link import NO_POSITION, Acked, EphemeralItem, OpItem
from undying.protocol.position import parse_position

if TYPE_CHECKING:
    from gateway.hub import Hub

OPS_MAX: Final = 64
"""Ops without an answer that one connection may have."""

OPS_LOW: Final = 32
"""A client that was not read is read again when it has fewer: a pause per op would cost more than the op."""

EPHEMERAL_BYTES_MAX: Final = 4_096
STREAM_ECHO_MAX: Final = 80
"""Characters of a stream's name that a refusal repeats: no stream that there can be has more."""

LOOKS_ON: Final = Role.SPECTATOR.value


class Asking:
    """See the module. `say` sends a frame to the client, `refuse_frame` ends the connection with a code.

    `streams` are those that the client follows. `table_paused`: only game masters act. A session refuses ops itself then, its
    characters know of no pause.
    """

    def __init__(
        self,
        hub: Hub,
        socket: Socket,
        streams: Container[str],
        say: Callable[[JsonObject], None],
        refuse_frame: Callable[[int, Failure], None],
    ) -> None:
        self.table_paused = False
        self.full = False
        self._hub = hub
        self._socket = socket
        self._streams = streams
        self._say = say
        self._refuse_frame = refuse_frame
        self._user = self._role = self._holder = ""
        self._unanswered = 0

    def ask_as(self, viewer: Viewer, holder: str) -> None:
        """Ask with a user's name and role from now on; `holder` is who pays for it (`gateway.auth.Grant.holder`)."""
        self._user, self._role, self._holder = viewer.user, viewer.role.value, holder

    def op(self, frame: JsonObject, now_s: float) -> None:
        """Take an op."""
        op_id, stream, kind, args = frame.get("id"), frame.get("s"), frame.get("k"), frame.get("d", {})
        if not isinstance(op_id, str) or not 1 <= len(op_id) <= 64:
            bad = Failure(Code.BAD_FRAME, "an op has an id of 1-64 characters", {"path": "id"})
            self._refuse_frame(Close.PROTOCOL_ERROR, bad)
            return
        if not isinstance(stream, str) or not isinstance(kind, str) or not isinstance(args, dict) or kind.startswith("@"):
            path = "s" if not isinstance(stream, str) else "d" if not isinstance(args, dict) else "k"
            code = Code.BAD_ARGS if path != "k" else Code.BAD_OP
            named = stream if isinstance(stream, str) else ""
            self._refuse(op_id, named, Failure(code, "an op has a stream, a kind and arguments", {"path": path}))
            return
        hub = self._hub
        wait_ms = hub.limits.take(self._holder)
        if wait_ms:
            self._refuse(op_id, stream, Failure(Code.RATE_LIMITED, "too many ops at once", after_ms=wait_ms))
            return
        if stream not in self._streams:
            self._refuse(op_id, stream, Failure(Code.NOT_FOUND, "no such stream that you may see", {"path": "s"}))
            return
        # Not refused here: the op may be one that was done before the pause, asked again because its answer was lost. A
        # character that is asked by somebody who only looks on gives that answer, and else refuses.
        looks_on = self.table_paused and self._role != Role.GM and not stream.startswith("session:")
        at, base = frame.get("at"), frame.get("base")
        item = OpItem(
            "op",
            hub.router.next_ref(),
            stream,
            self._user,
            LOOKS_ON if looks_on else self._role,
            op_id,
            kind,
            args,
            at if type(at) is int else 0,
            NO_POSITION if base is None else parse_position(base) or NO_POSITION,
        )
        self._unanswered += 1
        if self._unanswered >= OPS_MAX:
            self.full = True
            self._socket.pause()
        hub.router.request(item, lambda outcome: self._answered(item, now_s, _paused(outcome) if looks_on else outcome))

    def _answered(self, item: OpItem, since_s: float, outcome: Outcome) -> None:
        self._unanswered -= 1
        if self.full and self._unanswered < OPS_LOW:
            self.full = False
            self._socket.resume()
        if not isinstance(outcome, Acked):
            failure = outcome if isinstance(outcome, Failure) else Failure(Code.INTERNAL, "no answer to an op")
            self._refuse(item.id, item.stream, failure)
            return
        hub, error = self._hub, outcome.error
        hub.metrics.op(item.kind, "accepted" if error is None else "refused", hub.now_s() - since_s)
        if error is None:
            frame: JsonObject = {"t": "ack", "id": item.id, "ok": True, "s": item.stream, "pos": list(outcome.pos)}
            if outcome.result is not None:
                frame["d"] = outcome.result
        else:
            frame = {"t": "ack", "id": item.id, "ok": False, "s": item.stream, "error": error}
        if outcome.dup:
            frame["dup"] = True
        self._say(frame)

    def _refuse(self, op_id: str, stream: str, failure: Failure) -> None:
        self._say({"t": "ack", "id": op_id, "ok": False, "s": stream[:STREAM_ECHO_MAX], "error": failure.to_wire()})

    def ephemeral(self, frame: JsonObject) -> None:
        """Take something for now only: what is too much or too large goes nowhere."""
        stream, kind, data = frame.get("s"), frame.get("k"), frame.get("d", {})
        if not (isinstance(stream, str) and isinstance(kind, str) and is_id(kind) and isinstance(data, dict)):
            self._refuse_frame(Close.PROTOCOL_ERROR, Failure(Code.BAD_FRAME, "an eph has a stream, a kind and data"))
            return
        # Measured last: that costs more than all the rest, and a client may send as much as it likes.
        if stream not in self._streams or self._hub.limits.take(f"eph:{self._holder}"):
            return
        if len(str(data)) <= EPHEMERAL_BYTES_MAX:
            self._hub.router.tell(EphemeralItem("eph", stream, kind, data, self._user))


def _paused(outcome: Outcome) -> Outcome:
    """Say why somebody who looks on only because of the pause was refused."""
    if isinstance(outcome, Acked) and outcome.error is not None and outcome.error.get("code") == Code.FORBIDDEN:
        return outcome._replace(error=Failure(Code.PAUSED, "The game master paused the session.").to_wire())
    return outcome
