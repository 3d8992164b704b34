"""A recorded session as a play: lines of JSON with `speakers` and `text`, a client per (first) speaker.

Each line is one chat line of its first speaker; what is longer than a chat line may be becomes several. Who speaks most leads.
Bounds: `LINE_BYTES_MAX`, `TURNS_MAX`, `VOICES_MAX`; past one of them, or when a line is not of that shape, the file is refused
with the number of the line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from undying.cli.demo.play import CHARACTERS_MAX, TURNS_MIN, Play, Say, Turn, Voice
from undying.protocol.data import Json
from undying.protocol.fields import NAME_MAX, TEXT_MAX, encodable
from undying.protocol.ids import Role

LINE_BYTES_MAX: Final = 1024 * 1024
TURNS_MAX: Final = 100_000
VOICES_MAX: Final = 64


def read_session(path: Path) -> Play:
    """Read a file. Raises ValueError, for a person to read, when it is not a recorded session; OSError."""
    spoken: list[tuple[str, str]] = []
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            try:
                spoken.extend(_turns_of(line))
            except ValueError as problem:
                raise ValueError(f"{path.name}, line {number}: {problem}") from None
            if len(spoken) > TURNS_MAX:
                raise ValueError(f"{path.name}: more than {TURNS_MAX} turns")
    if len(spoken) < TURNS_MIN:
        raise ValueError(f"{path.name}: {len(spoken)} turns; three kills need at least {TURNS_MIN}")
    return _cast(path.stem, spoken)


def _turns_of(line: bytes) -> Iterator[tuple[str, str]]:
    """Give the turns of one line; none for an empty one. Raises ValueError."""
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"longer than {LINE_BYTES_MAX} bytes")
    if not line.strip():
        return
    try:
        turn: Json = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    speakers = turn.get("speakers") if isinstance(turn, dict) else None
    text = turn.get("text") if isinstance(turn, dict) else None
    if not isinstance(speakers, list) or not speakers or not isinstance(speakers[0], str):
        raise ValueError("has no `speakers`, a list of names")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("has no `text`")
    name = encodable(speakers[0])
    if not name.strip() or len(name) > NAME_MAX:
        raise ValueError(f"a speaker's name has 1 to {NAME_MAX} characters")
    encodable(text)
    parts = (text[start : start + TEXT_MAX] for start in range(0, len(text), TEXT_MAX))
    yield from ((name, part) for part in parts if part.strip())


def _cast(name: str, spoken: list[tuple[str, str]]) -> Play:
    shares = Counter(speaker for speaker, _ in spoken)
    if len(shares) > VOICES_MAX:
        raise ValueError(f"{len(shares)} speakers; a demo seats {VOICES_MAX}")
    names = [speaker for speaker, _ in shares.most_common()]
    numbers = {speaker: number for number, speaker in enumerate(names)}
    voices = tuple(Voice(each, Role.PLAYER if number else Role.GM) for number, each in enumerate(names))
    turns = tuple(Turn(numbers[speaker], Say(text)) for speaker, text in spoken)
    players = range(1, min(len(voices), CHARACTERS_MAX + 1))
    return Play(name[:NAME_MAX] or "A recorded session", voices, turns, tuple(players) or (0,))
