"""The dead man's switch against the local exchange: a real supervisor is killed with -9, a real process cancels."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from adapters.exchange.config import ExchangeConfig
from config.settings import AlpacaSettings, DaemonSettings, NatsSettings, Settings
from streams.owner import note_account
from tapeline.supervisor import Supervisor
from tests.exchange.harness import OPEN, Exchange, rising, running, write_csv

ROOT = Path(__file__).resolve().parents[2]
ROLE = [sys.executable, "-c", "import time; time.sleep(600)"]
PARENT = """
import sys, msgspec, time
from pathlib import Path
from config import logs
from config.settings import Settings
from tapeline.supervisor import Supervisor
logs.configure("warning", "daemon")
settings = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Settings)
supervisor = Supervisor(settings, ["executor"], role_command=[sys.executable, "-c", "import time; time.sleep(600)"])
supervisor.start()
while True:
    supervisor.poll()
    print(supervisor.pids.get("executor", 0), flush=True)
    time.sleep(0.1)
"""


@pytest.fixture
def exchange(tmp_path):
    bars = write_csv(tmp_path / "bars.csv", rising("AAPL", 150, 380, start=OPEN))
    with running(ExchangeConfig(bars=bars, speed=600)) as exchange:
        exchange.order(symbol="AAPL", qty="2")
        until(lambda: exchange.get("/v2/positions"), "a position")
        exchange.order(symbol="AAPL", qty="1", type="limit", limit_price="10")
        yield exchange


def until(condition, what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def settings_of(tmp_path: Path, exchange: Exchange, **daemon) -> Settings:
    urls = exchange.urls
    note_account(tmp_path / "data", exchange.get("/v2/account")["account_number"])
    return Settings(
        data_dir=str(tmp_path / "data"), venue_clock_url=urls["control"], nats=NatsSettings(url="nats://127.0.0.1:1"),
        alpaca=AlpacaSettings(rest_url=urls["rest"]), daemon=DaemonSettings(**daemon),
    )  # fmt: skip


def still_open(exchange: Exchange) -> int:
    return len(exchange.get("/v2/orders", status="open"))


def watchers(folder: Path) -> list[int]:
    """Process ids of the switches of a data directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"tapeline.fence.deadman" in words and any(str(folder).encode() in word for word in words):
            found.append(int(entry.parent.name))
    return found


@pytest.mark.kill
def test_a_supervisor_killed_with_its_executor_leaves_no_order_open(exchange, tmp_path):
    file = tmp_path / "settings.json"
    file.write_bytes(msgspec.json.encode(settings_of(tmp_path, exchange, cancel_on_death_s=0.5)))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(file)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        executor = int(parent.stdout.readline())
        until(lambda: watchers(tmp_path / "data"), "the switch")
        os.kill(executor, signal.SIGKILL)  # started again at once: nothing is canceled
        until(lambda: int(parent.stdout.readline()) not in (0, executor), "a new executor")
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert still_open(exchange) == 1
    until(lambda: still_open(exchange) == 0, "the cancel")
    until(lambda: not watchers(tmp_path / "data"), "the end of the switch")
    assert exchange.get("/v2/positions")[0]["qty"] == "2"
    said = (tmp_path / "data" / "logs" / "deadman.log").read_text()
    assert "no executor lives" in said


def test_an_orderly_stop_cancels_only_when_asked_to(exchange, tmp_path):
    for wanted in (False, True):
        settings = settings_of(tmp_path, exchange, cancel_on_death_s=0.5, cancel_on_exit=wanted)
        supervisor = Supervisor(settings, ["executor"], role_command=ROLE)
        supervisor.start()
        until(lambda: watchers(tmp_path / "data"), "the switch")
        supervisor.stop()
        assert watchers(tmp_path / "data") == []
        assert still_open(exchange) == int(not wanted)
