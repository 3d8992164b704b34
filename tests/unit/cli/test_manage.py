"""The management commands as a person or a script types them."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.cli.management_server import ScriptedServer, scripted_server
from undying.cli import main
from undying.protocol.data import Json, JsonObject
from undying.protocol.errors import Code, Failure


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedServer]:
    """A server whose data directory is the default one of the working directory."""
    for name in ("UNDYING_URL", "UNDYING_DATA_DIR", "UNDYING_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with scripted_server() as script:
        (tmp_path / ".undying").mkdir()
        (tmp_path / ".undying" / "url").write_text(script.url)
        (tmp_path / ".undying" / "admin-token").write_text("kept")
        yield script


@dataclass
class Outcome:
    """What a command left behind."""

    exit_code: int | str | None
    out: str
    err: str


@pytest.fixture
def undying(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Command":
    return Command(monkeypatch, capsys)


@dataclass
class Command:
    """Runs `undying` in this process."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *args: str) -> Outcome:
        self.monkeypatch.setattr("sys.argv", ["undying", *args])
        with pytest.raises(SystemExit) as ended:
            main.main()
        out, err = self.capsys.readouterr()
        code = ended.value.code
        if isinstance(code, str):  # what the interpreter does with it
            code, err = 1, f"{err}{code}"
        return Outcome(code, out, err)


def test_new_prints_one_json_document(server: ScriptedServer, undying: Command) -> None:
    made: Json = {"session": "s1", "gm_token": "t", "url": server.url}
    server.answer("POST /v1/sessions", 201, made)
    done = undying("new", "Friday night", "--json")
    assert (done.exit_code, json.loads(done.out), done.err) == (0, made, "")
    assert server.asked[0].authorization == "Bearer kept"


def test_new_prints_a_line_per_fact_for_people(server: ScriptedServer, undying: Command) -> None:
    server.answer("POST /v1/sessions", 201, {"session": "s1", "gm_token": "t", "url": server.url})
    assert undying("new", "Friday").out.split() == ["session", "s1", "gm_token", "t", "url", server.url]


