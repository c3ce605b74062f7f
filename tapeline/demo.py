"""`tapeline demo`: a local exchange and the whole daemon on it, over real sockets, with a shipped bot.

It starts the exchange as a process of its own, points the Alpaca adapter at it, starts every role, plays the bars,
shows what happens, stops everything in order and sums up from the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from config import bots as bot_files
from config import logs
from config.secrets import without_secrets
from config.settings import Settings, load
from engine.bots import Bot
from engine.errors import ConfigError, TapelineError, UnreachableError
from engine.ids import make_id
from engine.values import CRYPTO_UNIVERSE, AssetClass, asset_class_of
from streams.connection import connect
from streams.keys import OPERATOR, identity
from streams.probe import Probe
from streams.process import spawn, stop
from streams.role import topology_of
from tapeline import folders
from tapeline.bytecode import child_environment
from tapeline.lockstep import Control, Quiet, drive
from tapeline.role_main import ROLES
from tapeline.summary import Summary, summarize
from tapeline.supervisor import Supervisor
from tapeline.view import View

_READY_S_MAX = 90.0
_QUIET_S_MAX = 120.0
_LOOK_S = 0.25
_EXCHANGE_NICE = 0  # a real venue would not use our cores


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen about a demo; None means the default of the exchange or the bot.

    Attributes:
        bars: Bar file; None uses the generator.
        seconds: End after this many real seconds; None plays to the end of the bars.
        role_command: Program that runs a role; tests put their own in.
        settings: More settings, `section.name` to value.
        bots: Bot files, instead of the shipped bot; they say the symbols and the strategy.
    """

    bars: Path | None = None
    from_: datetime | None = None
    to: datetime | None = None
    speed: float | Literal["max"] = 120.0
    symbols: tuple[str, ...] | None = None
    strategy: str | None = None
    seed: int = 1
    data_dir: Path | None = None
    seconds: float | None = None
    crypto_fee_bps: float = 25.0
    role_command: tuple[str, ...] = (sys.executable, "-m", "tapeline.role_main")
    settings: dict[str, object] = {}
    bots: tuple[Path, ...] = ()
    show: Literal["table", "lines", "nothing"] = "lines"


class ExchangeProcess:
    """The local exchange as a child: its URLs, its end."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        argv = [sys.executable, "-m", "tapeline", "exchange", *arguments]
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("ab") as file:
            self._process = spawn(
                argv,
                environment=child_environment(without_secrets(os.environ)),
                stdout=subprocess.PIPE,
                stderr=file,
                nice=_EXCHANGE_NICE,
            )
        self.urls: dict[str, str] = {}

    def wait_ready(self, timeout_s: float) -> None:
        """Read the line with the URLs.

        Raises:
            TapelineError: The exchange ended instead; its own words.
        """
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101  (asked for above)
        readable, _, _ = select.select([pipe], [], [], timeout_s)
        line = pipe.readline() if readable else b""
        if not line:
            code = stop(self._process, 5.0)
            words = self._log.read_text(encoding="utf-8").strip().splitlines()
            error = ConfigError if code == ConfigError.exit_code else TapelineError
            raise error(words[-1].removeprefix("tapeline: ") if words else f"the exchange ended with code {code}")
        self.urls = msgspec.json.decode(line, type=dict[str, str])

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise if it died."""
        if self._process.poll() is not None:
            code = self._process.returncode
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}, see {self._log}"
            msg = f"the exchange {how}; what was recorded until then is whole"
            raise UnreachableError(msg)

    def stop(self) -> None:
        """End it."""
        stop(self._process, 5.0)
        if self._process.stdout is not None:
            self._process.stdout.close()


def exchange_arguments(options: DemoOptions, symbols: Sequence[str] | None) -> list[str]:
    """Write the command line of the exchange for a demo."""
    arguments = ["--port", "0", "--hold", "--speed", str(options.speed), "--seed", str(options.seed)]
    arguments += ["--crypto-fee-bps", str(options.crypto_fee_bps)]
    if options.bars is not None:
        arguments += ["--bars", str(options.bars)]
    if symbols is not None:
        arguments += ["--symbols", ",".join(symbols)]
    for flag, moment in (("--from", options.from_), ("--to", options.to)):
        if moment is not None:
            arguments += [flag, moment.isoformat()]
    return arguments


