"""What the client's machine does, step by step, against the model server."""

from __future__ import annotations

import random

import pytest

from tests.client_model import STREAM, ModelServer, Peer
from undying.client.events import GONE, NOTICE
from undying.client.failures import OpRefused
from undying.client.limits import Limits
from undying.client.machine import Machine
from undying.client.outputs import Ended, Happened, Open, Output, Send, Settled, Shut, StatusChanged
from undying.client.pending import WINDOW
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, Failure


class Seat:
    """A machine, its server and the connection between them; outputs are kept to be looked at."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.server = ModelServer()
        self.machine = Machine("join", random.Random(1), limits=limits)
        self.now = 0.0
        self.peer: Peer | None = None
        self.out: list[Output] = []
        self.take(self.machine.start(0.0))

    def take(self, outputs: list[Output]) -> list[Output]:
        self.out += outputs
        for output in outputs:
            if isinstance(output, Open):
                self.peer = self.server.connect()
                self.take(self.machine.connected(self.now))
            elif isinstance(output, Send) and self.peer is not None:
                code = self.server.receive(self.peer, output.frame)
                if code is not None:
                    self.lose(code)
            elif isinstance(output, Shut):
                self.peer = None
        return outputs

    def run(self) -> list[Output]:
        """Deliver all that the server sent; returns what followed."""
        before = len(self.out)
        while self.peer is not None and self.peer.out:
            self.take(self.machine.received(self.peer.out.pop(0), self.now))
        return self.out[before:]

    def hear(self, frame: JsonObject) -> list[Output]:
        return self.take(self.machine.received(frame, self.now))

    def lose(self, code: int | None, reason: str = "") -> list[Output]:
        self.peer = None
        return self.take(self.machine.disconnected(code, reason, self.now))

    def wait(self) -> list[Output]:
        """Let time pass to the next timer."""
        at = self.machine.next_timer()
        assert at is not None
        self.now = max(at, self.now)
        return self.take(self.machine.tick(self.now))

    def ask(self, op_id: str, kind: str = "chat.say") -> list[Output]:
        return self.take(self.machine.ask({"t": "op", "id": op_id, "s": STREAM, "k": kind, "d": {"text": op_id}}, self.now))


def frames(outputs: list[Output], kind: str) -> list[JsonObject]:
    return [output.frame for output in outputs if isinstance(output, Send) and output.frame["t"] == kind]


def settled(outputs: list[Output]) -> list[Settled]:
    return [output for output in outputs if isinstance(output, Settled)]


def the_end(outputs: list[Output]) -> Ended:
    return next(output for output in outputs if isinstance(output, Ended))


@pytest.fixture
def seat() -> Seat:
    """A seat at a live table."""
    seat = Seat()
    seat.run()
    assert seat.machine.status == "live"
    return seat


def test_the_first_join_carries_the_join_token_and_no_positions() -> None:
    seat = Seat()
    seat.run()
    assert seat.server.joins[0]["token"] == "join"
    assert "resume" not in seat.server.joins[0]


def test_a_table_is_live_when_its_session_is() -> None:
    seat = Seat()
    seat.run()
    assert [output.status for output in seat.out if isinstance(output, StatusChanged)] == ["live"]


def test_after_a_cut_it_joins_with_the_resume_token_and_where_it_stands(seat: Seat) -> None:
    seat.server.say("a")
    seat.run()
    seat.lose(None)
    assert seat.machine.status == "reconnecting"
    seat.wait()
    seat.run()
    assert (seat.server.joins[1]["token"], seat.server.joins[1]["resume"]) == ("resume1", {STREAM: [1, 1]})
    assert [seat.machine.status] == ["live"]


def test_the_first_attempt_after_a_cut_comes_within_fifty_milliseconds(seat: Seat) -> None:
    seat.lose(None)
    assert seat.machine.next_timer() is not None
    assert 0.0 <= (seat.machine.next_timer() or 9.0) <= 0.05


def test_attempts_that_fail_back_off_up_to_five_seconds(seat: Seat) -> None:
    seat.server.tokens.clear()  # whoever comes is not let in, so no attempt is a success
    delays = []
    for _ in range(14):
        seat.peer = None
        seat.machine.disconnected(None, "", seat.now)
        at = seat.machine.next_timer()
        assert at is not None
        delays.append(at - seat.now)
        seat.now = at
        seat.machine.tick(seat.now)
    assert delays[0] <= 0.05
    assert 0.075 <= delays[1] <= 0.125
    assert all(delay <= 5.0 for delay in delays)
    assert delays[-1] >= 3.75


def test_a_server_that_takes_clients_in_and_drops_them_is_not_hammered(seat: Seat) -> None:
    delays = []
    for _ in range(6):
        seat.lose(None)
        delays.append((seat.machine.next_timer() or 0.0) - seat.now)
        seat.wait()
        seat.run()
        assert seat.machine.status == "live"
    assert delays[-1] > 1.0


def test_a_connection_that_held_makes_the_next_attempt_come_at_once_again(seat: Seat) -> None:
    for _ in range(6):
        seat.lose(None)
        seat.wait()
        seat.run()
    seat.now += 5.0
    seat.lose(None)
    assert (seat.machine.next_timer() or 0.0) - seat.now <= 0.05


@pytest.mark.parametrize("code", [4001, 4002, 4003, 4006, 4012, 1007, 1009])
def test_a_close_code_that_says_stop_ends_the_table(seat: Seat, code: int) -> None:
    seat.ask("a")
    end = the_end(seat.lose(code))
    assert end.failure is not None
    assert end.failure.context == {"close": code}
    assert end.unanswered == ("a",)
    assert (seat.machine.status, seat.machine.next_timer()) == ("closed", None)


def test_the_error_named_right_before_the_close_is_the_reason(seat: Seat) -> None:
    failure = Failure(Code.REMOVED, "The game master removed you.")
    assert seat.hear({"t": "notice", "error": failure.to_wire()})[0] == Happened(
        next(output.event for output in seat.out if isinstance(output, Happened) and output.event.kind == NOTICE)
    )
    end = the_end(seat.lose(4003))
    assert end.failure is not None
    assert end.failure.code is Code.REMOVED


def test_a_close_reason_that_starts_with_a_code_names_the_failure(seat: Seat) -> None:
    end = the_end(seat.lose(4001, "TOKEN_EXPIRED: yesterday"))
    assert end.failure is not None
    assert end.failure.code is Code.TOKEN_EXPIRED


def test_a_refused_resume_token_falls_back_to_the_join_token(seat: Seat) -> None:
    seat.server.tokens = {"join"}
    seat.lose(None)
    seat.wait()
    seat.run()
    seat.wait()
    seat.run()
    assert [join["token"] for join in seat.server.joins] == ["join", "resume1", "join"]
    assert seat.machine.status == "live"


def test_a_refused_join_token_ends_the_table() -> None:
    seat = Seat()
    seat.server.tokens.clear()
    seat.run()
    end = the_end(seat.out)
    assert end.failure is not None
    assert end.failure.code is Code.NOT_AUTHENTICATED


@pytest.mark.parametrize(("code", "token"), [(4302, "join"), (4303, "resume1")])
def test_a_close_code_that_says_rejoin_leads_to_a_join_without_positions(seat: Seat, code: int, token: str) -> None:
    seat.lose(code)
    seat.wait()
    seat.run()
    assert "resume" not in seat.server.joins[1]
    assert seat.server.joins[1]["token"] == token


def test_ops_asked_while_away_go_out_in_order_after_the_welcome(seat: Seat) -> None:
    seat.lose(None)
    assert seat.ask("a") == seat.ask("b") == []
    seat.wait()
    assert [frame["id"] for frame in frames(seat.run(), "op")] == ["a", "b"]


def test_an_op_without_an_answer_is_sent_again_with_its_id_and_the_repeated_answer_settles_it(seat: Seat) -> None:
    seat.ask("a")
    seat.lose(None)  # with the answer on its way
    seat.wait()
    assert settled(seat.run()) == [Settled("a", {"n": 1})]
    assert seat.server.applied == ["a"]


def test_a_second_answer_is_nothing(seat: Seat) -> None:
    seat.ask("a")
    seat.run()
    assert settled(seat.hear({**seat.server.acks["a"], "dup": True})) == []


def test_a_refusal_that_is_final_is_the_answer(seat: Seat) -> None:
    seat.ask("a", "forbidden")
    (answer,) = settled(seat.run())
    assert answer.failure is not None
    assert answer.failure.code is Code.FORBIDDEN


def test_a_recoverable_refusal_is_tried_again_with_the_same_id_and_not_before_after_ms(seat: Seat) -> None:
    seat.server.soft_refusals["a"] = 1
    seat.ask("a")
    assert settled(seat.run()) == []
    assert (seat.machine.next_timer() or 0.0) - seat.now >= 0.2
    assert [frame["id"] for frame in frames(seat.wait(), "op")] == ["a"]
    assert settled(seat.run()) == [Settled("a", {"n": 1})]


def test_recoverable_refusals_without_end_become_the_answer() -> None:
    seat = Seat(Limits(tries=3))
    seat.run()
    seat.ask("a", "overloaded")
    for _ in range(2):
        assert settled(seat.run()) == []
        seat.wait()
    (answer,) = settled(seat.run())
    assert answer.failure is not None
    assert answer.failure.code is Code.OVERLOADED


def refuse(seat: Seat, op_id: str, code: Code) -> list[Settled]:
    return settled(seat.hear({"t": "ack", "id": op_id, "ok": False, "error": Failure(code, "no").to_wire()}))


def refuse_until_settled(seat: Seat, op_id: str, code: Code) -> Settled:
    """Refuse every try of an op."""
    while not (answers := refuse(seat, op_id, code)):
        seat.wait()
    return answers[0]


def lose_a_try(seat: Seat, op_id: str) -> None:
    """Let an op be sent, lose the connection, and let it be sent again on the next one."""
    seat.ask(op_id)
    seat.lose(None)
    seat.wait()
    assert seat.peer is not None
    while seat.machine.phase != "joined":
        seat.take(seat.machine.received(seat.peer.out.pop(0), seat.now))
    seat.peer.out.clear()


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INTERNAL, Code.DATABASE_UNAVAILABLE])
def test_an_op_whose_every_try_may_have_been_done_is_not_refused_in_the_end(seat: Seat, code: Code) -> None:
    seat.ask("a")
    answer = refuse_until_settled(seat, "a", code)
    assert (answer.unknown, answer.failure and answer.failure.code) == (True, code)


@pytest.mark.parametrize("code", [Code.QUARANTINED, Code.DATA_DAMAGED])
def test_a_final_failure_of_the_entity_itself_leaves_open_whether_it_had_done_the_op(seat: Seat, code: Code) -> None:
    seat.ask("a")
    assert [answer.unknown for answer in refuse(seat, "a", code)] == [True]


@pytest.mark.parametrize("code", [Code.OVERLOADED, Code.RATE_LIMITED, Code.NOT_FOUND, Code.PAUSED])
def test_what_a_gateway_refuses_by_itself_is_a_no_only_when_no_try_before_it_is_open(seat: Seat, code: Code) -> None:
    seat.ask("a")
    assert not refuse_until_settled(seat, "a", code).unknown
    lose_a_try(seat, "b")
    assert refuse_until_settled(seat, "b", code).unknown


@pytest.mark.parametrize("code", [Code.FORBIDDEN, Code.WRONG_STATE, Code.BAD_ARGS])
def test_what_an_entity_refuses_holds_for_the_tries_before_it(seat: Seat, code: Code) -> None:
    lose_a_try(seat, "a")
    assert [answer.unknown for answer in refuse(seat, "a", code)] == [False]


def test_a_refusal_of_a_later_version_is_a_refusal(seat: Seat) -> None:
    seat.ask("a")
    error: JsonObject = {"code": "OUT_OF_MANA", "recoverable": False, "message": "no"}
    (answer,) = settled(seat.hear({"t": "ack", "id": "a", "ok": False, "error": error}))
    assert not answer.unknown


def test_a_recoverable_refusal_that_comes_twice_is_still_no_answer(seat: Seat) -> None:
    seat.ask("a")
    assert refuse(seat, "a", Code.OVERLOADED) == []
    assert refuse(seat, "a", Code.OVERLOADED) == []
    seat.wait()
    assert settled(seat.run()) == [Settled("a", {"n": 1})]


def test_one_op_more_than_the_bound_is_refused_and_the_others_stay() -> None:
    seat = Seat(Limits(pending=2))
    seat.ask("a")
    seat.ask("b")
    with pytest.raises(OpRefused) as refused:
        seat.ask("c")
    assert refused.value.failure.code is Code.OVERLOADED
    seat.run()
    assert seat.server.applied == ["a", "b"]


def test_an_op_given_up_before_it_left_is_never_sent(seat: Seat) -> None:
    seat.lose(None)
    seat.ask("a")
    seat.machine.give_up("a")
    seat.wait()
    assert frames(seat.run(), "op") == []


def test_an_op_given_up_after_it_left_is_not_sent_again_and_not_reported(seat: Seat) -> None:
    seat.ask("a")
    seat.machine.give_up("a")
    seat.lose(None)
    seat.wait()
    out = seat.run()
    assert (frames(out, "op"), settled(out)) == ([], [])


def test_a_gap_is_asked_about_at_once_with_the_position_before_it(seat: Seat) -> None:
    assert seat.peer is not None
    seat.server.say("lost")
    seat.peer.out.clear()
    seat.server.say("kept")
    out = seat.run()
    assert frames(out, "hb")[0]["pos"] == {STREAM: [1, 0]}
    assert [output.event.data["text"] for output in out if isinstance(output, Happened)] == ["lost", "kept"]


def test_a_gap_that_stays_leads_to_a_new_connection_and_at_the_second_time_to_a_snapshot(seat: Seat) -> None:
    seat.server.mute = True
    for _ in range(2):
        seat.hear({"t": "ev", "s": STREAM, "e": 1, "b": [{"n": 9, "k": "x", "d": {}}]})
        assert Shut() in seat.wait()
        seat.wait()
        seat.run()
    assert ["resume" in join for join in seat.server.joins] == [False, True, False]


def test_a_claim_that_follows_another_position_is_a_gap(seat: Seat) -> None:
    out = seat.hear({"t": "ev", "s": STREAM, "e": 2, "b": [{"n": 0, "k": "claimed", "d": {"prev": [1, 5]}}]})
    assert frames(out, "hb")
    assert not [output for output in out if isinstance(output, Happened)]


def test_heartbeats_carry_positions_every_hb_ms(seat: Seat) -> None:
    assert [frame["pos"] for frame in frames(seat.wait(), "hb")] == [{STREAM: [1, 0]}]
    assert seat.now == 25.0


def test_a_server_that_says_nothing_for_two_heartbeats_is_left(seat: Seat) -> None:
    seat.server.mute = True
    seat.wait()
    assert Shut() in seat.wait()
    assert seat.now == 50.0
    assert seat.machine.status == "reconnecting"


def test_a_planned_reconnect_happens_within_the_time_given_on_the_url_given(seat: Seat) -> None:
    seat.hear({"t": "reconnect", "after_ms": 2000, "url": "http://other", "reason": "draining"})
    out = seat.wait()
    assert seat.now <= 2.0
    assert out[0] == Shut()
    assert Open("http://other") in out


def test_a_planned_reconnect_keeps_its_spread_when_the_close_comes_first(seat: Seat) -> None:
    seat.hear({"t": "reconnect", "after_ms": 20_000, "reason": "draining"})
    planned = seat.machine.next_timer()
    assert planned is not None
    assert planned > 0.05
    seat.lose(4200)
    assert seat.machine.next_timer() == planned
    seat.wait()
    assert seat.machine.phase == "greeting"


def test_a_stream_that_the_welcome_does_not_name_any_more_is_gone(seat: Seat) -> None:
    seat.hear({"t": "snapshot", "s": "character:c", "pos": [1, 1], "state": {}})
    seat.lose(None)
    seat.wait()
    out = seat.run()
    assert [output.event.stream for output in out if isinstance(output, Happened) and output.event.kind == GONE] == [
        "character:c"
    ]


def test_a_gone_stream_is_not_followed_any_more(seat: Seat) -> None:
    seat.hear({"t": "snapshot", "s": "character:c", "pos": [1, 1], "state": {}})
    seat.hear({"t": "gone", "s": "character:c", "reason": "unseated"})
    assert seat.hear({"t": "ev", "s": "character:c", "e": 1, "b": [{"n": 2, "k": "x", "d": {}}]}) == []


def test_a_role_that_changes_is_known(seat: Seat) -> None:
    item: JsonObject = {"n": 1, "k": "member.changed", "d": {"user": "u", "name": "Una", "role": "player"}}
    seat.hear({"t": "ev", "s": STREAM, "e": 1, "b": [item]})
    assert seat.machine.role == "player"


@pytest.mark.parametrize(
    "frame",
    [
        {"t": "ev"},
        {"t": "ev", "s": STREAM, "e": "1", "b": []},
        {"t": "ev", "s": STREAM, "e": 1, "b": [7]},
        {"t": "ev", "s": STREAM, "e": 1, "b": [{"n": None}]},
        {"t": "snapshot", "s": STREAM, "pos": [1], "state": {}},
        {"t": "snapshot", "s": STREAM, "pos": [1, 1], "state": 1},
        {"t": "ack", "id": "a"},
        {"t": "live", "s": STREAM},
    ],
)
def test_a_frame_without_its_shape_ends_the_connection_and_not_the_table(seat: Seat, frame: JsonObject) -> None:
    assert Shut() in seat.hear(frame)
    seat.wait()
    seat.run()
    assert seat.machine.status == "live"


def test_of_a_frame_that_breaks_half_way_nothing_is_believed_and_its_events_are_heard_once(seat: Seat) -> None:
    there = seat.server.say("a")
    item: JsonObject = {"n": there.seq, "k": "chat.said", "d": {"text": "a"}}
    out = seat.hear({"t": "ev", "s": STREAM, "e": 1, "b": [item, {"k": "no n"}]})
    assert seat.machine.streams.position(STREAM) == (1, 0)
    seat.wait()
    out += seat.run()
    assert [output.event.data["text"] for output in out if isinstance(output, Happened)] == ["a"]


def test_of_a_snapshot_without_a_state_not_even_the_position_is_believed(seat: Seat) -> None:
    seat.hear({"t": "snapshot", "s": STREAM, "pos": [1, 7], "state": None})
    assert seat.machine.streams.position(STREAM) == (1, 0)


def test_a_welcome_that_breaks_half_way_takes_no_stream_away(seat: Seat) -> None:
    seat.lose(None)
    seat.wait()
    assert seat.peer is not None
    seat.hear(seat.peer.out.pop(0))
    welcome: JsonObject = {"t": "welcome", "session": "t", "streams": {"character:c": {"mode": "snapshot"}, "character:d": {}}}
    assert Shut() in seat.hear(welcome)
    assert seat.machine.streams.positions() == {STREAM: [1, 0]}


def test_a_server_of_another_version_ends_the_table() -> None:
    machine = Machine("join", random.Random(1))
    machine.start(0.0)
    machine.connected(0.0)
    failure = the_end(machine.received({"t": "hello", "v": 2}, 0.0)).failure
    assert failure is not None
    assert failure.code is Code.VERSION_NOT_SUPPORTED


def test_a_role_is_known_from_a_snapshot_too(seat: Seat) -> None:
    state: JsonObject = {"members": {"u": {"user": "u", "name": "Una", "role": "player"}}}
    seat.hear({"t": "snapshot", "s": STREAM, "pos": [1, 4], "state": state})
    assert seat.machine.role == "player"


def test_frames_of_a_later_version_are_passed_over(seat: Seat) -> None:
    assert seat.hear({"t": "sparkle", "s": STREAM}) == []


def test_a_server_that_cannot_be_reached_at_first_ends_the_attempt_in_time() -> None:
    machine = Machine("join", random.Random(1), limits=Limits(first_s=30.0))
    out = machine.start(0.0)
    now = 0.0
    while machine.phase != "ended":
        now = max(now, machine.next_timer() or 0.0)
        out = machine.disconnected(None, "refused", now) if machine.phase == "opening" else machine.tick(now)
    failure = the_end(out).failure
    assert now == 30.0
    assert failure is not None
    assert failure.context == {"last": "refused"}


def welcomed_and_lost(machine: Machine, now: float) -> None:
    """Let the server welcome the client and go away before anything is shown."""
    machine.connected(now)
    machine.received({"t": "hello", "v": 1}, now)
    streams: JsonObject = {STREAM: {"mode": "snapshot", "pos": [1, 0]}}
    machine.received({"t": "welcome", "session": "t", "user": "u", "streams": streams}, now)
    machine.disconnected(None, "refused", now)


def test_a_server_that_welcomes_and_never_shows_anything_does_not_hold_the_attempt_up() -> None:
    machine = Machine("join", random.Random(1), limits=Limits(first_s=30.0))
    out, now = machine.start(0.0), 0.0
    while machine.phase != "ended" and now < 100.0:
        if machine.phase == "opening":
            welcomed_and_lost(machine, now)
        now = max(now, machine.next_timer() or 0.0)
        out = machine.tick(now)
    assert (now, the_end(out).failure is not None) == (30.0, True)


def test_a_table_that_is_joined_and_not_live_in_time_ends() -> None:
    seat = Seat(Limits(first_s=30.0))
    while seat.machine.phase != "joined":
        assert seat.peer is not None
        seat.hear(seat.peer.out.pop(0))
    while seat.machine.next_timer() is not None and seat.now < 100.0:
        seat.wait()
        seat.hear({"t": "hb_ok", "time": 1})
    assert (seat.now, seat.machine.status) == (30.0, "closed")


def test_an_outage_lasts_until_the_table_is_live_again_and_may_be_bounded() -> None:
    seat = Seat(Limits(away_s=60.0))
    seat.run()
    seat.now = 1_000.0
    seat.lose(None)
    while seat.machine.phase != "ended" and seat.now < 2_000.0:
        if seat.machine.phase == "opening" or seat.peer is not None:
            seat.peer = None
            welcomed_and_lost(seat.machine, seat.now)
        seat.wait()
    assert seat.now == 1_060.0


def test_leaving_says_so_and_ends_everything(seat: Seat) -> None:
    seat.ask("a")
    out = seat.machine.leave()
    assert out == [Send({"t": "leave"}), Shut(), StatusChanged("closed"), Ended(None, ("a",))]
    assert seat.machine.leave() == []


def test_no_more_than_the_window_is_on_the_wire_and_the_rest_follows_in_order(seat: Seat) -> None:
    seat.lose(None)
    for n in range(WINDOW + 10):
        seat.ask(str(n))
    seat.wait()
    before = len(seat.out)
    assert seat.peer is not None
    while not frames(seat.out[before:], "op"):
        seat.take(seat.machine.received(seat.peer.out.pop(0), seat.now))
    assert len(frames(seat.out[before:], "op")) == WINDOW
    seat.run()
    assert seat.server.applied == [str(n) for n in range(WINDOW + 10)]


def test_a_gap_that_is_there_after_the_first_answer_is_asked_about_once_more(seat: Seat) -> None:
    seat.server.mute = True
    seat.hear({"t": "ev", "s": STREAM, "e": 1, "b": [{"n": 9, "k": "x", "d": {}}]})
    assert len(frames(seat.hear({"t": "hb_ok", "time": 1}), "hb")) == 1
    assert frames(seat.hear({"t": "hb_ok", "time": 1}), "hb") == []


def test_a_table_is_not_live_before_everything_that_live_promises_is_there(seat: Seat) -> None:
    seat.lose(None)
    seat.server.say("a")
    seat.wait()
    assert seat.peer is not None
    while seat.machine.phase != "joined":
        seat.take(seat.machine.received(seat.peer.out.pop(0), seat.now))
    event, live = seat.peer.out
    seat.hear(live)
    assert seat.machine.status == "reconnecting"
    seat.hear(event)
    assert [seat.machine.status] == ["live"]
