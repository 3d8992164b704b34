"""What a server's embedded store holds: bytes in its memory, in its files, and of the keys of some tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from redis import Redis

from persistence.embedded_config import choose_address
from persistence.redis_format import checkpoints_key, journal_key


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes in the store's memory, and of its append-only files."""

    memory: int
    files: int


@dataclass(frozen=True, slots=True)
class Keys:
    """Bytes in the store's memory of one stream, on average: its journal and its checkpoints."""

    journal: float
    checkpoints: float


def read(data_dir: Path) -> Stored:
    """Ask the store of a data directory. Blocks."""
    with _client(data_dir) as client:
        info = cast(dict[str, Any], client.info("memory"))
    files = [each.stat().st_size for each in (data_dir / "store").glob("appendonlydir/*")]
    return Stored(int(info["used_memory"]), sum(files))


def read_keys(data_dir: Path, streams: Sequence[str]) -> Keys:
    """Ask how much each of these streams takes. Blocks."""
    with _client(data_dir) as client:
        journals = [_size(client, journal_key(stream)) for stream in streams]
        checkpoints = [_size(client, checkpoints_key(stream)) for stream in streams]
    count = max(1, len(streams))
    return Keys(sum(journals) / count, sum(checkpoints) / count)


def _size(client: Redis, key: bytes) -> int:
    # The default looks at five of a key's parts and guesses the rest.
    return client.memory_usage(key, samples=0) or 0


def _client(data_dir: Path) -> Redis:
    return Redis.from_url(choose_address(data_dir / "store").url)
