"""What a table of entities has to know of the past: kept apart from it, and compared with what it wants and answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from supervision.entity_events import (
    Activate,
    Activated,
    Asked,
    Crashed,
    Event,
    HostGone,
    Leaving,
    Left,
    NotActivated,
    Readmitted,
    Released,
    SetBack,
)
from supervision.entity_table import FAILED_S, Entity, EntityTable
from supervision.spec import ChildSpec


@dataclass
class Memory:
    """Of each entity: the host that it has just lost, whether it may have killed that, its endings, when it failed."""

    spec: ChildSpec
    lost: dict[str, str] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)
    endings: Counter[str] = field(default_factory=Counter)
    failed_s: dict[str, float] = field(default_factory=dict)
    _back: defaultdict[str, bool] = field(default_factory=lambda: defaultdict(bool))

    def hear(self, event: Event, table: EntityTable) -> None:
        """Note an event that the table is about to be told."""
        if isinstance(event, HostGone | Leaving):
            for lives in [each for each in table.entities.values() if each.home is not None and each.home.host == event.host]:
                self.lost[lives.stream] = event.host
                if isinstance(event, HostGone):
                    self._ended(lives.stream, guilty=event.exit.reason != "stopped")
        if isinstance(event, HostGone | Leaving | Left):
            return
        entity = table.entities.get(event.stream)
        match event:
            case Crashed(stream, attempt, host, _, guilty) if attempt == (entity.attempt if entity else 0):
                self._ended(stream, guilty=guilty and not self._back[stream])
                if not self._back[stream]:
                    self.lost[stream] = host
            case Activated(stream, attempt) if attempt == (entity.attempt if entity else 0):
                self._forget(stream)
                if self._back[stream]:
                    del self.endings[stream]
            case Readmitted(stream) | SetBack(_, stream) if entity is not None and is_ill(entity):
                self.suspects.add(stream)
                self.lost.pop(stream, None)
                if isinstance(event, Readmitted):
                    del self.endings[stream]
            case Released(stream) | Asked(_, stream):
                if entity is None or isinstance(event, Released) or is_ill(entity):
                    self.lost.pop(stream, None)

    def compare(self, event: Event, now_s: float, table: EntityTable) -> None:
        """Look at the table after an event."""
        for entity in table.entities.values():
            was_set_back, self._back[entity.stream] = self._back[entity.stream], entity.back is not None
            if entity.state == "quarantined":
                assert self.endings[entity.stream] > self.spec.intensity.restarts, f"too early: {entity}"
            outcome = isinstance(event, NotActivated) and event.stream == entity.stream
            if outcome and entity.state == "failed" and not was_set_back:
                self.failed_s[entity.stream] = now_s
        for stream in {*self.endings, *self.suspects, *self.lost} - table.entities.keys():
            self._forget(stream)
            del self.endings[stream]

    def compare_activation(self, new: Activate, event: Event, entity: Entity) -> None:
        """Look at an activation that the table wants after an event."""
        assert new.create == any(asked.create for asked in entity.waiting.values())
        if new.on is not None:
            return
        assert new.suspect == (new.stream in self.suspects), f"suspect or not: {new}"
        if new.stream in self.lost:
            assert new.avoid == self.lost[new.stream], f"it would come back to where it was: {new}"
        if isinstance(event, Released):
            assert not new.avoid, f"what it was to avoid is long ago: {new}"

    def is_left_alone(self, entity: Entity, now_s: float) -> bool:
        """Tell whether those who ask for an entity are to be refused at once."""
        since_s = self.failed_s.get(entity.stream, 0.0)
        return entity.state == "quarantined" or (entity.state == "failed" and now_s < since_s + FAILED_S)

    def _ended(self, stream: str, *, guilty: bool) -> None:
        self.endings[stream] += 1
        if guilty:
            self.suspects.add(stream)

    def _forget(self, stream: str) -> None:
        self.lost.pop(stream, None)
        self.suspects.discard(stream)
        self.failed_s.pop(stream, None)


def is_ill(entity: Entity) -> bool:
    """Tell whether an entity waits for a person."""
    return entity.state in ("quarantined", "failed")
