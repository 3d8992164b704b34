"""How many requests the holder of a token may have under way, over all connections.

A request is under way until its answer has left: whoever asks for a snapshot and does not read it holds megabytes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import Message, Send

from undying.protocol.errors import Code, Failure, UndyingError

REQUESTS_MAX: Final = 4
AGAIN_MS: Final = 1_000


class Holders:
    """Counts requests under way by holder."""

    def __init__(self) -> None:
        self._under_way: dict[str, int] = {}

    @contextmanager
    def request(self, holder: str) -> Iterator[None]:
        """Count a request while the block runs. Raises UndyingError RATE_LIMITED when the holder has `REQUESTS_MAX`."""
        count = self._under_way.get(holder, 0)
        if count >= REQUESTS_MAX:
            raise UndyingError(Failure(Code.RATE_LIMITED, f"{REQUESTS_MAX} requests are under way already", after_ms=AGAIN_MS))
        self._under_way[holder] = count + 1
        try:
            yield
        finally:
            left = self._under_way.pop(holder) - 1
            if left:
                self._under_way[holder] = left


def until_read(send: Send) -> Send:
    """Return a `send` that returns from an answer's end when its client has read it, or is gone.

    uvicorn waits for a client before it sends more, not after the last; so the end goes by itself, and waits for the rest.
    """

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await send({**message, "more_body": True})
            message = {"type": "http.response.body"}
        await send(message)

    return sending
