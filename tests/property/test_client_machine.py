"""The client's machine against a model server over a line that is cut anywhere, any number of times."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client_model import STREAM, ModelServer, Peer
from undying.client.events import SNAPSHOT, TableEvent
from undying.client.limits import Limits
from undying.client.machine import Machine
from undying.client.outputs import Ended, Happened, Open, Output, Send, Settled, Shut, StatusChanged
from undying.protocol.data import Json, JsonObject

ACTIONS = [
    "ask",
    "ask",
    "up",
    "up",
    "down",
    "down",
    "down",
    "cut",
    "close",
    "lose",
    "lose",
    "say",
    "say",
    "hide",
    "crash",
    "time",
    "trim",
    "soft",
]


@dataclass
class World:
    """Machine, server and the line between them; the person's view is what they would show on a screen."""

    rng: random.Random
    server: ModelServer = field(default_factory=ModelServer)
    now: float = 0.0
    peer: Peer | None = None
    opening: bool = False
    up: list[JsonObject] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    settled: dict[str, int] = field(default_factory=dict)
    view: list[Json] = field(default_factory=list)
    heard: list[TableEvent] = field(default_factory=list)
    soft: bool = False

    def __post_init__(self) -> None:
        self.machine = Machine("join", self.rng, limits=Limits(first_s=None, tries=1_000))
        self.carry_out(self.machine.start(self.now))

    def carry_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Open():
                    assert self.peer is None, "two connections at once"
                    self.opening = True
                case Send(frame):
                    assert self.peer is not None, "a frame for no connection"
                    self.up.append(frame)
                case Shut():
                    self.drop_line()
                case Happened(event):
                    self.hear(event)
                case Settled(op_id, _, failure):
                    assert failure is None
                    self.settled[op_id] = self.settled.get(op_id, 0) + 1
                case Ended():
                    raise AssertionError("gave up")
                case StatusChanged():
                    pass

    def hear(self, event: TableEvent) -> None:
        self.heard.append(event)
        if event.kind == SNAPSHOT:
            texts = event.data["texts"]
            assert isinstance(texts, list)
            self.view = list(texts)
        elif event.kind == "chat.said":
            self.view.append(event.data["text"])

    def drop_line(self) -> None:
        if self.peer is not None:
            self.server.peers.remove(self.peer)
        self.peer, self.opening = None, False
        self.up.clear()

    def act(self, action: str) -> None:
        match action:
            case "ask":
                op_id = f"op{len(self.asked)}"
                if self.soft:
                    self.server.soft_refusals[op_id] = self.rng.randint(0, 3)
                self.asked.append(op_id)
                frame: JsonObject = {"t": "op", "id": op_id, "s": STREAM, "k": "chat.say", "d": {"text": op_id}}
                self.carry_out(self.machine.ask(frame, self.now))
            case "up" if self.peer is not None and self.up:
                code = self.server.receive(self.peer, self.up.pop(0))
                if code is not None:
                    self.lose_line(code)
            case "down" if self.opening:
                self.opening, self.peer = False, self.server.connect()
                self.carry_out(self.machine.connected(self.now))
            case "down" if self.peer is not None and self.peer.out:
                self.carry_out(self.machine.received(self.peer.out.pop(0), self.now))
            case "cut":
                self.lose_line(None)
            case "close":
                self.lose_line(self.rng.choice([4100, 4101, 4200, 4203, 4302, 4303, 1006]))
            case "lose" if self.peer is not None and any(frame["t"] == "ev" for frame in self.peer.out):
                self.peer.out.remove(next(frame for frame in self.peer.out if frame["t"] == "ev"))
            case "say":
                self.server.say(f"other{len(self.server.log)}")
            case "hide":
                self.server.hide(self.rng.randint(1, 3))
            case "crash":
                self.server.claim()
            case "trim":
                self.server.keeps = len(self.server.log) - 1
            case "time":
                self.pass_time()
            case "soft":
                self.soft = True

    def lose_line(self, code: int | None) -> None:
        if self.peer is None and not self.opening:
            return
        self.drop_line()
        self.carry_out(self.machine.disconnected(code, "", self.now))

    def pass_time(self) -> None:
        at = self.machine.next_timer()
        if at is not None:
            self.now = max(self.now, at)
            self.carry_out(self.machine.tick(self.now))

    def settle_down(self) -> None:
        """No more faults: everything is delivered, and time passes until nothing is left to do."""
        for _ in range(20_000):
            if self.up:
                self.act("up")
            elif self.opening or (self.peer is not None and self.peer.out):
                self.act("down")
            elif len(self.settled) < len(self.asked) or self.machine.status != "live" or self.behind():
                self.pass_time()
            else:
                return
        raise AssertionError("did not converge")

    def behind(self) -> bool:
        return self.machine.streams.position(STREAM) != self.server.position


def played(actions: list[str], seed: int) -> World:
    """Return the world after the actions, and after things have calmed down. Half of all worlds begin with a live table."""
    world = World(random.Random(seed))
    if seed % 2:
        world.settle_down()
    for action in actions:
        world.act(action)
    world.settle_down()
    return world


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(ACTIONS), min_size=30, max_size=150), st.integers(0, 2**32))
def test_every_op_happens_once_and_the_view_is_the_servers(actions: list[str], seed: int) -> None:
    world = played(actions, seed)
    assert sorted(world.server.applied) == sorted(world.asked)
    assert world.settled == dict.fromkeys(world.asked, 1)
    assert world.view == world.server.texts()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([action for action in ACTIONS if action != "soft"]), min_size=30, max_size=150),
    st.integers(0, 2**32),
)
def test_ops_that_are_not_refused_happen_in_the_order_in_which_they_were_asked(actions: list[str], seed: int) -> None:
    world = played(actions, seed)
    assert world.server.applied == world.asked


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(ACTIONS), min_size=30, max_size=150), st.integers(0, 2**32))
def test_positions_only_go_forward_and_no_event_comes_twice(actions: list[str], seed: int) -> None:
    world = played(actions, seed)
    positions = [event.position for event in world.heard if event.position is not None and event.kind != SNAPSHOT]
    assert all(before < after for before, after in itertools.pairwise(positions))
