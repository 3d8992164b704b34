"""The link to one host: adaptive batches out, numbered messages in.

There is no timer. A batch goes as soon as the one before it came back, with all that came together meanwhile: an idle
link sends one item at once, a busy one sends large batches. Beside that one `submit` there is one `poll`, which the host
answers when it has something that no submit takes along.

States: up → down, once. Any call that fails takes the link down, for its outcome is unknown and the answer may have held
messages; whoever used the link asks the locator again and starts a new one, under a new name, so that the host can't
mistake it for this one. Messages are delivered in the order of their numbers, each once; after `down` none are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from gateway.metrics import Metrics
from gateway.ports import HostGone, HostPort
from undying.protocol.errors import UndyingError
from undying.protocol.link import ToGateway, ToHost, pack_items, unpack_messages
from undying.resilience.tasks import vital

BATCH_ITEMS_MAX: Final = 500
"""Larger batches cost more per item (they leave the processor's caches) and make pauses."""


class Link:
    """One life of a connection to one host. Callbacks must not raise."""

    def __init__(
        self,
        host: HostPort,
        name: str,
        deliver: Callable[[Link, ToGateway], None],
        down: Callable[[Link], None],
        metrics: Metrics,
    ) -> None:
        self.host = host
        self.up = True
        self._name = name
        self._deliver = deliver
        self._down = down
        self._metrics = metrics
        self._queue: list[ToHost] = []
        self._wake = asyncio.Event()
        self._calls = 0
        self._number = 0
        self._early: dict[int, bytes] = {}
        self._poll: asyncio.Task[None] | None = None
        self._submit = vital(self._run(self._submitting()), f"submitting to {host.name}")

    def send(self, item: ToHost) -> None:
        """Add an item to the next batch. On a link that is down it goes nowhere."""
        self._queue.append(item)
        self._wake.set()

    def close(self) -> None:
        """Take the link down without telling anyone."""
        self.up = False
        self._submit.cancel()
        if self._poll is not None:
            self._poll.cancel()
        self.host.close()

    async def _run(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except (HostGone, UndyingError):
            if self.up:
                self._metrics.link_failures += 1
                self.close()
                self._down(self)

    async def _submitting(self) -> None:
        """Keep one batch in flight. The answer to one is delivered while the host works on the next."""
        answer: tuple[int, bytes] | None = None
        while True:
            if not self._queue and answer is not None:
                self._received(*answer)
                answer = None
            await self._wake.wait()
            items, self._queue = self._queue[:BATCH_ITEMS_MAX], self._queue[BATCH_ITEMS_MAX:]
            if not self._queue:
                self._wake.clear()
            if not items:
                continue
            self._metrics.batch_items.add(len(items))
            self._calls += 1
            call = asyncio.ensure_future(self.host.submit(self._name, self._calls, pack_items(items)))
            if answer is not None:
                await asyncio.sleep(0)  # lets the call leave before the work on the answer begins
                self._received(*answer)
            answer = await call
            if self._poll is None:
                self._poll = vital(self._run(self._polling()), f"polling {self.host.name}")

    async def _polling(self) -> None:
        while True:
            number, payload = await self.host.poll(self._name)
            self._received(number, payload)

    def _received(self, number: int, payload: bytes) -> None:
        self._early[number] = payload
        while (payload_now := self._early.pop(self._number + 1, None)) is not None:
            self._number += 1
            for message in unpack_messages(payload_now):
                if self.up:
                    self._deliver(self, message)
