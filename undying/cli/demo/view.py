"""The demo as people watch it: the table, the actors, and a timeline of the kills; drawn anew some times a second.

Pure functions from what is known to what rich draws, and one task that looks and draws. Fits 100 × 30 and grows from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from undying.cli.demo.stage import Stage
from undying.cli.demo.verdict import Verdict
from undying.cli.tree import STYLES
from undying.client.table import Table
from undying.loadtest.recovery import Recovery
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import UndyingError

DRAW_S: Final = 0.1
STATUS_EVERY: Final = 5
"""Drawings from one look at the server's status to the next."""

KINDS: Final = ("session", "character", "gateway", "spare")
LINES_MAX: Final = 14
HARD: Final = "\N{NO-BREAK SPACE}"
"""Holds together what one person's entry consists of."""

BAR_CELLS: Final = 24
SLOW_MS: Final = 250.0
"""A gap that fills the bar of the timeline; DESIGN wants none to be longer."""


@asynccontextmanager
async def shown(stage: Stage, console: Console) -> AsyncIterator[None]:
    """Show the stage on the whole screen for as long as the block lasts."""
    with Live(_screen(stage, []), console=console, screen=True, auto_refresh=False) as live:
        task = asyncio.create_task(_keep_drawing(stage, live))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _keep_drawing(stage: Stage, live: Live) -> None:
    rows: list[JsonObject] = []
    looks = 0
    while True:
        if looks % STATUS_EVERY == 0:
            with suppress(UndyingError):  # the gateway is away for a moment: what was known stays on the screen
                rows = await stage.killer.status()
        looks += 1
        live.update(_screen(stage, rows), refresh=True)
        await asyncio.sleep(DRAW_S)


def _screen(stage: Stage, rows: Sequence[JsonObject]) -> Layout:
    layout = Layout()
    layout.split_column(Layout(_header(stage), size=3), Layout(name="middle"), Layout(name="kills", size=7))
    layout["middle"].split_row(
        Layout(Panel(_table(stage), title="table", border_style="cyan"), ratio=5),
        Layout(Panel(actors(rows, _labels(stage)), title="actors", border_style="cyan"), ratio=4),
    )
    layout["kills"].update(
        Panel(timeline(stage.recoveries()), title="kill -9 … noticed … next acknowledgement", border_style="red")
    )
    return layout


def _header(stage: Stage) -> Panel:
    turns = len(stage.play.turns)
    grid = Grid.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    state = f"{stage.turn:,}/{turns:,} turns" if stage.turn else "getting ready"
    grid.add_row(Text(stage.play.name, style="bold"), ProgressBar(total=turns, completed=stage.turn), state)
    return Panel(grid, title="undying demo", border_style="cyan")


def _table(stage: Stage) -> RenderableType:
    if not stage.tables:
        return Text("clients are taking their seats …", style="dim")
    leader = stage.tables[0]
    people = Text()
    for number, (voice, table) in enumerate(zip(stage.play.voices, stage.tables, strict=False)):
        live = table.status == "live"
        people.append(f"●{HARD}" if live else f"◌{HARD}", style="green" if live else "bold yellow")
        people.append(voice.name.replace(" ", HARD), style="bold" if number == 0 else "")
        people.append(f"{HARD}{hit_points}" if (hit_points := _hit_points(stage, number)) else "", style="dim")
        people.append("  ")
    return Group(people, Text(""), *_lines(leader))


def _hit_points(stage: Stage, number: int) -> str:
    if number not in stage.play.characters[: len(stage.characters)]:
        return ""
    character = stage.characters[stage.play.characters.index(number)]
    hp = stage.tables[0].state.sheet(character).get("hp")
    return f"{hp['current']}/{hp['max']}" if isinstance(hp, dict) else ""


def _lines(leader: Table) -> list[Text]:
    """Return the last chat lines and rolls, oldest first, one row each."""
    said = [line for line in [*leader.state.chat[-LINES_MAX:], *leader.state.dice[-LINES_MAX:]] if isinstance(line, dict)]
    said.sort(key=_at)
    return [_line(line, leader.state.members) for line in said[-LINES_MAX:]]


