"""The fight that is played when nothing else is asked for: a game master, four players, a few rounds.

The same seed gives the same fight, but for the dice, which the server rolls.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from undying.cli.demo.play import Blow, EndTurn, Play, Roll, Say, Turn, Voice
from undying.protocol.ids import Role

ROUNDS: Final = 7

_PLAYERS: Final = ("Mira", "Tam", "Ilse", "Bron")

_MOVES: Final = {
    "Mira": (("I put myself between it and the door.", "1d20+6"), ("Both hands on the axe. Down it comes.", "1d20+6")),
    "Tam": (("I roll under the table and come up behind it.", "2d20kh1+5"), ("Two knives, one target.", "1d20+7")),
    "Ilse": (("Light of the morning, be with us!", "1d20+4"), ("I raise the shield and hold the line.", "1d20+3")),
    "Bron": (("Stand back. This one is loud.", "8d6"), ("I weave the frost tighter around its legs.", "3d8+4")),
}
_SCENES: Final = (
    "Dust falls from the ceiling as the stone guardian turns its head.",
    "The guardian's fist comes down where you stood a heartbeat ago.",
    "Cracks run through its chest, and something behind them glows.",
    "It howls, a sound like a millstone, and charges.",
    "The floor gives way at the far end of the hall.",
    "One arm hangs by a thread of living rock now.",
    "It slows. Whatever moved it is running out.",
)


def fight(rng: random.Random, rounds: int = ROUNDS) -> Play:
    """Write a fight of so many rounds."""
    voices = (Voice("Game master", Role.GM), *(Voice(name) for name in _PLAYERS))
    return Play("The Hall of the Stone Guardian", voices, tuple(_turns(rng, rounds)), tuple(range(1, len(voices))))


def _turns(rng: random.Random, rounds: int) -> Iterator[Turn]:
    blow = 0
    for round_ in range(rounds):
        yield Turn(0, Say(_SCENES[round_ % len(_SCENES)]))
        for number, name in enumerate(_PLAYERS):
            words, dice = _MOVES[name][round_ % 2]
            yield Turn(number + 1, Say(words))
            yield Turn(number + 1, Roll(dice, f"{name}, round {round_ + 1}"))
            blow += 1
            hurt = rng.random() < 0.7
            delta = -rng.randint(2, 7) if hurt else rng.randint(3, 8)
            yield Turn(0, Blow(rng.randrange(len(_PLAYERS)), delta, f"{'hit' if hurt else 'healed'} ({blow})"))
            yield Turn(0, EndTurn())
    yield Turn(0, Say("The guardian falls. Nobody was lost, and neither was a word."))
