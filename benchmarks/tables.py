"""Thousands of tables: what they cost at rest, how fast one is woken, and what they cost when all are live.

    python -m benchmarks.tables --resting 10000 --wake 200
    python -m benchmarks.tables --live 2000 --ops 20

Starts `undying serve` for each of the two, prints Markdown. Exit status: 0; 1 when something was wrong
(`benchmarks.table_life` says what counts), however fast; 2 when nothing could be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

import uvloop

from benchmarks import stored, table_life
from benchmarks.keepalive import NotAnswered
from benchmarks.server import NotReady, Server, running
from benchmarks.table_life import Table, Times, Watch
from benchmarks.tables_report import Stage, growth_table, memory_table, speed_table, work_table
from benchmarks.visitor import Gone
from benchmarks.wire import BadFrame
from undying.protocol.errors import UndyingError

IDLE_S: Final = 15.0
"""Seconds over which the processor time of a server is measured that nobody asks for anything."""

LISTS: Final = 10
"""How often the list of all tables is asked for."""

SAMPLE: Final = 100
"""Tables whose keys in the store are looked at."""


def main() -> int:
    options = _options(sys.argv[1:])
    faults: Counter[str] = Counter()
    try:
        if options.resting:
            faults += uvloop.run(_rest(options))
        if options.live:
            faults += uvloop.run(_live(options))
    except (NotReady, NotAnswered, Gone, BadFrame, UndyingError, TimeoutError, OSError) as problem:
        print(f"not measured: {problem or type(problem).__name__}", file=sys.stderr)
        return 2
    print(*(f"{what}: {count}" for what, count in faults.items()), sep="\n", file=sys.stderr, end="\n" if faults else "")
    return 1 if faults else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description="Measure thousands of tables.")
    parser.add_argument("--resting", type=int, default=0, metavar="N", help="create N tables, play each once, let them rest")
    parser.add_argument("--wake", type=int, default=200, metavar="N", help="then wake N of them, one after the other")
    parser.add_argument("--live", type=int, default=0, metavar="N", help="N tables, live at the same time, a client at each")
    parser.add_argument(
        "--ops", default="20", help="ops at each live table, in steps: 20,1000 measures after 20 and after 1,000"
    )
    parser.add_argument("--at-once", type=int, default=16, help="tables that are worked on at a time")
    parser.add_argument(
        "--characters-every", type=int, default=4, metavar="N", help="a character at every Nth table, 0: at none"
    )
    parser.add_argument("--rest-s", type=float, default=5.0, help="seconds after which an empty table goes to rest")
    parser.add_argument("--wake-pause-s", type=float, default=0.0, help="seconds between two tables that are woken")
    parser.add_argument("--actors-per-node", type=int, default=8, help="hosts that all tables share")
    parser.add_argument("--spares", type=int, default=2)
    parser.add_argument("--durability", default="always")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", nargs="*", default=[], metavar="OPTION", help="further options of serve: name=value")
    options = parser.parse_args(argv)
    try:
        options.ops = [int(ops) for ops in options.ops.split(",")]
    except ValueError as problem:
        parser.error(str(problem))
    if min(options.resting, options.wake, options.live, options.characters_every) < 0 or options.at_once < 1:
        parser.error("numbers are not below 0")
    if not options.resting and not options.live:
        parser.error("nothing to measure: --resting N, --live N or both")
    return options


def _flags(options: argparse.Namespace, rest_s: float) -> list[str]:
    serve = {"rate-limit": 0, "actors-per-node": options.actors_per_node, "spares": options.spares, "rest-s": rest_s}
    serve |= {"durability": options.durability, "log-level": "warning"}
    return [f"--{name}={value}" for name, value in serve.items()] + [f"--{option}" for option in options.serve]


async def _rest(options: argparse.Namespace) -> Counter[str]:
    async with running(_flags(options, options.rest_s)) as server:
        watch = Watch(server)
        await table_life.until_all_rest(watch)
        stages = [await _stage("before the first table", server, watch)]
        playing, waking = Times(), Times()

        async def then(table: Table, number: int) -> None:
            await table_life.play(server, table, number, options.characters_every, playing)

        _say(f"creating and playing {options.resting} tables")
        tables = await table_life.create(server, options.resting, options.at_once, playing, then)
        _say(f"{len(tables) / playing.whole_s:.0f} tables/s; waiting until all rest")
        await table_life.until_all_rest(watch)
        stages.append(await _stage("all at rest", server, watch))
        work = await watch.processor(IDLE_S)
        streams = [f"session:{table.session}" for table in table_life.some(tables, SAMPLE, options.seed)]
        keys = await asyncio.to_thread(stored.read_keys, server.data_dir, streams)
        lists, invitations = await table_life.look_through(server, table_life.some(tables, LISTS, options.seed))
        _say(f"waking {options.wake}")
        await table_life.wake(server, table_life.some(tables, options.wake, options.seed), options.wake_pause_s, waking)
        await table_life.until_all_rest(watch)
        stages.append(await _stage(f"{options.wake} woken, at rest again", server, watch))
    _title(f"{options.resting:,} tables at rest")
    print(memory_table(stages), growth_table(stages[:2], options.resting), work_table(work), sep="\n\n", end="\n\n")
    print(f"In the store a session that was played once has {keys.journal:.0f} bytes of journal,", end=" ")
    print(f"{keys.checkpoints:.0f} of checkpoints.\n")
    rows = {
        "created (POST), ms": playing.created,
        "a new table: join to live, ms": playing.live,
        "op to ack, ms": playing.acked,
        "list of all tables, ms": lists,
        "invitation by the admin, ms": invitations,
        "**woken: join to live, ms**": waking.live,
        "**woken: join to the first ack, ms**": waking.acked,
    }
    print(speed_table(rows))
    print(f"\n{options.resting / playing.whole_s:.0f} tables/s were created and played, {options.at_once} at a time.")
    return waking.faults


async def _live(options: argparse.Namespace) -> Counter[str]:
    async with running(_flags(options, 0)) as server:
        watch = Watch(server)
        # One for each host, so that all hosts are there before anything is counted.
        await table_life.create(server, options.actors_per_node, 1, Times(), table_life.nothing)
        await asyncio.sleep(table_life.SETTLE_S)
        stages = [await _stage("hosts are up", server, watch)]
        creating, joining = Times(), Times()
        _say(f"creating {options.live} tables")
        tables = await table_life.create(server, options.live, options.at_once, creating, table_life.nothing)
        await asyncio.sleep(table_life.SETTLE_S)
        stages.append(await _stage("live, nobody there", server, watch))
        rows = {"created (POST), ms": creating.created, "joined: join to live, ms": joining.live}
        _say(f"{len(tables) / creating.whole_s:.0f} tables/s; seating a client at each")
        async with table_life.seated(server, tables, options.at_once, joining) as visitors:
            await asyncio.sleep(table_life.SETTLE_S)
            stages.append(await _stage("one client at each", server, watch))
            work = await watch.processor(IDLE_S)
            done = 0
            for ops in options.ops:
                _say(f"up to {ops} ops at each")
                times = Times()
                await table_life.busy(visitors, ops - done, 8 * options.at_once, done, times)
                done = ops
                await asyncio.sleep(table_life.SETTLE_S)
                stages.append(await _stage(f"after {ops} ops at each", server, watch))
                rows[f"up to {ops} ops: op to ack, ms"] = times.acked
    _title(f"{options.live:,} tables live in {options.actors_per_node} hosts")
    print(memory_table(stages), growth_table(stages, options.live), work_table(work), speed_table(rows), sep="\n\n")
    print(f"\n{options.live / creating.whole_s:.0f} tables/s were created, {options.at_once} at a time.")
    return Counter()


async def _stage(name: str, server: Server, watch: Watch) -> Stage:
    return Stage(name, await watch.memory(), await asyncio.to_thread(stored.read, server.data_dir))


def _title(text: str) -> None:
    print(f"\n#### {text}\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
