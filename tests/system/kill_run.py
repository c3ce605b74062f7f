"""Plays bars through the whole daemon while processes are killed; a process of its own: SPEC as JSON, result as JSON.

As `tapeline demo` puts it together, and besides: roles with the hook of kill_role.py, kills at moments of the clock,
a nats-server that stays away for a while, and the venue's own story of orders and executions at the end.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aiohttp
import msgspec

from tapeline.bytecode import use_cache

use_cache()
from config.secrets import without_secrets
from streams.connection import connect
from streams.keys import OPERATOR, identity
from streams.probe import Probe
from streams.role import topology_of
from tapeline import lockstep, supervisor
from tapeline.demo import DemoOptions, ExchangeProcess, build_settings, choose_bots, exchange_arguments, wait_ready
from tapeline.lockstep import Control, Quiet, drive
from tapeline.role_main import ROLES, run_loop
from tapeline.summary import summarize
from tapeline.supervisor import Supervisor
from tests.system.killing import gave_up

lockstep._ASK_AFTER_S = 0.2  # many deaths: ask sooner
supervisor._NICE.clear()  # on a busy machine a role that gives way takes a minute to start; starting is most of this
_POLL_S = 0.02
_QUIET_S_MAX = 120.0
_KILLS_S_MAX = 15.0


class Run:
    def __init__(self, spec: dict) -> None:
        self.spec = spec
        self.folder = Path(spec["data_dir"])
        speed = spec["speed"] if spec["speed"] == "max" else float(spec["speed"])
        options = DemoOptions(bars=Path(spec["bars"]), speed=speed, data_dir=self.folder, settings=spec["settings"])
        bots = choose_bots(options)
        arguments = [*exchange_arguments(options, bots[0].symbols), *spec.get("exchange", [])]
        self.exchange = ExchangeProcess(arguments, self.folder / "logs" / "exchange.log")
        self.exchange.wait_ready(30)
        settings = build_settings(bots, self.folder, self.exchange.urls, "killed", options.settings)
        environment = without_secrets(os.environ) | {"ALPACA_API_KEY": "demo", "ALPACA_SECRET_KEY": "demo"}
        command = (sys.executable, str(Path(__file__).parent / "kill_role.py"))
        self.supervisor = Supervisor(settings, ROLES, role_command=command, environment=environment, quiet=True)
        self.timed: list[str] = []
        self.killed: set[int] = set()
        self.server_pid = 0
        self.away_until = 0.0

    async def play(self) -> dict:
        """Play it. Raises where the daemon gave up or never became quiet."""
        started = time.monotonic()
        self.control = Control(self.exchange.urls["control"])
        self.supervisor.start()
        keeper = asyncio.create_task(self._keep())
        player = asyncio.create_task(self._play())
        await asyncio.wait({keeper, player}, return_when=asyncio.FIRST_COMPLETED)
        if keeper.done():
            keeper.result()
        venue = await player
        keeper.cancel()
        await self.control.close()
        self.supervisor.stop()
        seconds = time.monotonic() - started
        summary = summarize(self.folder, self.supervisor.settings, self.supervisor.restarts, seconds, venue["account"])
        return {"summary": msgspec.to_builtins(summary), "venue": venue, "timed": self.timed}

    def stop(self) -> None:
        self.supervisor.stop()
        self.exchange.stop()

    async def _keep(self) -> None:
        """Look after the processes; a nats-server that was killed may have to stay away first."""
        away_s = self.spec.get("server_away_s", 0)
        while True:
            pid = self.supervisor.pids.get("nats", 0)
            if self.server_pid and not pid and away_s and not self.away_until:
                self.away_until = time.monotonic() + away_s
            self.server_pid = pid
            if time.monotonic() >= self.away_until:
                self.away_until = 0.0
                self.supervisor.poll()
            self.exchange.check()
            await asyncio.sleep(_POLL_S)

    async def _play(self) -> dict:
        settings = self.supervisor.settings
        nc = await connect(settings.nats.url, "test-driver", identity=identity(settings.nats.nkey_file, OPERATOR))
        probe = Probe(nc, topology_of(settings))
        await wait_ready(probe, self.supervisor, self.exchange)

        async def look() -> None:
            return

        quiet = Quiet(probe, self.control, _QUIET_S_MAX, look)
        await quiet.start()
        if self.spec["speed"] == "max":
            await drive(quiet, self.control, on_look=look, should_stop=lambda: False)
            await self._wait_for_kills()
        else:
            await self.control.start()
            await self._kill_by_the_clock()
            while (await self.control.status()).state != "finished":
                await asyncio.sleep(_POLL_S)
        await self._wait_for_restarts()
        await quiet.wait(ROLES)
        venue = await self._venue()
        with contextlib.suppress(Exception):
            await nc.close()
        return venue

    async def _wait_for_kills(self) -> None:
        """Those of a lease's renewal need no bars: they may come after the last one."""
        deadline = time.monotonic() + _KILLS_S_MAX
        while time.monotonic() < deadline:
            if len(list(Path(self.spec["marks"]).glob("kill-*"))) >= self.spec["kills"]:
                return
            await asyncio.sleep(_POLL_S)

    async def _wait_for_restarts(self) -> None:
        """Wait until no process is there that was killed: the last kill may come after the last bar."""
        deadline = time.monotonic() + _QUIET_S_MAX
        while time.monotonic() < deadline:  # check_kills says who is not back
            claimed = {int(path.name.rpartition("-")[2]) for path in Path(self.spec["marks"]).glob("claimed-*")}
            pids = self.supervisor.pids
            if {*ROLES, "nats"} <= set(pids) and not (claimed | self.killed) & set(pids.values()):
                return
            await asyncio.sleep(_POLL_S)

    async def _kill_by_the_clock(self) -> None:
        """From the first execution on, kill each victim so long after the kill before, or as soon as it runs again."""
        while (await self.control.status()).executions == 0:
            await asyncio.sleep(_POLL_S)
        for victim, wait_s in self.spec.get("timed", []):
            await asyncio.sleep(wait_s)
            name = "nats" if victim == "nats-server" else victim
            while (pid := self.supervisor.pids.get(name, 0)) == 0 or not self._kill(name, pid):
                await asyncio.sleep(_POLL_S)
            self.timed.append(victim)
            self.killed.add(pid)

    def _kill(self, name: str, pid: int) -> bool:
        """Kill it, unless it has said its last words: a death has one cause. It says no more while it is looked at."""
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + _QUIET_S_MAX
        while _state_of(pid) not in ("T", "Z") and time.monotonic() < deadline:
            time.sleep(0.001)  # nobody else may collect it meanwhile
        counted = self.supervisor.restarts.get(name, 0) - self.timed.count(name)
        if name in ROLES and gave_up(self.folder, name) > counted:
            os.kill(pid, signal.SIGCONT)
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    async def _venue(self) -> dict:
        """What the exchange says it did: its orders, its executions one by one, its account."""
        headers = {"APCA-API-KEY-ID": "demo", "APCA-API-SECRET-KEY": "demo"}
        url = self.exchange.urls["rest"] + "/v2"
        async with aiohttp.ClientSession(headers=headers) as session:

            async def ask(path: str) -> list | dict:
                async with session.get(url + path) as response:
                    assert response.status == 200, await response.text()
                    return await response.json()

            executions: list = []
            token = ""
            while page := await ask(f"/account/activities/FILL?direction=asc&page_size=100{token}"):
                executions += page
                token = f"&page_token={page[-1]['id']}"
            orders = await ask("/orders?status=all&limit=500&direction=asc")
            assert len(orders) < 500, "more orders than one page: use fewer bars"
            account, positions = await ask("/account"), await ask("/positions")
        status = msgspec.to_builtins(await self.control.status())
        names = ("bars_emitted", "executions", "activities", "orders_accepted", "orders_terminal")
        return {
            "orders": orders,
            "executions": executions,
            "account": {"cash": account["cash"]} | {name: str(status[name]) for name in names},
            "positions": {position["symbol"]: position["qty"] for position in positions},
        }


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def main() -> int:
    run = Run(json.loads(sys.argv[1]))

    async def play() -> int:
        print(json.dumps(await run.play()))
        return 0

    try:
        return run_loop(play())
    finally:
        run.stop()


if __name__ == "__main__":
    sys.exit(main())
