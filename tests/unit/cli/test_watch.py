"""What `undying status --watch` shows, whatever the server does meanwhile."""

import io

import pytest
from rich.console import Console

from undying.cli.watch import HISTORY_AGAIN_S, Picture
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, UndyingError, error

ROOT: Json = {"id": "root", "kind": "root", "state": "live", "parent": None}
ENDED: Json = {"at_ms": 1, "id": "gateway:1", "reason": "killed", "decided": "restart"}


class Server:
    """Answers, or raises."""

    def __init__(self) -> None:
        self.rows: list[Json] = [ROOT]
        self.history: list[Json] = [ENDED]
        self.down: UndyingError | None = None
        self.tracker_down: UndyingError | None = None
        self.asked_endings = 0

    def status(self) -> JsonObject:
        if self.down is not None:
            raise self.down
        return {"url": "http://here:1", "actors": self.rows}

    def endings(self, limit: int) -> JsonObject:
        self.asked_endings += 1
        if self.tracker_down is not None:
            raise self.tracker_down
        return {"history": self.history[:limit], "lost": 0}


def looked(picture: Picture, server: Server, now_s: float) -> str:
    """Look, and return what is shown."""
    picture.look(server, lambda: now_s)
    return drawn(picture, now_s)


def drawn(picture: Picture, now_s: float, height: int = 24) -> str:
    out = io.StringIO()
    Console(file=out, width=100, height=height).print(picture.draw(height, now_s))
    return out.getvalue()


def test_the_tree_is_above_and_what_ended_below() -> None:
    shown = looked(Picture(), Server(), 100.0)
    assert shown.index("root") < shown.index("gateway:1")


def test_a_server_that_is_away_leaves_its_last_picture_with_since_when() -> None:
    server, picture = Server(), Picture()
    looked(picture, server, 100.0)
    server.down = error(Code.UNAVAILABLE, "no answer from http://here:1")
    looked(picture, server, 101.0)
    shown = looked(picture, server, 113.0)
    assert "root" in shown
    assert "gateway:1" in shown
    assert "does not answer since" in shown
    assert "(12 s): no answer from http://here:1" in shown
    server.down = None
    assert "does not answer" not in looked(picture, server, 114.0)


@pytest.mark.parametrize("code", [Code.NOT_AUTHENTICATED, Code.FORBIDDEN])
def test_a_token_that_is_not_good_ends_the_watch(code: Code) -> None:
    server = Server()
    server.down = error(code, "no")
    with pytest.raises(UndyingError):
        Picture().look(server, lambda: 0.0)


def test_a_tracker_that_is_away_does_not_hold_up_the_tree_and_what_it_told_stays() -> None:
    server, picture = Server(), Picture()
    looked(picture, server, 100.0)
    server.tracker_down = error(Code.UNAVAILABLE, "tracker did not answer in time")
    shown = looked(picture, server, 101.0)
    assert "gateway:1" in shown
    assert "no news of what ended: tracker did not answer in time" in shown
    looked(picture, server, 102.0)
    assert server.asked_endings == 2
    server.tracker_down = None
    assert "no news" not in looked(picture, server, 101.0 + HISTORY_AGAIN_S)


@pytest.mark.parametrize("sessions", [0, 3, 12, 15, 40])
@pytest.mark.parametrize("endings", [0, 1, 4, 50])
@pytest.mark.parametrize("height", [16, 24, 60])
def test_a_picture_fits_on_the_screen_and_uses_it(sessions: int, endings: int, height: int) -> None:
    server, picture = Server(), Picture()
    server.rows += [{"id": f"session:{n}", "kind": "session", "state": "live", "parent": "root"} for n in range(sessions)]
    server.rows.append({"id": "session:ill", "kind": "session", "state": "failed", "parent": "root", "way_out": "wait"})
    server.history = [ENDED] * endings
    looked(picture, server, 100.0)
    lines = drawn(picture, 100.0, height).splitlines()
    assert len(lines) < height
    assert any("session:ill: wait" in line for line in lines)
    told = sum("gateway:1" in line for line in lines)
    assert told >= min(3, endings)
    everything = 2 + sessions + 2 + 1 + (2 + endings if endings else 0)
    assert len(lines) == min(everything, height - 1) or (not endings and len(lines) >= height - 3)


def test_no_more_than_a_few_ways_out_are_listed() -> None:
    server, picture = Server(), Picture()
    server.rows = [{"id": f"session:{n}", "state": "failed", "way_out": f"way {n}"} for n in range(20)]
    assert sum(": way" in line for line in looked(picture, server, 1.0).splitlines()) == 3