def _at(line: JsonObject) -> int:
    at = line.get("at")
    return at if isinstance(at, int) else 0


def _line(line: JsonObject, members: JsonObject) -> Text:
    member = members.get(str(line.get("by")))
    name = str(member.get("name", "")) if isinstance(member, dict) else ""
    row = Text(no_wrap=True, overflow="ellipsis")
    row.append(f"{name}: ", style="bold cyan")
    if "expr" in line:
        return row.append(f"rolls {line['expr']} → {line.get('total', '?')}", style="magenta")
    return row.append(" ".join(str(line.get("text", "")).split()))


def _labels(stage: Stage) -> dict[str, str]:
    labels = {table.stream: "session" for table in stage.tables[:1]}
    for character, voice in zip(stage.characters, stage.play.characters, strict=False):
        labels[f"character:{character}"] = f"character {stage.play.voices[voice].name}"
    return labels


def actors(rows: Sequence[JsonObject], labels: Mapping[str, str]) -> Grid:
    """Draw what is alive, in the order of `KINDS`, by its label or else its id: entities without a label are not the play's."""
    grid = Grid(box=None, expand=True, pad_edge=False, header_style="dim")
    grid.add_column("actor", no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column("state", no_wrap=True)
    for name in ("pid", "epoch", "×"):
        grid.add_column(name, justify="right", no_wrap=True)
    ours = [row for row in rows if row.get("id") in labels or row.get("kind") in ("gateway", "spare")]
    for row in sorted(ours, key=lambda row: KINDS.index(str(row["kind"]))):
        state = str(row.get("state"))
        cells = [_cell(row.get(name)) for name in ("pid", "epoch", "restarts")]
        grid.add_row(Text(labels.get(str(row["id"]), str(row["id"]))), Text(state, style=STYLES.get(state, "")), *cells)
    return grid


def timeline(recoveries: Sequence[Recovery]) -> RenderableType:
    """Draw the kills: a bar each, from the kill by the moment it was noticed to the next acknowledgement."""
    if not recoveries:
        return Text("nobody was killed yet", style="dim")
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for cells in (BAR_CELLS + 1, len("noticed 1,234.5 ms"), len("live 1,234.5 ms")):
        grid.add_column(no_wrap=True, min_width=cells)
    for each in recoveries:
        grid.add_row(each.id, _bar(each), f"noticed {_ms(each.noticed_ms)}", Text(f"live {_ms(each.live_ms)}", style="bold"))
    return grid


def _bar(each: Recovery) -> Text:
    live_ms = SLOW_MS if each.live_ms is None else each.live_ms
    cells = min(BAR_CELLS, max(2, round(live_ms / SLOW_MS * BAR_CELLS)))
    dead = min(cells - 1, max(1, round((each.noticed_ms or 0.0) / SLOW_MS * BAR_CELLS)))
    bar = Text("━" * dead, style="red")
    bar.append("━" * (cells - dead), style="yellow")
    return bar.append("●" if each.live_ms is not None else "…", style="bold green")


def _ms(value: float | None) -> str:
    return "…" if value is None else f"{value:,.1f} ms"


def _cell(value: Json) -> str:
    return "–" if value is None else str(value)


def verdict(judged: Verdict) -> RenderableType:
    """Draw the end: the kills, the counts, and what they say."""
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row("turns acknowledged", f"{judged.acked:,} of {judged.turns:,}")
    for name, count in (("lost", judged.lost), ("repeated", judged.repeated), ("out of order", judged.out_of_order)):
        grid.add_row(name, Text(f"{count:,}", style="bold red" if count else "bold green"))
    gaps = judged.gaps_ms
    if gaps is not None:
        grid.add_row("from kill to next ack", f"median {_ms(gaps[0])}, worst {_ms(gaps[1])}")
    said = Text("Nothing was lost.", style="bold green") if judged.clean else Text("The promise was broken.", style="bold red")
    return Group(timeline(judged.kills), Text(""), grid, Text(""), said, *(Text(each, style="red") for each in judged.examples))
