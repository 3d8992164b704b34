"""`undying status --watch`: the tree, and below it what ended last, drawn again and again.

    answered ⇄ silent (the last picture stays, with since when nobody answers)

Who watches wants to see most when something is wrong. So the end of a gateway, of the tracker or of the whole server changes
what is shown and never ends the watch; only a token that is not good does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from undying.cli import endings, tree
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError

WATCH_S: Final = 0.5
"""Seconds between two looks."""
ANSWER_S: Final = 3.0
"""Seconds that a watched server has to answer: above what the supervisors have to tell about their children."""
HISTORY_AGAIN_S: Final = 5.0
"""Seconds until a tracker that did not answer is asked again: waiting for it would hold up the tree."""
HISTORY_MAX: Final = 50
ENDINGS_MIN: Final = 3
"""Endings that have room below a tree that is larger than the screen."""
ROWS_MIN: Final = 5
WAYS_MAX: Final = 3


class Watched(Protocol):
    """What is asked of a server (`Management`). Raises UndyingError."""

    def status(self) -> JsonObject:
        """Return `{url, actors}`."""
        ...

    def endings(self, limit: int) -> JsonObject:
        """Return `{history, lost}`."""
        ...


@dataclass
class Picture:
    """What was seen last. Times are in seconds since 1970; `silent_s` is since when the server does not answer."""

    status: JsonObject = field(default_factory=dict)
    history: list[JsonObject] = field(default_factory=list)
    silent_s: float | None = None
    problem: str = ""
    history_problem: str = ""
    history_due_s: float = 0.0

    def look(self, server: Watched, now: Callable[[], float]) -> None:
        """Look once. Raises UndyingError when the token is not good."""
        asked_s = now()
        try:
            self.status = server.status()
            self.silent_s = None
        except UndyingError as problem:
            if problem.failure.code in (Code.NOT_AUTHENTICATED, Code.FORBIDDEN):
                raise
            self.silent_s = self.silent_s or asked_s
            self.problem = problem.failure.message
            return
        if asked_s < self.history_due_s:
            return
        try:
            rows = server.endings(HISTORY_MAX).get("history")
            self.history = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
            self.history_problem = ""
        except UndyingError as problem:
            self.history_problem = problem.failure.message
            self.history_due_s = asked_s + HISTORY_AGAIN_S

    def draw(self, height: int, now_s: float) -> RenderableType:
        """Draw it for a screen of so many lines."""
        ways = tree.ways_out(self.status)[:WAYS_MAX]
        notes = self._notes(now_s)
        rows = tree.count(self.status)
        # A title, a heading and an empty line for the tree, a heading for the endings, and the cursor's line.
        room = height - 5 - len(ways) - len(notes)
        shown = min(rows, max(ROWS_MIN, room - min(ENDINGS_MIN, len(self.history))))
        drawn: list[RenderableType] = [tree.table(self.status, shown)]
        drawn += [Text(way, style="red", no_wrap=True, overflow="ellipsis") for way in ways]
        if room > shown and self.history:
            drawn += [Text(), endings.table(self.history[: room - shown], int(now_s * 1000))]
        return Group(*drawn, *(Text(note, style="bold red", no_wrap=True, overflow="ellipsis") for note in notes))

    def _notes(self, now_s: float) -> list[str]:
        if self.silent_s is not None:
            since, for_s = endings.when(self.silent_s * 1000, int(now_s * 1000)), now_s - self.silent_s
            return [f"the server does not answer since {since} ({for_s:.0f} s): {self.problem}"]
        return [f"no news of what ended: {self.history_problem}"] if self.history_problem else []


def watch(server: Watched) -> None:
    """Draw until Ctrl-C. Raises UndyingError when the server does not answer the first time, or the token is not good."""
    console, picture = Console(), Picture(server.status())
    try:
        with Live(picture.draw(console.height, time.time()), console=console, auto_refresh=False) as live:
            while True:
                picture.look(server, time.time)
                live.update(picture.draw(console.height, time.time()), refresh=True)
                time.sleep(WATCH_S)
    except KeyboardInterrupt:
        return
