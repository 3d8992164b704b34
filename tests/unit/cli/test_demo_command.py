"""`undying demo` before a server is started: a file that is no recorded session is a usage error."""

from pathlib import Path

import pytest

from undying.cli import main


@pytest.mark.parametrize(("content", "said"), [(None, "no.jsonl"), ("{}\n", "line 1"), ("", "at least 6")])
def test_an_input_that_is_no_session_is_exit_code_2_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "no.jsonl"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr("sys.argv", ["undying", "demo", "--json", "--input", str(path)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert said in "".join(err.split("│")).replace("\n", " ")