def choose_bots(options: DemoOptions) -> tuple[Bot, ...]:
    """Give the demo's bot, with the symbols and strategy asked for, or those of the files. Raises ConfigError."""
    if options.bots:
        if options.symbols is not None or options.strategy is not None:
            msg = "--bot names files that say symbols and strategy: leave --symbols and --strategy out"
            raise ConfigError(msg)
        universes = load(None, os.environ).universes
        bot_files.check_universes(universes)
        chosen_bots = tuple(bot_files.load(path, universes) for path in options.bots)
        bot_files.validate_all(chosen_bots)
        names = {bot.name for bot in chosen_bots if not bot.shadow_of}
        for bot in chosen_bots:
            if bot.shadow_of and bot.shadow_of not in names:
                msg = f"bot {bot.name!r}: shadow_of must be a bot of the demo, was {bot.shadow_of}: give its file too"
                raise ConfigError(msg)
        return chosen_bots
    bot = bot_files.shipped("demo")
    if options.bars is not None and options.symbols is None:
        from adapters.exchange.barfile import read_bars

        symbols: Sequence[str] = sorted(read_bars(options.bars).get_column("symbol").unique().to_list())
    else:
        symbols = options.symbols or bot.symbols
    changes: dict[str, object] = {"symbols": tuple(symbols)}
    if options.strategy is not None and options.strategy != bot.strategy:
        changes |= {"strategy": options.strategy, "params": {}}
    if len(symbols) < 10:
        changes["position_fraction"] = min(0.2, 0.9 / len(symbols))
    chosen = msgspec.structs.replace(bot, **changes)
    bot_files.validate(chosen)
    return (chosen,)


def build_settings(
    bots: tuple[Bot, ...], folder: Path, urls: dict[str, str], run: str, more: dict[str, object]
) -> Settings:
    """Point the Alpaca adapter at the local exchange and let venue time count; all else is as in `tapeline run`."""
    overrides: dict[str, object] = {
        "data_dir": str(folder),
        "run_id": run,
        "venue_clock_url": urls["control"],
        "alpaca.rest_url": urls["rest"],
        "alpaca.data_url": urls["data_rest"],
        "alpaca.stock_ws_url": urls["stock_ws"],
        "alpaca.crypto_ws_url": urls["crypto_ws"],
        "alpaca.trading_ws_url": urls["trading_ws"],
        "alpaca.reconnect_s_min": 0.1,
        "executor.requests_per_min_max": 600_000,  # Alpaca's limits are of its own minutes; an hour here takes seconds
        "executor.cancels_per_min_max": 600_000,
        "executor.lookup_wait_s": 0.05,
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TAPELINE_ALPACA__")}
    settings = load(None, environment, overrides | more)
    return msgspec.structs.replace(settings, bots=bots)


def _has_universe(options: DemoOptions, bots: Sequence[Bot]) -> bool:
    """Whether a bot wants all that the market has. Raises ConfigError where that is nothing."""
    wanted = {bot.universe: bot.name for bot in bots if bot.universe}
    if not wanted:
        return False
    there: list[str] = ["AAPL"]  # the generated market has shares only
    if options.bars is not None:
        from adapters.exchange.barfile import read_bars

        there = read_bars(options.bars).get_column("symbol").unique().to_list()
    classes = {asset_class_of(symbol) for symbol in there}
    pairs = ("*", AssetClass.US_EQUITY), (CRYPTO_UNIVERSE, AssetClass.CRYPTO)
    for universe, asset_class in pairs:
        if universe in wanted and asset_class not in classes:
            msg = (
                f"bot {wanted[universe]!r}: symbols {universe!r}: the demo's market has none: "
                "give bars that have with --bars, or name symbols"
            )
            raise ConfigError(msg)
    return True


def new_folder(options: DemoOptions) -> Path:
    """Give the data directory: the one asked for, which must hold no other run, or a new one.

    Raises:
        ConfigError: The directory already holds a run; a demo's exchange starts a new account each time.
    """
    if options.data_dir is None:
        return folders.fresh("demo")
    if (options.data_dir / "nats" / "store").exists():
        msg = (
            f"data directory {options.data_dir} already holds a run, and each demo is a new account: "
            "give a new --data-dir, or delete that one"
        )
        raise ConfigError(msg)
    return options.data_dir


async def run_demo(options: DemoOptions) -> Summary:
    """Run a demo from start to summary. Raises TapelineError with one line where it cannot."""
    bots = choose_bots(options)
    folder = new_folder(options)
    symbols = (
        None if _has_universe(options, bots) else tuple(sorted({symbol for bot in bots for symbol in bot.symbols}))
    )
    exchange = ExchangeProcess(exchange_arguments(options, symbols), folder / "logs" / "exchange.log")
    supervisor: Supervisor | None = None
    started = time.monotonic()
    try:
        exchange.wait_ready(30.0)
        run_id = make_id("demo", options.seed, str(options.speed))[:12]
        settings = build_settings(bots, folder, exchange.urls, run_id, options.settings)
        bot_files.check_limits(settings.limits, bots)
        logs.configure(settings.log.level, "daemon")
        environment = without_secrets(os.environ) | {"ALPACA_API_KEY": "demo", "ALPACA_SECRET_KEY": "demo"}
        supervisor = Supervisor(settings, ROLES, role_command=options.role_command, environment=environment, quiet=True)
        supervisor.start()
        folders.remember(folder)
        run = _Run(options, supervisor, exchange)
        await run.play()
        supervisor.stop()
        if not (folder / "tapeline.duckdb").exists():
            msg = "stopped before play began: nothing was recorded"
            raise TapelineError(msg)
        return summarize(folder, settings, supervisor.restarts, time.monotonic() - started, run.venue)
    finally:
        if supervisor is not None:
            supervisor.stop()
        exchange.stop()


class _Run:
    """The part between start and stop."""

    def __init__(self, options: DemoOptions, supervisor: Supervisor, exchange: ExchangeProcess) -> None:
        self._options = options
        self._supervisor = supervisor
        self._exchange = exchange
        self._polled_at = 0.0
        self._interrupted = False
        self.venue: dict[str, str] = {}

    async def play(self) -> None:
        settings = self._supervisor.settings
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt)
        who = identity(settings.nats.nkey_file, OPERATOR)
        nc = await connect(settings.nats.url, "tapeline-demo", identity=who)
        control = Control(self._exchange.urls["control"])
        probe = Probe(nc, topology_of(settings))
        view = View(self._options.show, probe, nc, settings)
        try:
            await wait_ready(probe, self._supervisor, self._exchange, lambda: self._interrupted)
            view.start()
            started = time.monotonic()

            def is_over() -> bool:
                seconds = self._options.seconds
                return self._interrupted or (seconds is not None and time.monotonic() - started >= seconds)

            async def look() -> None:
                await self._look(view)

            quiet = Quiet(probe, control, _QUIET_S_MAX, look)
            await quiet.start()
            if self._options.speed == "max":
                await drive(quiet, control, on_look=look, should_stop=is_over)
            else:
                await control.start()
                while not is_over():
                    await look()
                    if (await control.status()).state == "finished":
                        await quiet.wait(ROLES)
                        break
                    await asyncio.sleep(_LOOK_S)
                else:
                    return  # cut short: the venue goes on while we stop, so its account says nothing about ours
            self.venue = await _venue_account(self._exchange.urls["rest"]) | await _venue_counts(control)
        finally:
            view.stop()
            await control.close()
            with contextlib.suppress(Exception):
                await nc.close()

    def _interrupt(self) -> None:
        self._interrupted = True

    async def _look(self, view: View) -> None:
        now = time.monotonic()
        if now - self._polled_at >= 0.05:
            self._polled_at = now
            self._supervisor.poll()
            self._exchange.check()
        await view.refresh()


