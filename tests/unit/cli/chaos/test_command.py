"""`undying chaos` before a server is started, and how it goes from server to server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from undying.cli import main
from undying.cli.chaos import command
from undying.cli.chaos.matrix import Felt, Outcome
from undying.cli.chaos.plan import Scene


class Performances:
    """Stages on which nothing happens; `broken`: the cells whose server does not recover."""

    def __init__(self, broken: tuple[str, ...] = ()) -> None:
        self.servers = 0
        self.performed: list[tuple[int, str]] = []
        self._broken = broken

    @contextmanager
    def serving(self, *_: object) -> Iterator[int]:
        self.servers += 1
        yield self.servers

    def stage(self, scene: Scene, server: int, _: Callable[[str], None]) -> "Performance":
        self.performed.append((server, scene.cell.id))
        return Performance(scene, "the server did not settle" if scene.cell.id in self._broken else "")


class Performance:
    """One of them."""

    def __init__(self, scene: Scene, broken: str) -> None:
        self._scene = scene
        self._broken = broken

    async def perform(self) -> Outcome:
        return Outcome((Felt(1.0, 2.0),) * self._scene.faults, acked=5, broken=self._broken)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Return a function that runs the command on given stages; it returns the exit code."""

    def run(performances: Performances, *options: str) -> object:
        monkeypatch.setattr(command, "serving", performances.serving)
        monkeypatch.setattr(command, "Stage", performances.stage)
        monkeypatch.setattr("sys.argv", ["undying", "chaos", *options])
        with pytest.raises(SystemExit) as ended:
            main.main()
        return ended.value.code

    return run


def test_a_cell_that_does_not_exist_is_exit_code_2_and_says_so(
    run: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    performances = Performances()
    assert run(performances, "--only", "store:decide:load") == 2
    assert "store:decide:load" in capsys.readouterr().err
    assert performances.servers == 0


def test_cells_that_are_well_are_exit_code_0_and_one_server(run: Callable[..., object]) -> None:
    performances = Performances()
    assert run(performances, "--only", "*:kill:load", "--only", "root:*:idle", "--repeat", "1", "--json") == 0
    assert len(performances.performed) == 16
    assert performances.servers == 3  # of seven tables each


def test_what_comes_after_a_fault_that_a_server_did_not_recover_from_falls_on_another_one(run: Callable[..., object]) -> None:
    performances = Performances(broken=("session:kill:load",))
    assert run(performances, "--only", "session:kill:*", "--only", "gateway:kill:load", "--repeat", "1") == 1
    assert performances.performed == [(1, "session:kill:idle"), (1, "session:kill:load"), (2, "gateway:kill:load")]


def test_the_tables_can_be_put_into_a_document(run: Callable[..., object], tmp_path: Path) -> None:
    path = tmp_path / "failover.md"
    assert run(Performances(), "--only", "root:kill:idle", "--markdown", str(path)) == 0
    assert "| root:kill:idle | 3 | 5 |" in path.read_text()
