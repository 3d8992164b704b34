"""`undying demo`: starts a server, has it played and killed, prints the verdict.

stdout gets the verdict (one JSON document with `--json`), stderr the progress; on a terminal there is a live view instead.
Exit codes: 0 when every turn was acknowledged and nothing was lost, repeated or out of order; 1 when not, or when it could
not be played; 2 for a file that is no recorded session; 130 after Ctrl-C or SIGTERM. No process is left behind.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from undying.cli.demo.fight import fight
from undying.cli.demo.play import Play
from undying.cli.demo.recorded import read_session
from undying.cli.demo.stage import Stage
from undying.cli.demo.verdict import Verdict
from undying.cli.demo.view import shown, verdict
from undying.cli.own_server import OwnServer, serving

SEED: Final = 20
WATCHED_PACE_S: Final = 0.15
"""Between two turns of the fight when somebody watches; nothing is slept otherwise."""

PLAIN_WIDTH: Final = 100
"""Columns of what goes to a file or a pipe, which say nothing about theirs."""

INTERRUPTED: Final = 130


def demo(
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE.jsonl", help="Play a recorded session: lines of `speakers`, `text`.", dir_okay=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as one JSON document.")] = False,
) -> None:
    """Play a table while its processes get `kill -9`, and judge what its clients saw."""
    play = fight(random.Random(SEED)) if input_file is None else _read(input_file)
    watched = sys.stdout.isatty() and not as_json
    pace_s = WATCHED_PACE_S if watched and input_file is None else 0.0
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends the demo ends its server first
    try:
        judged = _run(play, watched, pace_s)
    except KeyboardInterrupt:
        _tell("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    if as_json:
        print(json.dumps(judged.to_json()))
    else:
        Console(width=None if watched else PLAIN_WIDTH).print(verdict(judged))
    raise typer.Exit(0 if judged.clean else 1)


def _read(path: Path) -> Play:
    try:
        return read_session(path)
    except (ValueError, OSError) as problem:
        raise typer.BadParameter(str(problem), param_hint="--input") from None


def _run(play: Play, watched: bool, pace_s: float) -> Verdict:
    _tell("starting a server of its own")
    with serving() as server:
        judged = asyncio.run(_perform(play, server, watched, pace_s))
        _tell("ending the server")
    return judged


async def _perform(play: Play, server: OwnServer, watched: bool, pace_s: float) -> Verdict:
    tell: Callable[[str], None] = _silent if watched else _tell
    stage = Stage(play, server, asyncio.get_running_loop().time, tell, pace_s)
    async with AsyncExitStack() as screen:
        if watched:
            await screen.enter_async_context(shown(stage, Console()))
        return await stage.perform()


def _tell(line: str) -> None:
    print(f"demo: {line}", file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    """Leave it to the screen."""
