"""Logs: JSON for machines, key=value for people, secrets for nobody."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from undying.cli import logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_machine_gets_one_json_object_per_line() -> None:
    out = io.StringIO()
    logs.configure("info", out)
    structlog.get_logger("host").info("claimed", stream="session:a", epoch=3)
    line = json.loads(out.getvalue())
    assert (line["event"], line["stream"], line["epoch"], line["level"]) == ("claimed", "session:a", 3, "info")
    assert line["timestamp"].endswith("Z")


def test_a_person_at_a_terminal_gets_key_value_pairs() -> None:
    out = Terminal()
    logs.configure("info", out)
    structlog.get_logger("host").info("claimed", epoch=3)
    assert "claimed" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_what_libraries_log_leaves_in_the_same_form() -> None:
    out = io.StringIO()
    logs.configure("info", out)
    logging.getLogger("somebody.else").warning("slow by %d ms", 7)
    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("slow by 7 ms", "warning", "somebody.else")


def test_what_is_below_the_level_is_not_written() -> None:
    out = io.StringIO()
    logs.configure("warning", out)
    structlog.get_logger("host").info("claimed")
    logging.getLogger("uvicorn").info("request")
    assert out.getvalue() == ""


@pytest.mark.parametrize("facts", [{"token": "s3cret"}, {"Authorization": "s3cret"}, {"settings": {"admin_token": "s3cret"}}])
def test_secrets_are_hidden_whoever_logs_them(facts: dict[str, object]) -> None:
    out = io.StringIO()
    logs.configure("info", out)
    structlog.get_logger("careless").info("settings", **facts)
    assert "s3cret" not in out.getvalue()
    assert "[hidden]" in out.getvalue()


def test_an_exception_is_logged_with_its_traceback_on_one_line() -> None:
    out = io.StringIO()
    logs.configure("info", out)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        structlog.get_logger("host").exception("failed")
    line = json.loads(out.getvalue())
    assert "RuntimeError: broken" in line["exception"]


def test_the_last_configuration_counts() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure("info", first)
    logs.configure("info", second)
    structlog.get_logger("host").info("claimed")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1