async def wait_ready(
    probe: Probe, supervisor: Supervisor, exchange: ExchangeProcess, is_over: Callable[[], bool] = lambda: False
) -> None:
    """Wait until every role answers that it is ready and the sockets to the venue are up.

    Raises:
        UnreachableError: Not in time; names the roles and where their logs are.
    """
    deadline = time.monotonic() + _READY_S_MAX
    while True:
        supervisor.poll()
        exchange.check()
        statuses = await probe.statuses(ROLES, timeout_s=0.5)
        waiting = [r for r in ROLES if r not in statuses or statuses[r].state != "ready" or statuses[r].problems]
        if not waiting or is_over():
            return
        if time.monotonic() > deadline:
            logs = supervisor.settings.data_path / "logs"
            msg = f"not ready after {_READY_S_MAX:g} s: {', '.join(waiting)}; their logs are in {logs}"
            raise UnreachableError(msg)
        await asyncio.sleep(0.02)


async def _venue_counts(control: Control) -> dict[str, str]:
    status = await control.status()
    names = ("bars_emitted", "executions", "activities", "orders_accepted", "orders_terminal")
    return {name: str(getattr(status, name)) for name in names}


async def _venue_account(rest_url: str) -> dict[str, str]:
    """Give the exchange's own account, for comparing it with the ledger."""
    import aiohttp

    headers = {"APCA-API-KEY-ID": "demo", "APCA-API-SECRET-KEY": "demo"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{rest_url}/v2/account") as response:
            account = msgspec.json.decode(await response.read(), type=dict[str, object])
        async with session.get(f"{rest_url}/v2/positions") as response:
            positions = msgspec.json.decode(await response.read(), type=list[dict[str, object]])
    venue = {str(position["symbol"]): str(position["qty"]) for position in positions}
    return {"cash": str(account["cash"]), "equity": str(account["equity"])} | {
        f"position {symbol}": quantity for symbol, quantity in sorted(venue.items())
    }
