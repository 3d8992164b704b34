"""The restarts of one child, for the policy to count and for people to read. Bounded: the oldest are forgotten, not the sum."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from actors.runtime import Exit
from undying.protocol.data import JsonObject

KEPT_MAX: Final = 64
"""Endings that are kept. Above any intensity's count, or the policy could not count that far."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A child ended: when (seconds of the supervisor's clock), where, how."""

    at_s: float
    where: str
    exit: Exit


class History:
    """The last endings of one child, oldest first, and how many there were in all."""

    def __init__(self) -> None:
        self.total = 0
        self._kept: deque[Ended] = deque(maxlen=KEPT_MAX)

    def add(self, ended: Ended) -> None:
        """Note an ending."""
        self.total += 1
        self._kept.append(ended)

    def since(self, at_s: float) -> int:
        """Count the endings after a moment, as far as they are kept."""
        return sum(1 for ended in self._kept if ended.at_s > at_s)

    def forget(self) -> None:
        """Start to count anew; the sum stays."""
        self._kept.clear()

    def last(self) -> Ended | None:
        """Return the latest ending."""
        return self._kept[-1] if self._kept else None

    def rows(self, now: float) -> list[JsonObject]:
        """Return the kept endings as plain data, latest first, each with how many ms ago it was."""
        return [_row(ended, now) for ended in reversed(self._kept)]


def last_exit(history: History, now: float) -> JsonObject | None:
    """Return the latest ending as plain data, None when there is none."""
    last = history.last()
    return None if last is None else _row(last, now)


def _row(ended: Ended, now: float) -> JsonObject:
    return {
        "ago_ms": round((now - ended.at_s) * 1000, 3),
        "where": ended.where,
        "reason": ended.exit.reason,
        "detail": ended.exit.detail,
    }
