"""The composition root of a server that can be broken: the real one (`undying.cli.wiring`), each program in a wrapper."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from actors.rules import Rules
from actors.runtime import Builder, Inside, Running, Wiring
from undying.cli.chaos import orders
from undying.cli.chaos.sabotage import Breakable, BreakableRules
from undying.cli.wiring import WIRING as REAL
from undying.protocol.data import JsonObject


async def _build(program: str, builder: Builder, settings: JsonObject, inside: Inside) -> Running:
    built = builder(settings, inside)
    running = await built if inspect.isawaitable(built) else built
    return Breakable(program, running, orders.place(Path(str(settings["data_dir"]))))


async def _build_host(settings: JsonObject, inside: Inside) -> Running:
    from undying.cli.wiring.host import RULES, build_host  # what only a host needs

    rules = {kind: cast(Rules[Any], BreakableRules(each)) for kind, each in RULES.items()}
    return await build_host(settings, inside, rules)


WIRING: Final[Wiring] = {
    program: partial(_build, program, _build_host if program == "host" else builder) for program, builder in REAL.items()
}
