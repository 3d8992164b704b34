"""The data directory: one server at a time, secrets for their owner only, facts that survive."""

import stat
from pathlib import Path

import pytest

from undying.cli import datadir
from undying.cli.datadir import DataDir, Started
from undying.protocol.errors import Code, UndyingError


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_and_its_token_are_for_their_owner_only(tmp_path: Path) -> None:
    directory = DataDir.open(tmp_path / "deep" / "data")
    directory.admin_token()
    assert _mode(tmp_path / "deep" / "data") == 0o700
    assert _mode(tmp_path / "deep" / "data" / "admin-token") == 0o600
    directory.close()


def test_a_directory_with_other_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "letters.txt").write_text("dear …")
    directory = DataDir.open(tmp_path)
    directory.admin_token()
    assert _mode(tmp_path) == 0o755
    assert _mode(tmp_path / "admin-token") == 0o600
    directory.close()


def test_the_admin_token_is_made_once_and_kept(tmp_path: Path) -> None:
    first = DataDir.open(tmp_path)
    token = first.admin_token()
    assert len(token) >= 32
    assert first.admin_token() == token
    first.close()
    second = DataDir.open(tmp_path)
    assert second.admin_token() == token
    second.close()


def test_a_directory_has_an_id_that_no_other_has(tmp_path: Path) -> None:
    one, other = DataDir.open(tmp_path / "one"), DataDir.open(tmp_path / "other")
    assert one.server_id() == one.server_id() != other.server_id()
    one.close()
    other.close()


def test_a_second_server_is_refused_while_the_first_one_runs(tmp_path: Path) -> None:
    first = DataDir.open(tmp_path)
    with pytest.raises(UndyingError) as refused:
        DataDir.open(tmp_path)
    assert refused.value.failure.code is Code.ALREADY_EXISTS
    first.close()
    DataDir.open(tmp_path).close()


def test_what_cannot_be_a_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UndyingError) as refused:
        DataDir.open(tmp_path / "file" / "data")
    assert refused.value.failure.code is Code.UNAVAILABLE
    assert str(tmp_path / "file") in refused.value.failure.message


def test_the_url_is_there_while_the_server_is(tmp_path: Path) -> None:
    directory = DataDir.open(tmp_path)
    directory.announce("http://127.0.0.1:8420")
    assert datadir.read_fact(tmp_path / "url") == "http://127.0.0.1:8420"
    directory.withdraw()
    assert datadir.read_fact(tmp_path / "url") is None
    directory.close()


def test_a_record_of_processes_outlives_the_server_that_was_killed(tmp_path: Path) -> None:
    killed = DataDir.open(tmp_path)
    killed.record([Started(10, 1.5), Started(11, 2.5)])
    killed.close()
    successor = DataDir.open(tmp_path)
    assert successor.left_behind() == [(10, 1.5), (11, 2.5)]
    successor.withdraw()
    assert successor.left_behind() == []
    successor.close()


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"processes": [[1]]}', '{"processes": [["a", "b"]]}', '{"processes": 1}'])
def test_a_torn_record_is_no_record(tmp_path: Path, torn: str) -> None:
    directory = DataDir.open(tmp_path)
    (tmp_path / "run.json").write_text(torn)
    assert directory.left_behind() == []
    directory.close()
