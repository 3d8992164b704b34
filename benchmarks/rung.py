"""One rung of the ladder: a rate, offered on a schedule that does not wait for anybody.

The schedule is cut into ticks; at each one everything that is due is sent. Latencies count from the tick's planned time,
so a load generator that is late makes them worse, never better; how late it was is part of the result.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from benchmarks import processor
from benchmarks.ledger import ACCEPTED, Ledger
from benchmarks.ops import Mix, op_frame
from benchmarks.table_client import Client

DRAIN_S: Final = 60.0
"""Seconds after the last op within which everything must be answered; a gateway gives up an op after 30."""

SETTLED_LOOK_S: Final = 0.01
LEAD_S: Final = 0.1


class Broken(Exception):
    """The measurement can't go on: a connection ended."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure: seconds, the tick in ms, the mix, the seed of who does what when."""

    warmup_s: float
    measure_s: float
    tick_ms: int
    mix: Mix
    seed: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution in ms; all 0 when there was nothing."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: list[float]) -> Spread:
        """Work it out (nearest rank)."""
        if not seconds:
            return cls(0.0, 0.0, 0.0)
        ranked = sorted(seconds)
        return cls(*(round(1000 * ranked[min(len(ranked) - 1, int(len(ranked) * part))], 3) for part in (0.5, 0.99, 1.0)))


@dataclass(frozen=True, slots=True)
class Result:
    """What a rung gave: rates per second of the measured time, shares of 1, latencies in ms, `cpu_us` in µs per acked op."""

    rate: int
    offered_per_s: float
    acked_per_s: float
    acked_share: float
    deliveries_per_s: float
    delivered_share: float
    ack: Spread
    delivery: Spread
    late: Spread
    cpu_us: Mapping[str, float]
    cpu_share: Mapping[str, float]
    drain_s: float
    refusals: Mapping[str, int]
    faults: Mapping[str, int]


Ticks = list[list[tuple[int, Client, bytes]]]


class Rung:
    """One run at one rate. `base` is the number of its first op."""

    def __init__(self, rate: int, plan: Plan, clients: Sequence[Client], base: int) -> None:
        self._rate = rate
        self._plan = plan
        self._clients = clients
        self._ticks, tables = _schedule(rate, plan, clients, base)
        self.ledger = Ledger(base, tables, 1 + max(client.seat for client in clients))
        self._late: list[float] = []

    async def run(self, server_pid: int, roles: Mapping[int, str]) -> Result:
        """Run it. Raises Broken."""
        for client in self._clients:
            client.begin(self.ledger)
        gc.collect()
        gc.disable()  # a collection over the plan's objects would be a pause of the load
        try:
            start_s = perf_counter() + LEAD_S
            sending = asyncio.create_task(self._send(start_s))
            from_s, until_s = start_s + self._plan.warmup_s, start_s + self._plan.warmup_s + self._plan.measure_s
            await _until(from_s)
            before = processor.read(server_pid, roles)
            from_s = perf_counter()
            await _until(until_s)
            after = processor.read(server_pid, roles)
            until_s = perf_counter()
            await sending
            drain_s = await self._drain()
        finally:
            gc.enable()
        return self._result(from_s, until_s, after.since(before), drain_s)

    async def _send(self, start_s: float) -> None:
        tick_s, due_s, base = self._plan.tick_ms / 1000, self.ledger.due_s, self.ledger.base
        for at, tick in enumerate(self._ticks):
            planned_s = start_s + at * tick_s
            # Also when late: the clients have to read in between.
            await asyncio.sleep(max(0.0, planned_s - perf_counter()))
            self._late.append(max(0.0, perf_counter() - planned_s))
            for number, client, frame in tick:
                due_s[number - base] = planned_s
                client.write(frame)
            if self._broken():
                return

    async def _drain(self) -> float:
        begun_s = perf_counter()
        while not self.ledger.settled and perf_counter() - begun_s < DRAIN_S:
            if broken := self._broken():
                raise Broken(broken)
            await asyncio.sleep(SETTLED_LOOK_S)
        return perf_counter() - begun_s

    def _broken(self) -> str:
        return next((client.table.broken for client in self._clients if client.table.broken), "")

    def _result(self, from_s: float, until_s: float, spent: Mapping[str, float], drain_s: float) -> Result:
        ledger, window_s = self.ledger, until_s - from_s
        base, due_s = ledger.base, ledger.due_s
        inside = [at for at, due in enumerate(due_s) if from_s <= due < until_s]
        accepted = {at for at in inside if ledger.outcomes[at] == ACCEPTED}
        answered = [at for at, when in enumerate(ledger.answered_s) if from_s <= when < until_s]
        acks = sum(ledger.outcomes[at] == ACCEPTED for at in answered)
        seats = len(self._clients) / len({client.table.index for client in self._clients})
        deliveries, latencies = 0, []
        for seen in ledger.seen.values():
            for when, delivered in seen.frames:
                deliveries += len(delivered.numbers) if from_s <= when < until_s else 0
                latencies += [when - due_s[number - base] for number in delivered.numbers if number - base in accepted]
        return Result(
            rate=self._rate,
            offered_per_s=len(inside) / window_s,
            acked_per_s=acks / window_s,
            acked_share=len(accepted) / max(1, len(inside)),
            deliveries_per_s=deliveries / window_s,
            delivered_share=len(latencies) / max(1.0, len(accepted) * seats),
            ack=Spread.of([ledger.answered_s[at] - due_s[at] for at in accepted]),
            delivery=Spread.of(latencies),
            late=Spread.of(self._late),
            cpu_us={role: 1e6 * seconds / max(1, acks) for role, seconds in spent.items()},
            cpu_share={role: seconds / window_s for role, seconds in spent.items()},
            drain_s=drain_s,
            refusals=dict(ledger.refusals),
            faults=dict(ledger.check()),
        )


def _schedule(rate: int, plan: Plan, clients: Sequence[Client], base: int) -> tuple[Ticks, list[int]]:
    """Return what is sent at which tick, and each op's table."""
    rng = random.Random(plan.seed + base)
    total = int(rate * (plan.warmup_s + plan.measure_s))
    per_tick = rate * plan.tick_ms / 1000
    ticks: Ticks = [[] for _ in range(int(total / per_tick) + 1)]
    tables: list[int] = []
    for at in range(total):
        client = clients[int(rng.random() * len(clients))]
        number = base + at
        ticks[int(at / per_tick)].append(
            (number, client, op_frame(number, client.table.stream, plan.mix.draw(rng), client.piece))
        )
        tables.append(client.table.index)
    return ticks, tables


async def _until(when_s: float) -> None:
    await asyncio.sleep(max(0.0, when_s - perf_counter()))
