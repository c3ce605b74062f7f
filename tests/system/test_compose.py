"""compose.yaml: each service's command as a plain process with its environment, with the local exchange as venue; then
its healthcheck. A volume is a folder, and nats-server runs on deploy/nats.conf with the keys that `keys` made."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from config.settings import Settings
from streams.connection import connect
from streams.keys import OPERATOR, identity
from streams.probe import Probe
from streams.role import topology_of
from streams.server import _greets, binary
from tapeline.demo import ExchangeProcess
from tests.system.harness import ROOT, write_bars

pytestmark = pytest.mark.system

SCRIPTS = Path(sys.executable).parent
ROLES = ["feed", "signals", "risk", "executor", "recorder"]


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def test_every_role_is_a_service_with_volume_and_healthcheck(compose):
    services = compose["services"]
    assert set(services) == {"keys", "nats", "operator", *ROLES}
    assert services["nats"]["depends_on"]["keys"]["condition"] == "service_completed_successfully"
    users = {*ROLES, "operator", "subscriber"}
    assert set(services["keys"]["volumes"]) == {"accounts:/keys/nats", *(f"{user}:/keys/{user}" for user in users)}
    for name in ROLES:
        service = services[name]
        assert service["command"] == ["tapeline", "run", name]
        assert service["volumes"] == [f"{name}:/data"]
        assert service["healthcheck"]["test"] == ["CMD", "tapeline", "status", "--role", name]
        assert service["depends_on"]["nats"]["condition"] == "service_healthy"
        assert service["environment"]["TAPELINE_NATS__NKEY_FILE"] == f"/data/{name}.nk"
        assert ("ALPACA_API_KEY" in service["environment"]) == (name in ("feed", "executor"))
    assert set(compose["volumes"]) == {"nats", "accounts", *users}


@contextmanager
def _nats(compose: dict, tmp_path: Path) -> Iterator[str]:
    """Run the services keys and nats; gives the URL."""
    command = [part.replace("/keys", str(tmp_path)) for part in compose["services"]["keys"]["command"]]
    done = subprocess.run(
        [str(SCRIPTS / command[0]), *command[1:]], env=_clean(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = (ROOT / "deploy" / "nats.conf").read_text()
    assert "sync_interval: always" in text
    changes = {"0.0.0.0:4222": f"127.0.0.1:{port}", '"/data"': f'"{tmp_path / "store"}"', "accounts/": "nats/"}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    config = tmp_path / "nats.conf"
    config.write_text(re.sub(r"http: .*", f'log_file: "{tmp_path / "nats.log"}"', text))
    process = subprocess.Popen([binary(), "-c", config], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not _greets(port):
            assert process.poll() is None, (tmp_path / "nats.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
    assert "Violation" not in (tmp_path / "nats.log").read_text()


@pytest.mark.soak
def test_every_service_runs_and_is_healthy(compose, tmp_path):
    bars = write_bars(tmp_path / "bars.parquet", ["AAPL", "MSFT"], 30)
    (tmp_path / "bot.toml").write_text(
        'name = "b"\nstrategy = "sma_crossover"\nsymbols = ["AAPL", "MSFT"]\ncapital = "10000"\n'
    )
    stack = ExitStack()
    nats_url = stack.enter_context(_nats(compose, tmp_path))
    exchange = ExchangeProcess(["--bars", str(bars), "--speed", "60", "--hold"], tmp_path / "exchange.log")
    processes: dict[str, subprocess.Popen] = {}
    try:
        exchange.wait_ready(30)
        venue = {
            "TAPELINE_ALPACA__REST_URL": exchange.urls["rest"],
            "TAPELINE_ALPACA__DATA_URL": exchange.urls["data_rest"],
            "TAPELINE_ALPACA__STOCK_WS_URL": exchange.urls["stock_ws"],
            "TAPELINE_ALPACA__TRADING_WS_URL": exchange.urls["trading_ws"],
            "TAPELINE_VENUE_CLOCK_URL": exchange.urls["control"],
            "TAPELINE_BOT_FILES": '["' + str(tmp_path / "bot.toml") + '"]',
        }
        environments = {}
        for name in ROLES:
            service = compose["services"][name]
            own = {key: _filled(value, nats_url, tmp_path / name) for key, value in service["environment"].items()}
            environments[name] = _clean() | own | venue
            command = [str(SCRIPTS / service["command"][0]), *service["command"][1:]]
            with (tmp_path / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(
                    command, env=environments[name], cwd=tmp_path, stdout=log, stderr=log
                )
        operator = compose["services"]["operator"]
        own = {k: _filled(v, nats_url, tmp_path / "operator") for k, v in operator["environment"].items()}
        asyncio.run(_until_ready(nats_url, own["TAPELINE_NATS__NKEY_FILE"], processes, tmp_path))

        def look(name: str) -> None:
            test = compose["services"][name]["healthcheck"]["test"]
            command = [str(SCRIPTS / test[1]), *test[2:]]
            _until_healthy(command, environments[name], processes[name], tmp_path / f"{name}.log")

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(look, ROLES))
        for key, code, said in ((own["TAPELINE_NATS__NKEY_FILE"], 0, "feed"), ("", 2, "demands a key")):
            done = subprocess.run(
                [str(SCRIPTS / "tapeline"), *operator["command"]],
                env=_clean() | own | {"TAPELINE_NATS__NKEY_FILE": key}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == code, done.stderr
            assert said in done.stdout + done.stderr
        for name in ROLES:
            processes[name].send_signal(signal.SIGTERM)
        for name in ROLES:
            assert processes[name].wait(30) == 0, (tmp_path / f"{name}.log").read_text()
        done = subprocess.run(
            [str(SCRIPTS / "tapeline"), "status", "--role", "feed"],
            env=environments["feed"],
            capture_output=True,
            check=False,
        )
        assert done.returncode != 0, "a stopped role must not be healthy"
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        exchange.stop()
        stack.close()


def _clean() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("TAPELINE_", "ALPACA_"))}


def _filled(value: str, nats_url: str, folder: Path) -> str:
    """Fill in what compose would: variables, the nats service's name, the volume."""
    value = re.sub(r"\$\{(\w+):\?[^}]*\}", "test", str(value))
    return value.replace("nats://nats:4222", nats_url).replace("/data", str(folder))


async def _until_ready(url: str, nkey_file: str, processes: dict[str, subprocess.Popen], folder: Path) -> None:
    """Ask the roles how they are: a healthcheck is a process, and many of them would take the roles' time to start."""
    nc = await connect(url, "test", identity=identity(nkey_file, OPERATOR))
    probe = Probe(nc, topology_of(Settings()))
    deadline = time.monotonic() + 60
    while True:
        statuses = await probe.statuses(tuple(ROLES), 0.5)
        if set(statuses) == set(ROLES) and all(status.state == "ready" for status in statuses.values()):
            break
        for name, process in processes.items():
            assert process.poll() is None, (folder / f"{name}.log").read_text()
        assert time.monotonic() < deadline, statuses
        await asyncio.sleep(0.05)
    await nc.close()


def _until_healthy(command: list[str], env: dict[str, str], process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"{done.stdout}{done.stderr}\n{log.read_text()}"