def test_the_token_in_the_environment_wins(server: ScriptedServer, undying: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDYING_ADMIN_TOKEN", "given")
    server.answer("POST /v1/sessions", 201, {})
    undying("new", "Friday")
    assert server.asked[0].authorization == "Bearer given"


def test_invite_reads_a_role_as_people_write_it(server: ScriptedServer, undying: Command) -> None:
    server.answer("POST /v1/sessions/s1/invites", 201, {"token": "t", "url": server.url})
    done = undying("invite", "s1", "--role", "P", "--name", "Ann", "--json")
    assert (done.exit_code, json.loads(done.out)) == (0, {"token": "t", "url": server.url})
    assert server.asked[0].body == {"role": "player", "name": "Ann"}


@pytest.mark.parametrize(
    "args",
    [
        ("invite", "s1", "--role", "king", "--name", "Ann"),
        ("invite", "s1", "--role", "system", "--name", "Ann"),
        ("invite", "s 1", "--role", "gm", "--name", "Ann"),
        ("invite", "../x", "--role", "gm", "--name", "Ann"),
        ("invite", "s1", "--role", "gm", "--name", "Ann", "--user", "a/b"),
        ("invite", "s1", "--role", "gm"),
        ("status", "--watch", "--json"),
        ("status", "--watch", "--history"),
        ("status", "5"),
        ("status", "--history", "0"),
        ("status", "--history", "1001"),
        ("new",),
        ("nonsense",),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_asks_nothing(
    server: ScriptedServer, undying: Command, args: tuple[str, ...]
) -> None:
    done = undying(*args)
    assert (done.exit_code, done.out, server.asked) == (2, "", [])
    assert done.err


def test_a_refusal_is_one_line_on_stderr_and_exit_code_1(server: ScriptedServer, undying: Command) -> None:
    server.answer("POST /v1/sessions", 401, Failure(Code.NOT_AUTHENTICATED, "that is not the admin token").to_wire())
    done = undying("new", "Friday", "--json")
    assert (done.exit_code, done.out) == (1, "")
    assert done.err.strip() == "undying: that is not the admin token (NOT_AUTHENTICATED)"


def test_without_a_server_the_error_says_how_to_start_one(server: ScriptedServer, undying: Command) -> None:
    done = undying("status", "--data-dir", "elsewhere")
    assert done.exit_code == 1
    assert "undying serve" in done.err


def test_status_prints_what_the_server_said(server: ScriptedServer, undying: Command) -> None:
    status: Json = {"url": server.url, "actors": [{"id": "root", "kind": "root", "state": "live", "parent": None}]}
    server.answer("GET /v1/status", 200, status)
    assert json.loads(undying("status", "--json").out) == status
    assert "root" in undying("status").out


ENDED: Json = {"at_ms": 0, "id": "session:s1", "reason": "killed", "detail": "signal 9", "decided": "restart", "nth": 3}


def test_status_with_history_shows_what_ended(server: ScriptedServer, undying: Command) -> None:
    server.answer("GET /v1/history?limit=7", 200, {"history": [ENDED], "lost": 2})
    shown = undying("status", "--history", "7").out
    assert "session:s1" in shown
    assert "2 more were dropped" in shown
    server.answer("GET /v1/history?limit=20", 200, {"history": [], "lost": 0})
    assert undying("status", "--history").out == "nothing ended so far\n"


def test_status_with_history_as_json_is_the_status_and_the_history(server: ScriptedServer, undying: Command) -> None:
    server.answer("GET /v1/status", 200, {"url": server.url, "actors": []})
    server.answer("GET /v1/history?limit=20", 200, {"history": [ENDED], "lost": 0})
    assert json.loads(undying("status", "--history", "--json").out) == {"url": server.url, "actors": [], "history": [ENDED]}


def test_the_way_out_of_what_failed_is_shown_below_the_tree_and_in_the_quarantine(
    server: ScriptedServer, undying: Command
) -> None:
    ill: Json = {"id": "session:s1", "kind": "session", "state": "failed", "way_out": "see [a person]"}
    server.answer("GET /v1/status", 200, {"url": server.url, "actors": [ill]})
    server.answer("GET /v1/actors/session:s1/history", 200, {"id": "session:s1", "history": []})
    assert "session:s1: see [a person]" in undying("status").out
    assert "see [a person]" in undying("quarantine", "list").out


def test_a_url_on_the_command_line_wins(server: ScriptedServer, undying: Command) -> None:
    (Path(".undying") / "url").write_text("http://127.0.0.1:9")
    server.answer("GET /v1/status", 200, {"url": server.url, "actors": []})
    assert undying("status", "--json", "--url", server.url).exit_code == 0


ILL: Json = {"id": "session:s1", "kind": "session", "state": "quarantined", "reason": "11 endings in 60 s"}
WELL: Json = {"id": "session:s2", "kind": "session", "state": "live"}


def test_quarantine_lists_what_is_in_it_with_why_and_how_it_ended(server: ScriptedServer, undying: Command) -> None:
    server.answer("GET /v1/status", 200, {"url": server.url, "actors": [ILL, WELL]})
    endings: Json = [{"reason": "killed", "detail": "signal 9", "where": "process:a", "ago_ms": 5}]
    server.answer("GET /v1/actors/session:s1/history", 200, {"id": "session:s1", "history": endings})
    done = undying("quarantine", "list", "--json")
    assert done.exit_code == 0
    (row,) = json.loads(done.out)["actors"]
    assert (row["id"], row["reason"], row["history"]) == ("session:s1", "11 endings in 60 s", endings)
    shown = undying("quarantine", "list").out
    assert "session:s1" in shown
    assert "signal 9" in shown


def test_an_empty_quarantine_says_so(server: ScriptedServer, undying: Command) -> None:
    server.answer("GET /v1/status", 200, {"url": server.url, "actors": [WELL]})
    assert undying("quarantine", "list").out == "nothing is in quarantine\n"
    assert json.loads(undying("quarantine", "list", "--json").out) == {"actors": []}


def test_release_has_an_entity_tried_again(server: ScriptedServer, undying: Command) -> None:
    server.answer("POST /v1/actors/session:s1/readmit", 200, {"id": "session:s1"})
    done = undying("quarantine", "release", "session:s1", "--json")
    assert (done.exit_code, json.loads(done.out)) == (0, {"id": "session:s1"})


def test_what_can_not_be_released_is_told(server: ScriptedServer, undying: Command) -> None:
    server.answer("POST /v1/actors/session:s1/readmit", 409, Failure(Code.WRONG_STATE, "session:s1 is live").to_wire())
    done = undying("quarantine", "release", "session:s1")
    assert (done.exit_code, done.out) == (1, "")
    assert "session:s1 is live" in done.err
    assert undying("quarantine", "release", "nobody").exit_code == 2


def checkpoint(epoch: int, seq: int, dropped: int, *, sound: bool = True, on_line: bool = True) -> JsonObject:
    at = 1_700_000_000_000 if sound else None
    return {"pos": [epoch, seq], "at": at, "on_line": on_line, "dropped": dropped}


def quarantined_with(server: ScriptedServer, *checkpoints: JsonObject) -> None:
    server.answer("GET /v1/status", 200, {"url": server.url, "actors": [ILL, WELL]})
    told: Json = {"id": "session:s1", "pos": [3, 4], "checkpoints": list(checkpoints)}
    server.answer("GET /v1/actors/session:s1/checkpoints", 200, told)
    server.answer("POST /v1/actors/session:s1/rollback", 200, {"stream": "session:s1", "to": [2, 7], "dropped": 12})


def test_rollback_goes_to_the_newest_checkpoint_that_is_whole_on_the_line_and_not_the_end(
    server: ScriptedServer, undying: Command
) -> None:
    broken, left, end = checkpoint(3, 3, 1, sound=False), checkpoint(3, 2, 2, on_line=False), checkpoint(3, 4, 0)
    quarantined_with(server, end, broken, left, checkpoint(2, 7, 12), checkpoint(2, 1, 18))
    done = undying("quarantine", "rollback", "session:s1", "--json")
    assert (done.exit_code, json.loads(done.out)) == (0, {"stream": "session:s1", "to": [2, 7], "dropped": 12})
    assert server.asked[-1].body == {"to": [2, 7]}


@pytest.mark.parametrize("to", ["2.1", "2-1"])
def test_rollback_goes_where_a_person_says(server: ScriptedServer, undying: Command, to: str) -> None:
    quarantined_with(server, checkpoint(2, 7, 12))
    done = undying("quarantine", "rollback", "session:s1", "--to", to, "--yes")
    assert (done.exit_code, server.asked[-1].body) == (0, {"to": [2, 1]})
    assert "2.1" in done.out


@pytest.mark.parametrize(("said", "code", "asked"), [("n\n", 1, "GET"), ("y\n", 0, "POST")])
def test_rollback_says_what_is_lost_and_asks(
    server: ScriptedServer, undying: Command, monkeypatch: pytest.MonkeyPatch, said: str, code: int, asked: str
) -> None:
    quarantined_with(server, checkpoint(2, 7, 12))
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    done = undying("quarantine", "rollback", "session:s1")
    assert (done.exit_code, server.asked[-1].method) == (code, asked)
    assert "The 12 events since 2023-11-14 22:13:20 UTC are dropped" in done.err


@pytest.mark.parametrize(
    ("checkpoints", "reason"),
    [
        ([], "no checkpoint"),
        ([checkpoint(2, 7, 12, sound=False)], "broken"),
        ([checkpoint(3, 4, 0)], "nothing has happened"),
    ],
)
def test_where_there_is_no_checkpoint_to_go_back_to_rollback_says_so_and_does_nothing(
    server: ScriptedServer, undying: Command, checkpoints: list[JsonObject], reason: str
) -> None:
    quarantined_with(server, *checkpoints)
    done = undying("quarantine", "rollback", "session:s1", "--yes")
    assert (done.exit_code, done.out, server.asked[-1].method) == (1, "", "GET")
    assert reason in done.err


def test_what_is_not_in_quarantine_is_not_rolled_back(server: ScriptedServer, undying: Command) -> None:
    quarantined_with(server, checkpoint(2, 7, 12))
    done = undying("quarantine", "rollback", "session:s2", "--yes")
    assert (done.exit_code, server.asked[-1].path) == (1, "/v1/status")
    assert "not in quarantine" in done.err
    for args in (("nobody",), ("session:s1", "--to", "7"), ("session:s1", "--to", "a.b"), ("session:s1", "--to", "-1.2")):
        assert undying("quarantine", "rollback", *args).exit_code == 2


def test_drain_waits_until_nothing_but_supervisors_is_left_on_the_node(server: ScriptedServer, undying: Command) -> None:
    host: Json = {"id": "session:s1", "kind": "session", "node": "n1", "pid": 7}
    root: Json = {"id": "root", "kind": "root", "node": "n1", "pid": 1}
    server.answer("GET /v1/status", 200, {"url": server.url, "actors": [host, root]})
    server.answer("POST /v1/nodes/n1/drain", 202, {"node": "n1", "hosts": 1, "gateways": 0})
    draining: Json = {"id": "spare:1", "kind": "spare", "state": "draining", "node": "n1", "pid": 7}
    moved: Json = {"id": "session:s1", "kind": "session", "node": "n2", "pid": 7}
    server.then("GET /v1/status", 200, {"url": server.url, "actors": [moved, draining, root]})
    server.then("GET /v1/status", 200, {"url": server.url, "actors": [moved, root]})
    done = undying("drain", "n1", "--json")
    assert done.exit_code == 0
    told = json.loads(done.out)
    assert (told["node"], told["hosts"], told["gateways"]) == ("n1", 1, 0)
    assert told["took_s"] >= 0
    assert undying("drain", "no node!").exit_code == 2


def test_a_drain_is_undone(server: ScriptedServer, undying: Command) -> None:
    server.answer("DELETE /v1/nodes/n1/drain", 200, {"node": "n1"})
    done = undying("drain", "n1", "--undo")
    assert (done.exit_code, done.out) == (0, "n1 is used again\n")


def test_restart_waits_until_every_process_is_another_one(server: ScriptedServer, undying: Command) -> None:
    def rows(first: int) -> Json:
        kinds: list[Json] = ["root", "supervisor", "session"]
        return [{"id": kind, "kind": kind, "node": "n1", "pid": first + number} for number, kind in enumerate(kinds)]

    server.answer("GET /v1/status", 200, {"url": server.url, "actors": rows(10)})
    server.answer("POST /v1/restart", 202, {})
    server.then("GET /v1/status", 200, {"url": server.url, "actors": rows(12)})
    server.then("GET /v1/status", 200, {"url": server.url, "actors": rows(20)})
    done = undying("restart", "--json")
    assert done.exit_code == 0
    assert json.loads(done.out)["processes"] == 3
