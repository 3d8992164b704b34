"""Requests to entities: which host, in which order, and again until there is an answer.

One route per stream:

    locating ──▶ up ──(link down, `moved`)──▶ locating          up ──(`store`)──▶ waiting ──(backoff)──▶ up

Requests keep their order per stream. A route that comes up subscribes first, with the position that was reached, then
sends every unanswered request again, oldest first, with its id: hosts take requests of this gateway only behind its
subscription and know ids they have seen, so nothing overtakes and nothing is done twice.

Bounds: `ITEMS_MAX` unanswered requests per stream, more are refused with OVERLOADED; `HOLD_S` seconds without an answer
make UNAVAILABLE, which is recoverable and says that the outcome is unknown. A route without requests and followers ends.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias, assert_never

import structlog

from gateway.link import Link
from gateway.metrics import Metrics
from gateway.ports import HostLocator
from undying.protocol.errors import Code, Failure, UndyingError
from undying.protocol.link import (
    Acked,
    Batch,
    Ephemeral,
    EphemeralItem,
    Failed,
    JoinItem,
    Lost,
    Opened,
    OpenItem,
    OpItem,
    PresenceItem,
    PresenceNow,
    Subscribed,
    SubscribeItem,
    ToGateway,
    UnsubscribeItem,
)
from undying.resilience.backoff import Backoff
from undying.resilience.tasks import vital

log = structlog.get_logger()

ITEMS_MAX: Final = 2_000
HOLD_S: Final = 30.0
AGAIN: Final = Backoff(base_s=0.01, cap_s=0.5)

Request: TypeAlias = OpItem | JoinItem | OpenItem
Outcome: TypeAlias = Acked | Opened | Failure
Answered: TypeAlias = Callable[[Outcome], None]


class Follower(Protocol):
    """What the router passes on of a stream (the hub's channel)."""

    def fall_behind(self) -> tuple[int, int]:
        """Take no more batches until `subscribed`; return the position up to which they were taken, or NO_POSITION."""
        ...

    @property
    def wanted(self) -> bool:
        """Tell whether somebody follows the stream here."""
        ...

    def batch(self, batch: Batch) -> None:
        """Take a batch."""
        ...

    def subscribed(self, answer: Subscribed) -> None:
        """Take what was missed while the route was down."""
        ...

    def present(self, users: list[tuple[str, str, str, str]]) -> None:
        """Take who is at the table."""
        ...

    def ephemeral(self, message: Ephemeral) -> None:
        """Take something for now only."""
        ...

    def released(self, failure: Failure | None) -> None:
        """Learn that the route ended, nobody needing it any more or by a failure; a later one gets a new follower."""
        ...


@dataclass(slots=True)
class _Pending:
    item: Request
    answered: Answered
    since_s: float
    route: _Route


@dataclass(slots=True)
class _Route:
    stream: str
    follower: Follower
    state: Literal["locating", "up", "waiting"] = "locating"
    link: Link | None = None
    avoid: str = ""
    attempt: int = 0
    create: bool = False
    pending: dict[int, _Pending] = field(default_factory=dict)
    subscription: int = 0
    task: asyncio.Task[None] | None = None


class Router:
    """All routes of one gateway. `name` is unique per life of the gateway."""

    def __init__(
        self,
        name: str,
        locator: HostLocator,
        follower: Callable[[str], Follower],
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._name = name
        self._locator = locator
        self._follower = follower
        self._rng = rng
        self._metrics = metrics
        self._now_s = asyncio.get_running_loop().time
        self._routes: dict[str, _Route] = {}
        self._links: dict[str, Link] = {}
        self._asked: dict[int, _Pending] = {}
        self._subscriptions: dict[int, _Route] = {}
        self._refs = itertools.count(1)
        self._names = itertools.count(1)

    def next_ref(self) -> int:
        """Return a new number for a request."""
        return next(self._refs)

    def request(self, item: Request, answered: Answered, *, create: bool = False) -> None:
        """Ask an entity; `answered` is called exactly once, later. The item's `ref` comes from `next_ref`."""
        route = self._route(item.stream, create=create)
        if len(route.pending) >= ITEMS_MAX:
            failure = Failure(Code.OVERLOADED, "too much waits for this table", after_ms=1000)
            asyncio.get_running_loop().call_soon(answered, failure)
            return
        pending = _Pending(item, answered, self._now_s(), route)
        route.pending[item.ref] = self._asked[item.ref] = pending
        if route.state == "up" and route.link is not None:
            route.link.send(item)

    def tell(self, item: PresenceItem | EphemeralItem) -> None:
        """Tell an entity something that needs no answer and may get lost."""
        route = self._routes.get(item.stream)
        if route is not None and route.state == "up" and route.link is not None:
            route.link.send(item)

    def follow(self, stream: str) -> None:
        """Keep a route to a stream that somebody follows."""
        self._route(stream, create=False)

    def resubscribe(self, stream: str) -> None:
        """Ask again for what was missed: the follower found a gap."""
        route = self._routes.get(stream)
        if route is not None and route.state == "up":
            self._subscribe(route)

    def release(self, stream: str) -> None:
        """End a route that nobody needs any more."""
        route = self._routes.get(stream)
        if route is None or route.pending or route.follower.wanted:
            return
        self._end(route)
        if route.task is not None:
            route.task.cancel()
        if route.state == "up" and route.link is not None:
            route.link.send(UnsubscribeItem("unsub", stream))

    def expire(self) -> None:
        """Give up requests that were held for too long. Called about once a second."""
        oldest_s = self._now_s() - HOLD_S
        held = 0
        for route in list(self._routes.values()):
            held += len(route.pending) if route.state != "up" else 0
            for ref, pending in list(route.pending.items()):
                if pending.since_s > oldest_s:
                    break
                self._take(ref)
                pending.answered(Failure(Code.UNAVAILABLE, "no answer in time; it may yet have been done", after_ms=1000))
            self.release(route.stream)
        self._metrics.ops_held = held

    def hosts(self) -> dict[str, str]:
        """Return the host of each stream that has a route which is up."""
        return {route.stream: route.link.host.name for route in self._routes.values() if route.link is not None}

    def close(self) -> None:
        """Let go of all hosts."""
        for link in self._links.values():
            link.close()
        for route in self._routes.values():
            if route.task is not None:
                route.task.cancel()

    # -- routes ----------------------------------------------------------------------------------------------------

    def _route(self, stream: str, *, create: bool) -> _Route:
        route = self._routes.get(stream)
        if route is None:
            route = self._routes[stream] = _Route(stream, self._follower(stream), create=create)
            self._locate(route)
        return route

    def _locate(self, route: _Route) -> None:
        route.state, route.link = "locating", None
        route.task = vital(self._locating(route), f"locating {route.stream}")

    async def _locating(self, route: _Route) -> None:
        while True:
            if route.attempt:
                await asyncio.sleep(AGAIN.delay(route.attempt - 1, self._rng))
            route.attempt += 1
            try:
                host = await self._locator.locate(route.stream, create=route.create, avoid=route.avoid)
            except UndyingError as refused:
                if not refused.failure.row.recoverable:
                    self._refuse(route, refused.failure)
                    return
                log.info("no host yet", stream=route.stream, code=refused.failure.code)
                continue
            link = self._links.get(host.name)
            if link is None:
                name = f"{self._name}/{next(self._names)}"
                link = self._links[host.name] = Link(host, name, self._deliver, self._link_down, self._metrics)
            route.link = link
            self._come_up(route)
            return

    def _refuse(self, route: _Route, failure: Failure) -> None:
        self._end(route, failure)
        for ref in list(route.pending):
            pending = self._take(ref)
            if pending is not None:
                pending.answered(failure)

    def _end(self, route: _Route, failure: Failure | None = None) -> None:
        self._routes.pop(route.stream, None)
        self._subscriptions.pop(route.subscription, None)
        route.follower.released(failure)

    def _come_up(self, route: _Route) -> None:
        assert route.link is not None
        route.state, route.task = "up", None
        self._subscribe(route)
        for pending in list(route.pending.values()):
            route.link.send(pending.item)

    def _subscribe(self, route: _Route) -> None:
        assert route.link is not None
        self._subscriptions.pop(route.subscription, None)
        route.subscription = next(self._refs)
        self._subscriptions[route.subscription] = route
        route.link.send(SubscribeItem("sub", route.subscription, route.stream, route.follower.fall_behind()))

    def _lost(self, route: _Route, reason: Literal["moved", "store"]) -> None:
        """Go on elsewhere, or here after a while. Only the first word of a loss counts, until the route is up again."""
        if route.state != "up" or route.link is None:
            return
        if reason == "moved":
            route.avoid = route.link.host.name
            self._locate(route)
        else:
            route.state = "waiting"
            route.task = vital(self._wait(route), f"waiting for {route.stream}")

    async def _wait(self, route: _Route) -> None:
        await asyncio.sleep(AGAIN.delay(route.attempt, self._rng))
        route.attempt += 1
        self._come_up(route)

    def _link_down(self, link: Link) -> None:
        if self._links.get(link.host.name) is link:
            del self._links[link.host.name]
        for route in self._routes.values():
            if route.link is not link:
                continue
            if route.state == "waiting" and route.task is not None:
                route.task.cancel()
            route.avoid = link.host.name
            self._locate(route)

    # -- what hosts say --------------------------------------------------------------------------------------------

    def _deliver(self, link: Link, message: ToGateway) -> None:
        if isinstance(message, Batch):
            route = self._routes.get(message.stream)
            if route is not None and route.link is link:
                route.follower.batch(message)
        elif isinstance(message, Acked | Opened):
            self._answer(message)
        elif isinstance(message, Failed):
            self._failed(link, message)
        elif isinstance(message, Subscribed):
            self._subscribed(link, message)
        elif isinstance(message, Lost):
            route = self._routes.get(message.stream)
            if route is not None and route.link is link:
                self._lost(route, message.reason)
        elif isinstance(message, PresenceNow):
            route = self._routes.get(message.stream)
            if route is not None:
                route.follower.present(message.users)
        elif isinstance(message, Ephemeral):
            route = self._routes.get(message.stream)
            if route is not None:
                route.follower.ephemeral(message)
        else:
            assert_never(message)

    def _answer(self, message: Acked | Opened) -> None:
        pending = self._take(message.ref)
        if pending is not None:
            pending.answered(message)

    def _take(self, ref: int) -> _Pending | None:
        pending = self._asked.pop(ref, None)
        if pending is not None:
            del pending.route.pending[ref]
        return pending

    def _failed(self, link: Link, message: Failed) -> None:
        pending = self._asked.get(message.ref)
        route = self._subscriptions.get(message.ref) if pending is None else pending.route
        if route is not None and route.link is link:
            self._lost(route, message.reason)

    def _subscribed(self, link: Link, message: Subscribed) -> None:
        route = self._subscriptions.pop(message.ref, None)
        if route is None or route.link is not link or route.subscription != message.ref:
            return
        route.attempt, route.avoid, route.subscription = 0, "", 0
        route.follower.subscribed(message)
