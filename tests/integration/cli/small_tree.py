"""The smallest tree that `undying serve` takes: a root that listens on the port, says it is ready, and has one child.

Run as a module with a data directory as argument it serves this tree, as `undying serve` does the real one. The variable
SMALL_TREE_HANGS makes its drain take for ever.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from actors.runtime import Inside, Running, Wiring
from undying.cli.parts import real_parts
from undying.cli.serve import serve_with
from undying.cli.settings import ServeSettings
from undying.protocol.data import JsonObject


class SmallRoot:
    """Answers every request with 200."""

    def __init__(self, settings: ServeSettings, inside: Inside) -> None:
        self._settings = settings
        self._inside = inside

    async def start(self) -> None:
        """Start a child and listen."""
        await self._inside.runtime.spawn("child")
        await asyncio.start_server(self._answer, self._settings.host, self._settings.port, reuse_port=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def stop(self) -> None:
        """End the child."""
        if "SMALL_TREE_HANGS" in os.environ:
            await asyncio.Event().wait()
        await self._inside.runtime.kill("child")


def _root(settings: JsonObject, inside: Inside) -> Running:
    return SmallRoot(ServeSettings.from_plain(settings), inside)


WIRING: Final[Wiring] = {"root": _root}

if __name__ == "__main__":
    parts = real_parts("tests.integration.cli.small_tree:WIRING")
    sys.exit(serve_with(ServeSettings(port=0, data_dir=Path(sys.argv[1])), parts))
