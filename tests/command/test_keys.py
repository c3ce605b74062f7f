"""Keys as the command meets them: made for an external NATS, and refused without taking a halt back."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import msgspec
import pytest

from config.settings import NatsSettings, Settings
from engine.errors import ConfigError
from streams import access, keys
from streams.latch import Latch
from streams.locks import FolderLock
from streams.server import binary
from tapeline import folders
from tapeline.halt import HaltOptions, run_halt
from tapeline.keys import run_keys


def test_keys_for_an_external_server_are_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_keys(tmp_path / "keys", "tape", apart=False) == 0
    said = capsys.readouterr().out
    accounts = (tmp_path / "keys" / "accounts.conf").read_text()
    seeds = [(tmp_path / "keys" / f"{user}.nk").read_text().strip() for user in access.USERS]
    assert not any(seed in said + accounts for seed in seeds)
    for user in access.USERS:
        identity = keys.identity(str(tmp_path / "keys"), user)
        assert identity is not None
        assert identity.public in said
        assert identity.public in accounts
    assert run_keys(tmp_path / "keys", "tape", apart=False) == 0
    assert capsys.readouterr().out == said
    assert (tmp_path / "keys" / "accounts.conf").read_text() == accounts
    (tmp_path / "nats.conf").write_text('jetstream { store_dir: "/nowhere" }\ninclude "keys/accounts.conf"\n')
    done = subprocess.run([binary(), "-t", "-c", tmp_path / "nats.conf"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_apart_each_user_has_a_folder_with_its_key_alone(tmp_path: Path) -> None:
    assert run_keys(tmp_path, "paper", apart=True) == 0
    for user in access.USERS:
        (path,) = (tmp_path / user).iterdir()
        assert path.name == f"{user}.nk"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "nats").iterdir()] == ["accounts.conf"]
    assert "paper.commands" in (tmp_path / "nats" / "accounts.conf").read_text()


def test_a_prefix_that_is_no_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nats\.prefix"):
        run_keys(tmp_path / "keys", 'tape" }', apart=False)
    assert not (tmp_path / "keys").exists()


def test_a_halt_holds_also_when_the_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys.make(tmp_path / "keys", access.USERS)
    (tmp_path / "keys" / "operator.nk").chmod(0o644)
    nats = NatsSettings(url="nats://127.0.0.1:1", nkey_file=str(tmp_path / "keys"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_bytes(msgspec.json.encode(Settings(nats=nats)))
    lock = FolderLock(tmp_path)
    try:
        assert run_halt(tmp_path, "by hand", HaltOptions()) == 1
    finally:
        lock.release()
    assert Latch(tmp_path).is_set()
    said = capsys.readouterr().err
    assert "chmod 600" in said
    assert "the latch holds" in said


def test_the_environment_names_a_nats_and_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders.nats_of_environment() is None
    monkeypatch.setenv("TAPELINE_NATS__URL", "nats://host:4222")
    monkeypatch.setenv("TAPELINE_NATS__NKEY_FILE", "/keys/feed.nk")
    assert folders.nats_of_environment() == NatsSettings(url="nats://host:4222", nkey_file="/keys/feed.nk")
    monkeypatch.setenv("TAPELINE_NATS__PREFIX", "Not a prefix")
    with pytest.raises(ConfigError, match=r"nats\.prefix"):
        folders.nats_of_environment()
