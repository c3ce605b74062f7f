"""Planted secrets through a whole run against a venue that says them back: they are in no output of any kind."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from threading import Event

import pytest

from streams import access
from streams.connection import connect
from streams.keys import identity
from streams.probe import Probe
from streams.role import topology_of
from streams.sql_ask import ask_at
from tapeline import folders
from tapeline.demo import ExchangeProcess
from tapeline.role_main import ROLES
from tests.system.harness import ROOT, SOON, violations, write_bars
from tests.system.scanning import echoing_door, places, processes_of
from tests.system.test_demo import environment, tapeline

pytestmark = [pytest.mark.system, pytest.mark.soak]  # a quarter of a minute of starting processes

KEY = f"PLANTEDKEY{secrets.token_hex(5)}"
SECRET = f"plantedSecret{secrets.token_hex(14)}"
MARK = f"planted-mark-{secrets.token_hex(8)}"
"""Goes the way a secret must not go: a reason of a command, which is meant to be seen everywhere."""


class Desk:
    """What a user of this machine has: settings, keys in the one and the other way, and what the daemon said."""

    def __init__(self, folder: Path, exchange: ExchangeProcess, door: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o600)
        bot = {"name": "b", "strategy": "sma_crossover", "symbols": ["AAA", "BBB"], "capital": "10000"}
        urls = exchange.urls
        self.env = environment() | SOON | {
            "PYTHONPATH": str(ROOT), "ALPACA_API_KEY": KEY, "ALPACA_SECRET_KEY_FILE": str(folder / "secret"),
            "TAPELINE_ALPACA__REST_URL": door, "TAPELINE_ALPACA__DATA_URL": urls["data_rest"],
            "TAPELINE_ALPACA__STOCK_WS_URL": urls["stock_ws"], "TAPELINE_ALPACA__CRYPTO_WS_URL": urls["crypto_ws"],
            "TAPELINE_ALPACA__TRADING_WS_URL": urls["trading_ws"], "TAPELINE_VENUE_CLOCK_URL": urls["control"],
            "TAPELINE_BOTS": json.dumps([bot | {"params": {"fast": 2, "slow": 4}}]), "TAPELINE_LOG__LEVEL": "debug",
            "TAPELINE_DATA_DIR": str(self.data), "TAPELINE_EXECUTOR__REQUESTS_PER_MIN_MAX": "60000",
            "TAPELINE_EXECUTOR__ACTIVITIES_EVERY_S": "1",
        }  # fmt: skip
        self.said: list[str] = []

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "tapeline", "run"], cwd=self.folder, env=self.env, stdout=out, stderr=out
            )

    def asks(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = tapeline(*arguments, "--data-dir", str(self.data), cwd=self.folder)
        self.said += [done.stdout, done.stderr]
        return done

    def is_ready(self) -> bool:
        """Whether every role says that it is."""
        if not (self.data / "run" / "settings.json").exists():
            return False

        async def look() -> bool:
            nats = folders.running_settings(self.data).nats
            nc = await connect(nats.url, "test", identity=identity(nats.nkey_file, "operator"))
            statuses = await Probe(nc, topology_of(folders.running_settings(self.data))).statuses(ROLES, 0.5)
            await nc.close()
            return set(statuses) == set(ROLES) and all(s.state == "ready" for s in statuses.values())

        return asyncio.run(look())

    def count(self, what: str) -> int:
        nats = folders.running_settings(self.data).nats
        who = identity(nats.nkey_file, "subscriber")
        query = f"SELECT count(*) AS n FROM {what}"
        frame, _ = asyncio.run(ask_at(nats.url, nats.prefix, query, 1, 30, identity=who))
        return frame.item()


def until(condition, process: subprocess.Popen[bytes], output: Path, seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()[-3000:]
        time.sleep(0.2)


def test_planted_secrets_are_in_no_output(tmp_path):
    bars = write_bars(tmp_path / "bars.parquet", ["AAA", "BBB"], 60)
    exchange = ExchangeProcess(["--bars", str(bars), "--speed", "300", "--hold"], tmp_path / "exchange.log")
    posts: list[str] = []
    is_key_refused = Event()

    def spoil(method: str, path: str) -> int:
        """Refuse the first order for good, leave the second without an answer; later refuse the key."""
        if is_key_refused.is_set():
            return 401
        if method == "POST" and path.endswith("/orders"):
            posts.append(path)
            return {1: 403, 2: 500}.get(len(posts), 0)
        return 0

    process = None
    output = tmp_path / "output"
    try:
        exchange.wait_ready(30)
        with echoing_door(exchange.urls["rest"], spoil) as door:
            desk = Desk(tmp_path, exchange, door)
            process = desk.start()
            until(desk.is_ready, process, output)
            _check_processes(desk.data)
            urllib.request.urlopen(f"{exchange.urls['control']}/start", b"{}").close()  # noqa: S310
            until(lambda: desk.count("fills") > 2, process, output)
            assert desk.asks("status", "--json").returncode == 0
            assert desk.asks("halt", "--reduce-only", "--reason", MARK).returncode == 0
            query = "SELECT reason FROM order_events WHERE event = 'OrderRejected'"
            rejected = desk.asks("sql", query, "--format", "json").stdout
            assert rejected.count("<hidden>") >= 2, f"the venue's echo did not come this way: {rejected}"
            until(lambda: desk.count("trading_states") > 0, process, output)
            is_key_refused.set()
            assert process.wait(120) == 2, output.read_text()
            assert "ALPACA_API_KEY" in output.read_text().strip().splitlines()[-1]
            assert violations(desk.data) == []
    finally:
        if process is not None:
            process.kill()
            process.wait()
        exchange.stop()
    _check_what_is_left(desk)


def _check_processes(data: Path) -> None:
    """No secret on any command line, and in the environment of those only who talk to the venue."""
    running = processes_of(data)
    assert len(running) >= 6, "the roles and nats-server"
    holders = set()
    for line, found in running.values():
        assert KEY.encode() not in line
        assert SECRET.encode() not in line + found
        if KEY.encode() in found:
            holders.add(line.split(b"\0")[3].decode())
    assert holders == {"feed", "executor"}


def _check_what_is_left(desk: Desk) -> None:
    keys = folders.running_settings(desk.data).nats.nkey_file
    seeds = [(Path(keys) / f"{user}.nk").read_text().strip() for user in access.USERS]
    needles = [KEY, SECRET, *seeds]
    (desk.folder / "said").write_text("\n".join(desk.said))
    (desk.folder / "secret").unlink()
    assert places(desk.folder, needles, skip=".nk") == set()
    # The same scan finds what is there: a mark that went the same ways, and needles put where each kind would be.
    marked = places(desk.folder, [MARK], skip=".nk")
    assert any(name.startswith("data/nats/store/") for name in marked), marked
    assert {"data/tapeline.duckdb:commands", "data/tapeline.duckdb:trading_states"} <= marked, marked
    assert any(name.startswith("data/checkpoints/risk/") for name in marked), marked
    assert "said" in marked
    with (desk.folder / "output").open("a") as output:
        output.write(f"... {seeds[0]} ...")
    assert places(desk.folder, needles, skip=".nk") == {"output"}
    assert {f"data/nats/keys/{user}.nk" for user in access.USERS} <= places(desk.folder, needles)
    assert os.environ.get("ALPACA_API_KEY") != KEY
