"""Runs an async test on the virtual clock: what it waits for costs no real time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

from tests.virtual_time import run_virtual

P = ParamSpec("P")

LIMIT_S: Final = 3_600.0


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a plain test of an async one."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs), limit_s=LIMIT_S)

    return run


async def quiet() -> None:
    """Return when everything that can run without the clock moving much has run."""
    await asyncio.sleep(0.001)
