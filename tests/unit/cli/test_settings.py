"""The settings of a server: where values come from, what is refused, and that secrets stay out of sight."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from persistence.durability import Durability
from undying.cli.settings import ENV_PREFIX, ServeSettings, explain


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)


def test_the_defaults_serve_this_machine_only_and_sync_every_commit() -> None:
    settings = ServeSettings()
    assert (settings.host, settings.port, settings.durability, settings.redis_url) == ("127.0.0.1", 8420, "always", None)
    assert (settings.actors_per_node, settings.spares, settings.gateways, settings.rate_limit) == (64, 2, 1, 30)


def test_a_variable_sets_what_no_option_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDYING_PORT", "9000")
    monkeypatch.setenv("UNDYING_SPARES", "5")
    settings = ServeSettings(port=9001)
    assert (settings.port, settings.spares) == (9001, 5)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDYING_REDIS_URL", "")
    monkeypatch.setenv("UNDYING_PORT", "")
    assert ServeSettings() == ServeSettings(port=8420, redis_url=None)


def test_the_data_directory_is_absolute_so_that_every_process_means_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ServeSettings().data_dir == tmp_path / ".undying"
    assert ServeSettings(data_dir=Path("a/../b")).data_dir == tmp_path / "b"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1),
        ("port", 65_536),
        ("host", ""),
        ("actors_per_node", 0),
        ("spares", -1),
        ("spares", 65),
        ("gateways", 0),
        ("rate_limit", -1),
        ("durability", "sometimes"),
        ("checkpoint_events", 0),
        ("checkpoint_s", 0.0),
        ("checkpoint_s", float("nan")),
        ("redis_url", "http://example.org"),
        ("redis_url", "localhost:6379"),
        ("public_url", "ftp://example.org"),
        ("public_url", "https://"),
        ("admin_token", "two words"),
        ("admin_token", "é"),
        ("log_level", "loud"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        ServeSettings(**{name: value})  # type: ignore[arg-type] # that is the point
    assert explain(refused.value).startswith(f"{name}: ")


def test_replicated_durability_needs_a_store_that_has_replicas() -> None:
    with pytest.raises(ValidationError) as refused:
        ServeSettings(durability=Durability.REPLICATED)
    assert "redis_url" in explain(refused.value)
    assert ServeSettings(durability=Durability.REPLICATED, redis_url="redis://db").durability is Durability.REPLICATED


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        ServeSettings(prot=1)  # type: ignore[call-arg] # that is the point


def test_settings_cross_to_another_process_whole_whatever_its_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServeSettings(port=0, admin_token="s3cret", redis_url="redis://:pw@db/0", checkpoint_s=1.5)
    plain = settings.to_plain()
    monkeypatch.setenv("UNDYING_PORT", "1")
    monkeypatch.setenv("UNDYING_RAY_ADDRESS", "elsewhere:6379")
    assert ServeSettings.from_plain(plain) == settings


def test_plain_data_that_lacks_a_setting_is_refused_and_not_filled_in_from_the_environment() -> None:
    plain = ServeSettings().to_plain()
    del plain["port"]
    with pytest.raises(ValueError, match="port"):
        ServeSettings.from_plain(plain)


def test_secrets_are_in_neither_the_text_of_settings_nor_an_error() -> None:
    settings = ServeSettings(admin_token="s3cret", redis_url="redis://:s3cret@db")
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)
    with pytest.raises(ValidationError) as refused:
        ServeSettings(admin_token="s3cret with spaces", redis_url="http://:s3cret@db")
    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in explain(refused.value)


def test_settings_do_not_change_and_a_changed_copy_is_checked() -> None:
    settings = ServeSettings()
    with pytest.raises(ValidationError):
        settings.port = 1
    assert settings.replace(port=1).port == 1
    with pytest.raises(ValidationError):
        settings.replace(port=-1)
