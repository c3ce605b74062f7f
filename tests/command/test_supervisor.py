"""What the supervisor does about a nats-server that dies, also while it starts, and about roles that do not stay up."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from config.settings import DaemonSettings, NatsSettings, Settings
from engine.errors import TapelineError, UnreachableError
from streams import server
from tapeline.supervisor import Supervisor


@pytest.fixture
def supervisor(tmp_path: Path):
    """One without roles, so that its nats-server is all it looks after."""
    settings = Settings(data_dir=str(tmp_path / "data"))
    made = Supervisor(settings, [], quiet=True)
    made.start()
    yield made
    made.stop()


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _dies_while_it_starts(monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor, times: int) -> list[int]:
    """Kill the next `times` processes the moment they are asked whether they listen."""
    real = server._greets
    killed: list[int] = []

    def greets(port: int) -> bool:
        if len(killed) < times:
            pid = supervisor._server._process.pid  # type: ignore[union-attr]
            _kill(pid)
            killed.append(pid)
            return False
        return real(port)

    monkeypatch.setattr(server, "_greets", greets)
    return killed


@pytest.mark.kill
def test_a_server_that_dies_while_it_starts_is_started_again(supervisor, monkeypatch):
    first = supervisor.pids["nats"]
    killed = _dies_while_it_starts(monkeypatch, supervisor, 2)
    _kill(first)
    deadline = time.monotonic() + 20
    while "nats" not in supervisor.pids:
        assert time.monotonic() < deadline
        supervisor.poll()
    assert len(killed) == 2
    assert supervisor.pids["nats"] not in (first, *killed)


@pytest.mark.kill
def test_a_server_that_never_starts_again_ends_the_daemon(supervisor, monkeypatch):
    monkeypatch.setattr("tapeline.server_keeper._BACKOFF_S", (0.01,) * 4)
    killed = _dies_while_it_starts(monkeypatch, supervisor, 100)
    _kill(supervisor.pids["nats"])
    deadline = time.monotonic() + 20
    with pytest.raises(UnreachableError, match="did not start"):
        while time.monotonic() < deadline:
            supervisor.poll()
    assert len(killed) == 5


# Ends as its turn says (exit code, or -9), then stays: ENDS FOLDER ROLE SETTINGS.
ROLE = """
import os, pathlib, sys, time
ends, folder = sys.argv[1].split(","), pathlib.Path(sys.argv[2])
turn = len(list(folder.glob("turn-*")))
(folder / f"turn-{turn}").touch()
end = ends[min(turn, len(ends) - 1)]
if end == "-9":
    os.kill(os.getpid(), 9)
if end != "stay":
    sys.exit(int(end))
(folder / "stays").touch()
time.sleep(60)
"""


def _with_role(folder: Path, ends: str) -> Supervisor:
    settings = Settings(
        data_dir=str(folder / "data"),
        nats=NatsSettings(url="nats://127.0.0.1:1"),
        daemon=DaemonSettings(restart_wait_s_max=0.01),
    )
    return Supervisor(settings, ["signals"], role_command=(sys.executable, "-c", ROLE, ends, str(folder)), quiet=True)


@pytest.mark.kill
def test_a_role_that_was_killed_often_may_give_up_once(tmp_path):
    """Killed by somebody else says nothing about whether it stays up."""
    daemon = _with_role(tmp_path, "-9,-9,-9,-9,4,-9,4,4,4,stay")
    try:
        daemon.start()
        deadline = time.monotonic() + 60
        while not (tmp_path / "stays").exists():
            assert time.monotonic() < deadline
            daemon.poll()
        assert daemon.restarts == {"signals": 9}
    finally:
        daemon.stop()


def test_a_role_that_gives_up_again_and_again_ends_the_daemon(tmp_path):
    daemon = _with_role(tmp_path, "4")
    try:
        daemon.start()
        deadline = time.monotonic() + 60
        with pytest.raises(TapelineError, match="ended with code 4"):
            while time.monotonic() < deadline:
                daemon.poll()
        assert daemon.restarts == {"signals": 3}
    finally:
        daemon.stop()
