"""A direct stream to a program on the same machine: for the few calls that are made thousands of times a second.

The runtime places processes, starts them, watches them and carries every other call. A call of Ray's costs about 1 ms of
processor time on both sides together, one over this stream a tenth of that. The stream is a Unix socket in a directory that
only its owner may enter; who can't connect uses the runtime's calls, which mean the same.

    message = length (4 bytes, big-endian) | MessagePack
    request = [number, method, arguments]          answer = [number, kind, value]

States of a stream: open → closed, once, by either end or by the death of one. Laws: every request gets one answer, or fails
when the stream closes, with an unknown outcome; answers come in the order in which they are ready, not in that of the requests.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import msgpack
import structlog

from actors.runtime import CallLost, ProcessDied, ProgramFailed
from undying.protocol.errors import Failure, UndyingError

MESSAGE_BYTES_MAX: Final = 256 << 20
"""A longer message is none of ours: what a mailbox may hold fits in several times."""

CONNECT_S: Final = 1.0

_LENGTH: Final = struct.Struct(">I")
_OK, _REFUSED, _FAILED = 0, 1, 2

log = structlog.get_logger()


class _Stream(asyncio.Protocol):
    """One end: cuts messages out of the bytes, and writes whole ones."""

    def __init__(self, heard: Callable[[list[Any]], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._rest = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._transport = None
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a message that can't be one of ours ends the stream."""
        rest = self._rest
        rest += data
        at = 0
        while len(rest) - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(rest, at)
            if size > MESSAGE_BYTES_MAX:
                self.close()
                return
            end = at + _LENGTH.size + size
            if len(rest) < end:
                break
            message = msgpack.unpackb(memoryview(rest)[at + _LENGTH.size : end])
            at = end
            self._heard(message)
        if at:
            del rest[:at]

    def send(self, message: list[Any]) -> None:
        """Write a message. On a stream that is closed it goes nowhere."""
        if self._transport is not None:
            packed = cast(bytes, msgpack.packb(message))
            self._transport.write(_LENGTH.pack(len(packed)) + packed)

    def close(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.close()


class DirectServer:
    """Lets others on the same machine call some `methods` of a program over streams at `path`; nowhere when that is None."""

    def __init__(self, path: Path | None, methods: frozenset[str]) -> None:
        self._path = path
        self._methods = methods
        self._program: Any = None
        self._server: asyncio.Server | None = None
        self._streams: set[_Stream] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, program: Any) -> None:
        """Listen. Where that is not possible the runtime's calls are what is left."""
        self._program = program
        if self._path is None:
            return
        try:
            _make_private(self._path.parent)
            self._server = await asyncio.get_running_loop().create_unix_server(self._accept, self._path)
        except (OSError, NotImplementedError) as problem:  # no such directory here, a name too long, another system
            log.warning("no direct stream", path=str(self._path), reason=str(problem))

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:  # one that never listened leaves the path to who does
            self._server.close()
            self._server = None
            with suppress(OSError):
                cast(Path, self._path).unlink(missing_ok=True)
        for stream in list(self._streams):
            stream.close()
        for task in self._tasks:
            task.cancel()

    def _accept(self) -> _Stream:
        def heard(message: list[Any]) -> None:
            task = asyncio.get_running_loop().create_task(self._answer(stream, *message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        stream = _Stream(heard, lambda: self._streams.discard(stream))
        self._streams.add(stream)
        return stream

    async def _answer(self, stream: _Stream, number: int, method: str, arguments: list[Any]) -> None:
        if method not in self._methods:
            stream.send([number, _FAILED, f"no method {method}"])
            return
        try:
            answer = await getattr(self._program, method)(*arguments)
        except UndyingError as refused:
            stream.send([number, _REFUSED, refused.failure.to_wire()])
        except Exception as problem:  # the edge of a call: a defect must reach the caller, not kill the process
            log.exception("call failed", method=method)
            stream.send([number, _FAILED, f"{method} raised {problem!r}"])
        else:
            stream.send([number, _OK, answer])


class DirectCaller:
    """The other end. Made by `connect`."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._open = True
        self.stream = _Stream(self._heard, self._lost)

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method. Raises what `actors.runtime.Ref.call` does."""
        if not self._open:
            raise ProcessDied("the stream is closed")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.stream.send([number, method, args])
        try:
            kind, value = await answer
        finally:
            self._waiting.pop(number, None)
        if kind == _OK:
            return value
        if kind == _REFUSED:
            raise UndyingError(Failure.from_wire(value))
        raise ProgramFailed(str(value))

    def close(self) -> None:
        """Close the stream; calls under way fail."""
        self.stream.close()

    def _heard(self, message: list[Any]) -> None:
        number, kind, value = message
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result((kind, value))

    def _lost(self) -> None:
        self._open = False
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ProcessDied("the stream closed"))


async def connect(path: Path) -> DirectCaller:
    """Open a stream to the program that listens at `path`. Raises CallLost when that can't be done."""
    caller = DirectCaller()
    if not (_is_private(path.parent) and _is_private(path.parent.parent)):
        raise CallLost(f"no direct stream at {path}: its directory is not there, or others may write to it")
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().create_unix_connection(lambda: caller.stream, str(path))
    except (OSError, TimeoutError, NotImplementedError) as problem:
        raise CallLost(f"no direct stream at {path}: {problem}") from problem
    return caller


def _make_private(directory: Path) -> None:
    """Make a directory in another one, both for their owner only. Raises OSError when there is one that others may enter.

    Both, since who may write to the upper one can put another in the place of the lower.
    """
    for each in (directory.parent, directory):
        each.mkdir(mode=0o700, exist_ok=True)
        if not _is_private(each):
            raise PermissionError(f"others may enter {each}")


def _is_private(directory: Path) -> bool:
    """Tell whether a directory is ours, and nobody else may enter it."""
    try:
        facts = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077
