"""What ended in a server, drawn as a table: pure functions from the rows of `GET /v1/history` to what rich prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final

from rich.markup import escape
from rich.table import Table

from undying.protocol.data import Json, JsonObject

DETAIL_MAX: Final = 80
"""Characters of what is told about how something ended."""
STYLES: Final = {"quarantined": "bold red", "failed": "bold red", "restart": "yellow"}


def table(rows: Sequence[JsonObject], now_ms: int, zone: tzinfo | None = None) -> Table:
    """Draw endings, a line each. Times are those of `zone`, by default of this machine."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("ended", "actor", "nth", "how", "then", "where"):
        drawn.add_column(name, justify="right" if name == "nth" else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        nth = row.get("nth")
        style = STYLES.get(str(row.get("decided")), "")
        decided = escape(then(row))
        drawn.add_row(
            when(row.get("at_ms"), now_ms, zone),
            escape(str(row.get("id", ""))),
            f"{nth}." if isinstance(nth, int) else "",
            escape(_how(row)),
            f"[{style}]{decided}[/{style}]" if style else decided,
            escape(_where(row)),
        )
    return drawn


def when(at_ms: Json, now_ms: int, zone: tzinfo | None = None) -> str:
    """Return the time of day of a moment, with the day before it when it is another one."""
    if not isinstance(at_ms, int | float):
        return ""
    at, now = (datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone) for ms in (at_ms, now_ms))
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%Y-%m-%d %H:%M:%S")


def then(row: JsonObject) -> str:
    """Say what its supervisor decided."""
    decided, after_s = row.get("decided"), row.get("after_s")
    if decided != "restart":
        return str(decided or "")
    return f"restart after {after_s:.2g} s" if isinstance(after_s, int | float) and after_s > 0 else "restart at once"


def _how(row: JsonObject) -> str:
    parts = [str(row.get(name) or "") for name in ("reason", "detail")]
    return ": ".join(part for part in parts if part)[:DETAIL_MAX]


def _where(row: JsonObject) -> str:
    parts = [str(row.get(name) or "") for name in ("where", "node")]
    return " on ".join(part for part in parts if part)
