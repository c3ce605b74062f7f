"""What the supervisor does about a nats-server that dies, also while it starts."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from config.settings import Settings
from engine.errors import UnreachableError
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
    monkeypatch.setattr("tapeline.supervisor._BACKOFF_S", (0.01,))
    killed = _dies_while_it_starts(monkeypatch, supervisor, 100)
    _kill(supervisor.pids["nats"])
    deadline = time.monotonic() + 20
    with pytest.raises(UnreachableError, match="did not start"):
        while time.monotonic() < deadline:
            supervisor.poll()
    assert len(killed) == 5
