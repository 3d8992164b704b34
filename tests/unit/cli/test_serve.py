"""`undying serve` before anything starts: what can't be is said in words and told apart by the exit code."""

from pathlib import Path

import pytest

from undying.cli import main
from undying.cli.datadir import DataDir


def _exit_of(monkeypatch: pytest.MonkeyPatch, *args: str) -> object:
    monkeypatch.setattr("sys.argv", ["undying", "serve", *args])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return ended.value.code


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--port", "65536"), "port: "),
        (("--port", "many"), "--port"),
        (("--durability", "sometimes"), "--durability"),
        (("--durability", "replicated"), "redis_url"),
        (("--redis-url", "http://:s3cret@db"), "redis_url: "),
        (("--spares", "-1"), "spares: "),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_an_option_that_cannot_be_is_exit_code_2_and_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    assert _exit_of(monkeypatch, *args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "s3cret" not in err


def test_a_variable_that_cannot_be_is_exit_code_2_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNDYING_GATEWAYS", "0")
    assert _exit_of(monkeypatch) == 2
    assert "gateways: " in capsys.readouterr().err


def test_a_directory_that_a_server_uses_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running = DataDir.open(tmp_path)
    said = _exit_of(monkeypatch, "--data-dir", str(tmp_path))  # text: the interpreter prints it on stderr and exits with 1
    assert said == f"undying: a server is already running on {tmp_path} (ALREADY_EXISTS)"
    running.close()
