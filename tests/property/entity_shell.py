"""The rest of a supervisor of entities, played: hosts, places, pauses and news that come in any order, or never.

It carries out what an `EntityTable` wants, hands the outcomes back when it is told to, and holds the table to its word after
each step. Nothing here is drawn at random: a number chooses the next step among those that are possible.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from actors.runtime import Exit, Program
from supervision.entity_events import (
    Activate,
    Activated,
    Answer,
    Asked,
    Crashed,
    Due,
    Event,
    Expired,
    Home,
    HostGone,
    Instruction,
    Leaving,
    Left,
    NotActivated,
    Pause,
    Readmitted,
    Record,
    Refuse,
    Release,
    Released,
    Rested,
    SetBack,
    Watch,
)
from supervision.entity_table import Entity, EntityTable
from supervision.spec import ChildSpec, Intensity
from tests.property.entity_invariants import check_activation, check_entity, check_release, check_step
from tests.property.entity_memory import Memory
from undying.protocol.errors import Code, Failure
from undying.protocol.position import Position

STREAMS: Final = ("session:a", "session:b")
CODES: Final = (Code.DATABASE_UNAVAILABLE, Code.OVERLOADED, Code.DATA_DAMAGED, Code.NOT_FOUND)
OUTCOMES: Final = ("alive", "alive", "alive", "refused", "refused", "crashed", "lost", "late")
STEPS: Final = {
    "outcome": 12,
    **dict.fromkeys(("due", "release", "gone", "tell", "left", "avoid"), 4),
    **dict.fromkeys(("rest", "create"), 3),
    **dict.fromkeys(("leave", "kill", "expire", "ask", "time", "readmit", "back", "again"), 1),
}
"""What may happen, and how often of all that is possible."""
SPEC: Final = ChildSpec("entity", Program("host"), intensity=Intensity(3, 60.0))


@dataclass(eq=False)
class Work:
    """Something that the table wants and that is not done yet: an activation has its host, a pause its end."""

    wanted: Activate | Pause | Release
    host: str = ""
    due_s: float = 0.0


@dataclass
class Shell:
    """See the module. A host that is not in `hosts` is dead; `lives` is where an entity was brought to life last."""

    now: float = 0.0
    hosts: dict[str, str] = field(default_factory=lambda: dict.fromkeys(("h1", "h2"), "up"))
    places: dict[str, str] = field(default_factory=dict)
    lives: dict[str, Home] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)
    watched: set[str] = field(default_factory=set)
    gone: list[HostGone] = field(default_factory=list)
    given_up: set[str] = field(default_factory=set)
    tales: list[Event] = field(default_factory=list)
    open: dict[int, Asked] = field(default_factory=dict)
    answered: dict[int, Answer | Refuse] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    hosts_made: int = 2
    tickets: int = 0

    def __post_init__(self) -> None:
        self.table = EntityTable(SPEC, random.Random(1))
        self.memory = Memory(SPEC)

    def steps(self) -> list[str]:
        """Return what may happen now, each as often as it weighs."""
        kinds = {type(work.wanted) for work in self.works}
        possible: dict[str, object] = {
            "outcome": Activate in kinds,
            "due": Pause in kinds,
            "release": Release in kinds,
            "gone": self.gone,
            "tell": self.tales,
            "left": "draining" in self.hosts.values(),
            "rest": self.lives,
            "leave": "up" in self.hosts.values(),
            "kill": self.hosts,
            "expire": self.open,
        }
        return [step for step, weight in STEPS.items() if possible.get(step, True) for _ in range(weight)]

    def act(self, number: int) -> None:
        """Let something happen: the number chooses what, and to whom."""
        steps = self.steps()
        pick, which = divmod(number, len(steps))
        self.log.append(f"{steps[which]} {pick}")
        self.do(steps[which], pick)

    def do(self, step: str, pick: int) -> None:
        """Take a step that may be taken now; `pick` chooses to whom it happens."""
        stream = STREAMS[pick % len(STREAMS)]
        match step:
            case "ask" | "create":
                self.ask(stream, create=step == "create")
            case "avoid":
                home = self.home(stream)
                self.ask(stream, avoid=home.host if home else "h1")
            case "outcome":
                self.end_activation(self.one_work(Activate, pick), OUTCOMES[pick // 8 % len(OUTCOMES)], pick)
            case "due":
                self.end(self.one_work(Pause, pick))
            case "release":
                self.end(self.one_work(Release, pick))
            case "gone":
                self.tell(self.gone.pop(pick % len(self.gone)))
            case "tell":
                self.tell(self.tales.pop(pick % len(self.tales)))
            case "left":
                draining = [host for host, state in self.hosts.items() if state == "draining"]
                self.empty(draining[pick % len(draining)])
            case "rest":
                rests = list(self.lives)[pick % len(self.lives)]
                home = self.lives.pop(rests)
                self.tales.append(Rested(rests, home.host, home.epoch))
            case "leave":
                up = [host for host, state in self.hosts.items() if state == "up"]
                self.hosts[up[pick % len(up)]] = "draining"
                self.tell(Leaving(up[pick % len(up)]))
            case "kill":
                self.kill(list(self.hosts)[pick % len(self.hosts)], "killed")
            case "expire":
                ticket, asked = list(self.open.items())[pick % len(self.open)]
                del self.open[ticket]
                self.tell(Expired(asked.stream, ticket))
            case "time":
                self.now += (0.1, 1.0, 5.0, 20.0)[pick % 4]
            case "readmit":
                self.tell(Readmitted(stream))
            case "back":
                self.set_back(stream)
            case "again":
                self.start_again()

    def one_work(self, kind: type, pick: int) -> Work:
        """Choose one of the things that are under way."""
        works = [work for work in self.works if isinstance(work.wanted, kind)]
        return works[pick % len(works)]

    # -- what the table is told -------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Hand the table an event, do what it wants, and hold it to its word."""
        if isinstance(event, HostGone | Leaving):
            self.given_up.add(event.host)
        before = {stream: entity.state for stream, entity in self.table.entities.items()}
        homes = {stream: entity.home for stream, entity in self.table.entities.items()}
        current = {stream: entity.attempt for stream, entity in self.table.entities.items()}
        self.memory.hear(event, self.table)
        for instruction in self.table.handle(event, self.now):
            if isinstance(instruction, Activate):
                self.memory.compare_activation(instruction, event, self.table.entities[instruction.stream])
            self.carry_out(instruction)
        self.memory.compare(event, self.now, self.table)
        check_step(event, before, homes, current, self.table)
        for entity in self.table.entities.values():
            check_entity(entity, [work.wanted for work in self.works], self.open, self.watched)
            if entity.home is not None and self.hosts.get(entity.home.host) == "up":
                assert self.places.get(entity.stream) == entity.home.host, "its place was given back under it"
        waiting = [ticket for entity in self.table.entities.values() for ticket in entity.waiting]
        assert sorted(waiting) == sorted(self.open), "a caller is forgotten, or one that went away is not"

    def ask(self, stream: str, *, create: bool = False, avoid: str = "") -> int:
        """Ask for an entity; return the ticket."""
        self.tickets += 1
        asked = self.open[self.tickets] = Asked(self.tickets, stream, create, avoid)
        entity = self.table.entities.get(stream)
        refuses = entity is not None and self.memory.is_left_alone(entity, self.now)
        failure = entity.failure if entity is not None else None
        self.tell(asked)
        if refuses:
            assert failure is not None
            assert self.answered.get(asked.ticket) == Refuse(asked.ticket, failure)
        assert not avoid or self.answered.get(asked.ticket) != Answer(asked.ticket, avoid), "it was seen to fail there"
        return asked.ticket

    def set_back(self, stream: str) -> None:
        """Have an entity rolled back: refused unless it is left alone, and else it waits for that one activation."""
        self.tickets += 1
        entity = self.table.entities.get(stream)
        ill = entity is not None and entity.state in ("quarantined", "failed")
        self.open[self.tickets] = Asked(self.tickets, stream)
        self.tell(SetBack(self.tickets, stream, Position(1, 1)))
        assert (self.tickets in self.open) == ill
        backs = [work for work in self.works if isinstance(work.wanted, Activate) and work.wanted.back is not None]
        assert not ill or [work.wanted.stream for work in backs].count(stream) == 1

    def carry_out(self, instruction: Instruction) -> None:
        """Begin what the table wants; the end of it is another step."""
        works = [work.wanted for work in self.works]
        match instruction:
            case Activate(on=on):
                check_activation(instruction, works, self.given_up)
                self.works.append(Work(instruction, on.host if on else self.acquire(instruction)))
            case Pause():
                self.works.append(Work(instruction, due_s=self.now + instruction.after_s))
            case Release():
                check_release(instruction, works)
                self.works.append(Work(instruction))
            case Watch(host):
                if host not in self.watched:
                    self.watched.add(host)
                    if host not in self.hosts:
                        self.gone.append(HostGone(host, Exit("killed")))
            case Answer(ticket, host):
                asked = self.open.pop(ticket)
                entity = self.table.entities[asked.stream]
                assert entity.home is not None
                assert host == entity.home.host
                self.answered[ticket] = instruction
            case Refuse(ticket):
                del self.open[ticket]
                self.answered[ticket] = instruction
            case Record():
                pass

    # -- the world --------------------------------------------------------------------------------------------------

    def home(self, stream: str) -> Home | None:
        """Return where the table thinks that an entity lives."""
        entity = self.table.entities.get(stream)
        return entity.home if entity else None

    def acquire(self, wanted: Activate) -> str:
        """Do as the hosts supervisor does: a place is kept, unless it is to be avoided or its host is to end."""
        kept = self.places.get(wanted.stream, "")
        if self.hosts.get(kept) != "up" or kept == wanted.avoid:
            able = [host for host, state in self.hosts.items() if state == "up" and host != wanted.avoid]
            if not able:
                self.hosts_made += 1
                able = [f"h{self.hosts_made}"]
                self.hosts[able[0]] = "up"
            self.places[wanted.stream] = able[0]
        return self.places[wanted.stream]

    def kill(self, host: str, reason: str) -> None:
        """End a host; who watches it is told later."""
        del self.hosts[host]
        self.lives = {stream: home for stream, home in self.lives.items() if home.host != host}
        if host in self.watched:
            self.gone.append(HostGone(host, Exit(reason)))

    def empty(self, host: str) -> None:
        """Let a draining host let all go, which its supervisor is told or not, and end."""
        self.lives = {stream: home for stream, home in self.lives.items() if home.host != host}
        self.tales.append(Left(host))
        self.kill(host, "stopped")

    def end(self, work: Work) -> None:
        """End a pause or a release."""
        self.works.remove(work)
        if isinstance(work.wanted, Pause):
            self.now = max(self.now, work.due_s)
            self.tell(Due(work.wanted.stream, work.wanted.attempt))
        else:
            self.places.pop(work.wanted.stream, None)
            self.tell(Released(work.wanted.stream, work.wanted.attempt))

    def end_activation(self, work: Work, outcome: str, pick: int) -> None:
        """End an activation; `lost` is one that succeeded without anybody being told, `late` one that takes too long."""
        wanted = work.wanted
        assert isinstance(wanted, Activate)
        if outcome == "crashed" and work.host in self.hosts:
            self.kill(work.host, "killed")
        self.works.remove(work)
        if work.host not in self.hosts:
            self.tell(Crashed(wanted.stream, wanted.attempt, work.host, Exit("killed"), guilty=pick % 2 == 0))
        elif outcome == "late":
            self.now += 30.0
            self.tell(Crashed(wanted.stream, wanted.attempt, work.host, Exit("killed", "took too long"), guilty=True))
        elif self.hosts[work.host] == "draining" and outcome != "alive":  # or it came to life there just before
            self.refuse(wanted, Code.DRAINING)
        elif outcome == "refused":
            self.refuse(wanted, CODES[pick % len(CODES)])
        elif wanted.stream not in self.epochs and not wanted.create:
            self.refuse(wanted, Code.NOT_FOUND)
        else:
            home = self.bring_to_life(wanted.stream, work.host)
            lost = Crashed(wanted.stream, wanted.attempt, work.host, Exit("killed", "lost"), guilty=False)
            self.tell(lost if outcome == "lost" else Activated(wanted.stream, wanted.attempt, home))

    def bring_to_life(self, stream: str, host: str) -> Home:
        """Let a host claim an entity, unless it lives there."""
        lives = self.lives.get(stream)
        if lives is None or lives.host != host:
            self.epochs[stream] = self.epochs.get(stream, 0) + 1
            self.lives[stream] = Home(host, 1, "n", self.epochs[stream])
        return self.lives[stream]

    def refuse(self, wanted: Activate, code: Code) -> None:
        """Tell of an activation that is refused."""
        self.tell(NotActivated(wanted.stream, wanted.attempt, Failure(code, "no")))

    def start_again(self) -> None:
        """Let the supervisor die and another one begin: it adopts what lives, and restarts what died meanwhile."""
        self.table, self.memory = EntityTable(SPEC, random.Random(1)), Memory(SPEC)
        for kept in (self.works, self.gone, self.tales, self.watched, self.given_up, self.open):
            kept.clear()
        for stream, home in list(self.lives.items()):
            if self.places.get(stream) == home.host:
                self.tell(Activated(stream, 0, home))
        for stream, host in list(self.places.items()):
            if stream not in self.table.entities:
                self.tell(Crashed(stream, 0, host, Exit("killed", "while away"), guilty=True))

    def calm_down(self) -> None:
        """No more faults: what is under way ends well, the oldest first, and what nobody was told yet is told."""
        for _ in range(1_000):
            if self.gone:
                self.tell(self.gone.pop(0))
            elif self.tales:
                self.tell(self.tales.pop(0))
            elif draining := [host for host, state in self.hosts.items() if state == "draining"]:
                self.empty(draining[0])
            elif self.works:
                work = min(self.works, key=lambda each: each.due_s)
                self.end_activation(work, "alive", 0) if isinstance(work.wanted, Activate) else self.end(work)
            else:
                return
        raise AssertionError("it does not come to rest")

    def entities(self) -> list[Entity]:
        """Return what is in the table."""
        return list(self.table.entities.values())
