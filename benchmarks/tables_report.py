"""What was measured of thousands of tables, as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.memory import ROLES, Reading
from benchmarks.rung import Spread
from benchmarks.stored import Stored

NAMES: Final = {"host": "hosts", "spares": "spares, empty hosts", "ray": "Ray's own", "store": "store (Valkey)"}
"""What a role is called where that is not clear from its own name."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A moment at which memory was looked at."""

    name: str
    memory: Reading
    stored: Stored


def memory_table(stages: Sequence[Stage]) -> str:
    """Show what each role held at each stage, in MB, with the number of its processes."""
    rows = []
    for role in ROLES:
        cells = [f"{each.memory.bytes[role] / 1e6:.1f} ({each.memory.processes[role]})" for each in stages]
        rows.append([NAMES.get(role, role), *cells])
    rows.append(["**all**", *(f"**{each.memory.total / 1e6:.1f}** ({sum(each.memory.processes.values())})" for each in stages)])
    return markdown(["PSS, MB (processes)", *(each.name for each in stages)], rows)


def growth_table(stages: Sequence[Stage], tables: int) -> str:
    """Show what each stage holds more than the first, in KB per table.

    The sum is without the store, whose figures follow, and without processes that stand empty: how many there are is a setting.
    """
    first, later = stages[0], stages[1:]
    rows = [
        [NAMES.get(role, role), *(_kb(each.memory.bytes[role] - first.memory.bytes[role], tables) for each in later)]
        for role in ROLES
    ]
    server = [each.memory.total - each.memory.bytes["store"] - each.memory.bytes["spares"] for each in stages]
    rows.append(["**all in which something lives**", *(f"**{_kb(held - server[0], tables)}**" for held in server[1:])])
    used = [each.stored.memory - first.stored.memory for each in later]
    rows.append(["in use in the store", *(_kb(held, tables) for held in used)])
    rows.append(["append-only file", *(_kb(each.stored.files - first.stored.files, tables) for each in later)])
    return markdown([f"KB per table, more than “{first.name}”", *(each.name for each in later)], rows)


def work_table(shares: Mapping[str, float]) -> str:
    """Show the shares of one core in % that roles use while nobody asks for anything."""
    shown = {role: share for role, share in shares.items() if role not in ("load", "others")}
    heads = ["% of one core, nobody asking", *(NAMES.get(role, role) for role in shown), "all"]
    return markdown(heads, [["", *(f"{100 * share:.1f}" for share in (*shown.values(), sum(shown.values())))]])


def speed_table(rows: Mapping[str, list[float]]) -> str:
    """Show the distribution of seconds as ms."""
    spreads = {name: (len(seconds), Spread.of(seconds)) for name, seconds in rows.items()}
    cells = [
        [name, str(count), *(f"{value:.1f}" for value in (spread.p50, spread.p99, spread.max))]
        for name, (count, spread) in spreads.items()
    ]
    return markdown(["", "n", "p50", "p99", "max"], cells)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _kb(held: int, tables: int) -> str:
    return f"{held / 1e3 / tables:.2f}"
