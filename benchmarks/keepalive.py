"""One HTTP connection that stays open: a request, its answer, the next one.

Just enough HTTP/1.1 for a server that we know: its answers have a `Content-Length` and hold JSON. Anything else raises
`NotAnswered`. A server may close a connection that nothing was asked over for some seconds; then there is a new one.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, cast

ANSWER_S: Final = 60.0


class NotAnswered(Exception):
    """The server refused a request, or its answer is none."""


class Caller:
    """A connection to host:port, opened when it is needed. One request at a time."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, token: str, body: dict[str, object]) -> dict[str, Any]:
        """Ask for something to be done. Raises NotAnswered, TimeoutError, OSError."""
        return await self._ask("POST", path, token, json.dumps(body).encode())

    async def get(self, path: str, token: str) -> dict[str, Any]:
        """Ask for something to be told. Raises NotAnswered, TimeoutError, OSError."""
        return await self._ask("GET", path, token, b"")

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, method: str, path: str, token: str, data: bytes) -> dict[str, Any]:
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._authority}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        ).encode() + data
        async with asyncio.timeout(ANSWER_S):
            used = self._streams is not None
            try:
                status, answer = await self._exchange(request)
            except (asyncio.IncompleteReadError, ConnectionError) as problem:
                self.close()
                if not used:
                    raise NotAnswered(f"{path}: the connection ended") from problem
                status, answer = await self._exchange(request)
        if status >= 300:
            raise NotAnswered(f"{path}: {status} {answer[:200].decode(errors='replace')}")
        return cast(dict[str, Any], json.loads(answer))

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            host, _, port = self._authority.rpartition(":")
            self._streams = await asyncio.open_connection(host, int(port))
        reader, writer = self._streams
        writer.write(request)
        status, size = read_head(await reader.readuntil(b"\r\n\r\n"))
        return status, await reader.readexactly(size)


def read_head(head: bytes) -> tuple[int, int]:
    """Return the status of an answer and the size of its body. Raises NotAnswered."""
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    try:
        return int(first.split(" ")[1]), int(fields["content-length"])
    except (IndexError, KeyError, ValueError) as problem:
        raise NotAnswered(f"an answer that begins with {head[:100]!r}") from problem
