"""What the edges of the gateway (sockets, HTTP) and its middle (connections, hub, router) see of each other.

One socket, one peer: the edge makes a `Socket` when a handshake succeeded and hands it to `Accept`, which returns the
`Peer` that hears what the client says. Calls go one way at a time:

- The edge calls `receive` for each message, in order, and `lost` exactly once, after which it calls nothing more. Between
  `pause` and `resume` it calls no `receive`.
- `lost` never comes from inside a `Socket` method, so a hub may send to many sockets in a loop.
- `Socket` methods never raise and never block; on a socket that is closing or gone they do nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from gateway.auth import Grant
from gateway.encoded import Encoded
from undying.protocol.codec import Encoding
from undying.protocol.data import JsonObject
from undying.protocol.ids import Role


class Socket(Protocol):
    """One client's connection, as the middle of the gateway sees it."""

    @property
    def encoding(self) -> Encoding:
        """Return what the client speaks."""
        ...

    @property
    def address(self) -> str:
        """Return the client's network address, without the port."""
        ...

    @property
    def buffered(self) -> int:
        """Return the bytes that the kernel has not taken yet."""
        ...

    def send(self, out: Encoded) -> None:
        """Write a frame; what is sent in one turn of the loop leaves together. Reading none of it ends with 4303."""
        ...

    def pause(self) -> None:
        """Take nothing more from the client until `resume`; what it sends meanwhile waits with its kernel and ours."""
        ...

    def resume(self) -> None:
        """Go on with what the client sent, from the next turn of the loop on."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End the connection in order, after what was sent before. `reason` is cut to 123 bytes."""
        ...


class Peer(Protocol):
    """Who listens to one socket."""

    def receive(self, data: bytes | str) -> None:
        """Take one whole message: text on a JSON socket, bytes on a MessagePack one. Must not block."""
        ...

    def lost(self) -> None:
        """Learn that nothing more will come, whoever ended it."""
        ...


@runtime_checkable
class PacedPeer(Peer, Protocol):
    """A peer that wants to know when a full socket has room again."""

    def writable(self) -> None:
        """Learn that the socket's buffer drained after it had filled up."""
        ...


Accept: TypeAlias = Callable[[Socket], Peer]


class Tables(Protocol):
    """What HTTP needs of the middle. Every coroutine raises UndyingError for what goes wrong in order."""

    async def create_session(self, name: str) -> str:
        """Create a session with a new id and return the id."""
        ...

    async def sessions(self) -> dict[str, str]:
        """Return the names of all sessions by id."""
        ...

    async def list_sessions(self) -> list[JsonObject]:
        """Return one row per session: state, members online, host, epoch."""
        ...

    async def snapshot(self, grant: Grant) -> JsonObject:
        """Return all streams that the holder may see, with positions."""
        ...

    async def submit(self, grant: Grant, ops: list[JsonObject]) -> list[JsonObject]:
        """Do the ops in their order and return one ack each."""
        ...

    async def role_of(self, grant: Grant) -> Role:
        """Return the role that the holder has now. Raises UndyingError REMOVED or FORBIDDEN when they have none."""
        ...

    async def ready(self) -> None:
        """Return when store, supervisors and a session round trip work; raise UndyingError when they don't."""
        ...

    def connections(self) -> int:
        """Return how many clients are connected to this gateway."""
        ...


class Overview(Protocol):
    """What the supervisors know, and the orders they take. Every coroutine raises UndyingError UNAVAILABLE too."""

    async def status(self) -> list[JsonObject]:
        """Return the rows of `undying status`."""
        ...

    async def history(self, stream: str) -> list[JsonObject]:
        """Return how an entity ended so far, latest first. Raises UndyingError NOT_FOUND when it is not alive now."""
        ...

    async def endings(self, limit: int) -> JsonObject:
        """Return `{history, lost}`: what ended in the whole tree, the latest first. Raises UndyingError UNAVAILABLE."""
        ...

    async def drain(self, node: str) -> JsonObject:
        """Begin to empty a node; returns `{node, hosts, gateways}`. Raises UndyingError NOT_FOUND, WRONG_STATE, UNAVAILABLE."""
        ...

    async def undrain(self, node: str) -> None:
        """Use a node again that was to be drained. Raises UndyingError NOT_FOUND, UNAVAILABLE."""
        ...

    async def restart(self) -> None:
        """Begin to replace every process by a fresh one. Raises UndyingError UNAVAILABLE."""
        ...

    async def readmit(self, stream: str) -> None:
        """Try a quarantined or failed entity again. Raises UndyingError NOT_FOUND, WRONG_STATE when it is neither."""
        ...

    async def roll_back(self, stream: str, to: list[int]) -> JsonObject:
        """Bring a quarantined or failed entity back as it was at a position; returns `{stream, to, dropped}`, in events.

        Raises UndyingError NOT_FOUND, WRONG_STATE, BAD_ARGS, DATA_DAMAGED when no way leads there, UNAVAILABLE.
        """
        ...


class HostGone(Exception):
    """A call to a host failed or got lost: its outcome is unknown."""


class HostPort(Protocol):
    """One host, as a link sees it."""

    @property
    def name(self) -> str:
        """Return the name of the host's process."""
        ...

    async def submit(self, gateway: str, call: int, payload: bytes) -> tuple[int, bytes]:
        """Hand over a batch (`actors.host.Host.submit`). Raises HostGone, and UndyingError when it was refused."""
        ...

    async def poll(self, gateway: str) -> tuple[int, bytes]:
        """Wait for messages (`actors.host.Host.poll`). Raises HostGone, and UndyingError when it was refused."""
        ...

    def close(self) -> None:
        """Let go of the way to the host. Calls under way fail."""
        ...


class HostLocator(Protocol):
    """Where entities live, as the gateway asks for it."""

    async def locate(self, stream: str, *, create: bool, avoid: str) -> HostPort:
        """Return the host of an entity, brought to life if need be. `avoid`: a host just seen to fail, or "".

        Raises UndyingError NOT_FOUND, QUARANTINED, UNAVAILABLE.
        """
        ...


class Directory(Protocol):
    """The list of tables, and what is kept of each entity."""

    async def add(self, session: str, name: str) -> None:
        """List a table. Raises UndyingError DATABASE_UNAVAILABLE."""
        ...

    async def sessions(self) -> dict[str, str]:
        """Return the names of all tables by id. Raises UndyingError DATABASE_UNAVAILABLE."""
        ...

    async def checkpoints(self, stream: str) -> JsonObject:
        """Return what an entity can be rolled back to: `{id, pos, checkpoints: [{pos, at, on_line, dropped}]}`, newest first.

        `pos` is where it ends now; `at` when a checkpoint was taken, in ms, None when it is broken; `dropped` how many events
        come after it. Raises UndyingError NOT_FOUND, DATABASE_UNAVAILABLE.
        """
        ...
