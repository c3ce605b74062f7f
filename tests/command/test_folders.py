"""Which data directory a command means that is given none."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import ConfigError
from tapeline import folders


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TAPELINE_DATA_DIR", "TAPELINE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("demo", "mine"):
        (tmp_path / name).mkdir()
    return tmp_path


@contextmanager
def _running(folder: Path) -> Iterator[None]:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def _configure(here: Path) -> None:
    (here / "tapeline.toml").write_text('data_dir = "mine"')


def test_nothing_is_known_at_first() -> None:
    with pytest.raises(ConfigError, match="no data directory known here"):
        folders.resolve(None)


def test_the_option_goes_first_then_the_variable(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _configure(here)
    monkeypatch.setenv("TAPELINE_DATA_DIR", str(here / "demo"))
    assert folders.resolve(here / "mine") == here / "mine"
    assert folders.resolve(None) == here / "demo"


def test_the_one_used_last_and_the_one_of_the_settings_file(here: Path) -> None:
    _configure(here)
    assert folders.resolve(None).absolute() == here / "mine"
    folders.remember(here / "demo")
    assert folders.resolve(None) == here / "demo"


def test_a_running_daemon_is_meant_whichever_was_used_last(here: Path) -> None:
    """`tapeline halt` must not halt a demo that ended, and leave the daemon trading."""
    _configure(here)
    folders.remember(here / "demo")
    with _running(here / "mine"):
        assert folders.resolve(None) == here / "mine"
        with _running(here / "demo"), pytest.raises(ConfigError, match="say which one is meant with --data-dir"):
            folders.resolve(None)
    with _running(here / "demo"):
        assert folders.resolve(None) == here / "demo"


def test_the_settings_file_that_a_variable_names_counts_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "other.toml").write_text(f'data_dir = "{here / "mine"}"')
    monkeypatch.setenv("TAPELINE_CONFIG", str(here / "other.toml"))
    folders.remember(here / "demo")
    with _running(here / "mine"):
        assert folders.resolve(None) == here / "mine"


def test_a_settings_file_that_cannot_be_read_stops_no_command_for_a_running_daemon(here: Path) -> None:
    folders.remember(here / "demo")
    (here / "tapeline.toml").write_text("data_dir = [")
    with _running(here / "demo"):
        assert folders.resolve(None) == here / "demo"
    with pytest.raises(ConfigError, match=r"tapeline\.toml"):
        folders.resolve(None)


def test_a_daemon_in_the_default_directory_is_known_without_being_named(here: Path) -> None:
    folders.remember(here / "demo")
    with _running(here / "tapeline-data"):
        assert folders.resolve(None) == here / "tapeline-data"
    assert folders.resolve(None) == here / "demo"
