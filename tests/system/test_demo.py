"""The main job as a user runs it: a demo by its command line, killed; bars through it twice. test_halt.py asks one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.system.harness import ROOT, SOON, count, difference, fingerprint
from tests.system.killing import SYMBOLS, play

pytestmark = pytest.mark.system


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("TAPELINE_", "ALPACA_"))}


def tapeline(*arguments: str, cwd: Path = ROOT, timeout: float = 60, env: dict | None = None):
    command = [sys.executable, "-m", "tapeline", *arguments]
    found = environment() | {"PYTHONPATH": str(ROOT)} | (env or {})
    return subprocess.run(command, cwd=cwd, env=found, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.soak
def test_nothing_is_left_running_when_the_demo_is_killed(tmp_path):
    """kill -9 of the demo itself, which trades: every role, nats-server and the exchange end with it."""
    folder = tmp_path / "d"
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tapeline", "demo", "--speed", "600", "--data-dir", str(folder), "--json"],
            cwd=ROOT, env=environment() | SOON, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    children: list[int] = []
    try:
        deadline = time.monotonic() + 60
        while not ((folder / "run" / "settings.json").exists() and count(folder, "fills") > 5):
            assert process.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline, (tmp_path / "out").read_text()
            time.sleep(0.05)
        children = _children(process.pid)
        assert len(children) == 7, "five roles, nats-server, exchange"
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 15
    while any(_lives(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in children if _lives(pid)] == []


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.soak
def test_two_runs_give_the_same_bodies(calm, tmp_path):
    """Same bars and seed: alone, and beside a CPU burner under another hash seed; whole bodies by subject.

    With a collar every symbol has marks, whose place and content follow from ticks: they must be equal too.
    """
    bars, first = calm
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"])]
    try:
        second = play(tmp_path, bars, env={"PYTHONHASHSEED": "2"})
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    a, b = first.bodies, second.bodies
    assert a == b, difference(a, b)
    assert fingerprint(a) == fingerprint(b)
    assert sum(map(len, a.values())) > 100
    assert first.summary["fills"] == second.summary["fills"] > 5
    assert [len(a[f"tape.marks.{symbol}"]) for symbol in SYMBOLS] == [
        4 * len(a[f"tape.bars.1m.{symbol}"]) for symbol in SYMBOLS
    ]
    assert first.tables == second.tables
    assert first.venue["account"] == second.venue["account"]


def test_the_summary_has_what_is_promised():
    from tapeline.summary import Summary

    names = {field.name for field in msgspec.structs.fields(Summary)}
    assert {"bars", "signals", "intents", "denials", "orders", "fills", "realized_pnl", "equity", "database"} <= names
