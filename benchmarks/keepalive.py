"""One HTTP connection that stays open: a request, its answer, the next one.

Just enough HTTP/1.1 for a server that we know: its answers have a `Content-Length` and hold JSON. Anything else raises
`NotAnswered`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

ANSWER_S: Final = 60.0


class NotAnswered(Exception):
    """The server refused a request, or its answer is none."""


class Caller:
    """An open connection. One request at a time."""

    def __init__(self, authority: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._authority = authority
        self._reader = reader
        self._writer = writer

    async def post(self, path: str, token: str, body: dict[str, object]) -> dict[str, Any]:
        """Ask for something to be done. Raises NotAnswered, TimeoutError."""
        data = json.dumps(body).encode()
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nHost: {self._authority}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        async with asyncio.timeout(ANSWER_S):
            status, size = read_head(await self._reader.readuntil(b"\r\n\r\n"))
            answer = await self._reader.readexactly(size)
        if status >= 300:
            raise NotAnswered(f"{path}: {status} {answer[:200].decode(errors='replace')}")
        return cast(dict[str, Any], json.loads(answer))


@asynccontextmanager
async def calling(authority: str) -> AsyncIterator[Caller]:
    """Open a connection to host:port; it ends with the block."""
    host, _, port = authority.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Caller(authority, reader, writer)
    finally:
        writer.close()


def read_head(head: bytes) -> tuple[int, int]:
    """Return the status of an answer and the size of its body. Raises NotAnswered."""
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    try:
        return int(first.split(" ")[1]), int(fields["content-length"])
    except (IndexError, KeyError, ValueError) as problem:
        raise NotAnswered(f"an answer that begins with {head[:100]!r}") from problem
