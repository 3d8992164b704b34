"""What the demo says at its end: the judge's findings, the turns that were played, and how long each kill was felt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from undying.loadtest.history import Notes
from undying.loadtest.recovery import Killed, Recovery, recovery
from undying.loadtest.verdict import check
from undying.protocol.data import JsonObject


@dataclass(frozen=True, slots=True)
class Verdict:
    """See the module. `turns` of the play, `acked` of them, `other_acked` ops beside the play; `examples` of the faults."""

    turns: int
    acked: int
    other_acked: int
    lost: int
    repeated: int
    out_of_order: int
    kills: tuple[Recovery, ...]
    examples: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Tell whether every turn was acknowledged and nothing was lost, repeated or out of order."""
        return self.acked == self.turns and not (self.lost or self.repeated or self.out_of_order)

    @property
    def gaps_ms(self) -> tuple[float, float] | None:
        """Return the median and the worst of `live_ms`."""
        gaps = [kill.live_ms for kill in self.kills if kill.live_ms is not None]
        return (round(median(gaps), 1), max(gaps)) if gaps else None

    def to_json(self) -> JsonObject:
        """Return it as plain data."""
        gaps = self.gaps_ms
        return {
            "turns": self.turns,
            "acked": self.acked,
            "other_acked": self.other_acked,
            "lost": self.lost,
            "repeated": self.repeated,
            "out_of_order": self.out_of_order,
            "kills": [kill.to_json() for kill in self.kills],
            "gap_ms": None if gaps is None else {"median": gaps[0], "worst": gaps[1]},
        }


def judge(notes: Sequence[Notes], turns: int, other: int, kills: Sequence[Killed]) -> Verdict:
    """Judge a demo of so many turns, by what its clients wrote down. `other`: how many ops beside the play succeeded."""
    found = check(notes)
    acks = sorted((ack for each in notes for ack in each.acks), key=lambda ack: ack.acked_s)
    return Verdict(
        turns=turns,
        acked=found.acked - other,
        other_acked=other,
        lost=len(found.lost),
        repeated=len(found.repeated),
        out_of_order=len(found.out_of_order),
        kills=tuple(recovery(kill, acks) for kill in kills),
        examples=found.examples,
    )
