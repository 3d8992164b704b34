"""How safe a journal entry is by the time it is acknowledged."""

from __future__ import annotations

from enum import StrEnum


class Durability(StrEnum):
    """What an acknowledgement means.

    `MEMORY`: the store has it in memory, nothing is on disk. `EVERYSEC`: it is on disk within about a second. `ALWAYS`: it
    is on disk. `REPLICATED`: it is on the disk of the store and of one replica (Redis or Valkey from 7.2 on).
    The first three are the store server's own configuration; the last one is asked for with every write.
    """

    MEMORY = "memory"
    EVERYSEC = "everysec"
    ALWAYS = "always"
    REPLICATED = "replicated"
