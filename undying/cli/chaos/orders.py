"""How a process of a server is told to break: both ends. The product has none of this; only the wiring of `undying chaos` does.

Each process that runs a program listens on a Unix socket named by its pid in the run directory, takes one order a connection
and answers it before it is carried out:

    fail    a task that the process can't go on without ends by an exception
    hog     memory is taken, a step at a time, until somebody kills the process or `HOG_BYTES_MAX` is reached

A *failing start* is ordered beforehand, of a program and not of a process: a file per start that is to fail, in the same
directory. Whoever removes one, which only one process can, has to fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from undying.cli.datadir import run_directory
from undying.protocol.errors import Code, error

FAIL: Final = "fail"
HOG: Final = "hog"
TAKEN: Final = b"taken\n"
ANSWER_S: Final = 10.0

HOG_STEP_BYTES: Final = 8 * 1024 * 1024
HOG_STEP_S: Final = 0.05
HOG_BYTES_MAX: Final = 2048 * 1024 * 1024


def place(data_dir: Path) -> Path:
    """Return where the sockets and the files for failing starts are."""
    return run_directory(data_dir) / "chaos"


async def listen(where: Path, pid: int, orders: Mapping[str, Callable[[], None]]) -> asyncio.Server:
    """Take orders as the process `pid`; each is carried out by the function of its name. `where` is there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carry_out = orders.get((await reader.readline()).decode().strip())
        if carry_out is not None:
            writer.write(TAKEN)
            await writer.drain()
            carry_out()
        writer.close()

    return await asyncio.start_unix_server(serve, where / str(pid))


async def give(where: Path, pid: int, order: str) -> None:
    """Give a process an order; returns when it was taken. Raises UndyingError UNAVAILABLE when it is not."""
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(where / str(pid))
            writer.write(f"{order}\n".encode())
            answer = await reader.readline()
            writer.close()
    except (OSError, TimeoutError) as problem:
        raise error(Code.UNAVAILABLE, f"process {pid} takes no orders: {problem}") from problem
    if answer != TAKEN:
        raise error(Code.UNAVAILABLE, f"process {pid} does not know the order {order}")


def let_starts_fail(where: Path, program: str, times: int) -> None:
    """Let the next so many starts of a program fail."""
    where.mkdir(mode=0o700, exist_ok=True)
    for number in range(times):
        (where / f"{program}-{number}").touch()


def must_fail(where: Path, program: str) -> bool:
    """Tell whether the start that is under way has to fail; each order counts once."""
    for path in where.glob(f"{program}-*"):
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        return True
    return False


def withdraw(where: Path, program: str) -> int:
    """Let no further start fail; returns how many that were to fail did not come about."""
    left = 0
    while must_fail(where, program):
        left += 1
    return left
