"""Many bots in one demo, changed from the command line while bars flow; each says what it says alone."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from config import bots as bot_files
from config import own
from config.settings import SignalsSettings
from engine.bots import Bot
from engine.messages import Bar, BotDefined, Sessions, Signal, Timer, body_json
from engine.signals import SignalEngine
from engine.strategies import names, params_of
from engine.values import NS_PER_MS
from engine.window import Window
from tests.engine.build import D
from tests.system.harness import ROOT, bodies, count
from tests.system.test_demo import environment, tapeline
from tests.system.test_halt import wait_until

pytestmark = pytest.mark.system

RAISING = "class Raising:\n    def on_bar(self, bar):\n        return bar.close / 0\n\n    snapshot = dict\n"
SHORT = {
    "momentum": {"fast": 3, "slow": 8},
    "breakout": {"period": 5},
    "rsi": {"period": 3, "oversold": 45, "overbought": 55},
    "macd_trend": {"fast": 2, "slow": 5, "signal": 3},
    "bollinger_reversion": {"period": 5},
    "stochastic": {"period": 5},
    "obv_trend": {"period": 5},
}
"""Parameters with which a strategy says something within minutes."""


def _made(folder: Path, count: int, symbols: list[str]) -> list[Path]:
    """Bot files: every strategy again and again, on some of the symbols; some speak at some times only, some look at longer bars, one raises."""
    draw = random.Random(4)
    kinds = [name for name in names() if name not in ("rule", "multi", "crypto_scalping")]
    paths: list[Path] = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        known = {field.name for field in msgspec.structs.fields(params_of(kind))}
        params = {name: value for name, value in SHORT.get(kind, {}).items() if name in known}
        chosen = tuple(sorted(draw.sample(symbols, min(8, len(symbols)))))
        bot = Bot(f"bot{number}", kind, chosen, D(1_000), params, position_fraction=0.1)
        if number % 7 == 3:
            bot = msgspec.structs.replace(bot, trading_frequency=(90, 180)[number % 2])
        if number % 7 == 1:
            bot = msgspec.structs.replace(bot, publish_indicators=True)
        if number % 7 == 2:
            bot = msgspec.structs.replace(bot, timeframe=("2m", "5m")[number % 2])
        if number % 7 == 5:
            bot = msgspec.structs.replace(bot, window=Window("09:35", "09:45", flatten_before_s=30 * (number % 3)))
        path = folder / f"{bot.name}.toml"
        path.write_text(bot_files.text_of(bot))
        paths.append(path)
    (folder / "raising.py").write_text(RAISING)
    bad = folder / "bad.toml"
    bad.write_text('name = "bad"\nstrategy = "raising.py:Raising"\nsymbols = ["S000", "S001"]\ncapital = 1000\n')
    return [*paths, bad]


def _do(folder: Path, *arguments: str) -> str:
    done = tapeline("bots", *arguments, "--data-dir", str(folder))
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def _change(folder: Path, tmp_path: Path, last: int) -> None:
    """Everything a person may do to bots, while bars come."""
    new = tmp_path / "new.toml"
    new.write_text('name = "new"\nstrategy = "sma_crossover"\nsymbols = ["S000", "S002"]\ncapital = 1000\n')
    _do(folder, "add", str(new))
    _do(folder, "pause", "bot0", "bot1", "--reason", "look")
    _do(folder, "update", "bot2", "--set", "capital=900")
    _do(folder, "update", f"bot{last}", "--set", "strategy=sma_crossover", "--set", "params={fast = 2, slow = 4}")
    _do(folder, "stop", "bot3")
    _do(folder, "start", "bot0", "bot1")
    _do(folder, "update", "new", "--set", "params.fast=2", "--set", 'symbols=["S000", "S002", "S003"]')
    _do(folder, "start", "bot3")
    _do(folder, "rollback", f"bot{last}", "1")
    _do(folder, "pause", "new")
    _do(folder, "start", "new")
    refused = tapeline("bots", "update", "bot0", "--set", "params.period=0", "--data-dir", str(folder))
    assert refused.returncode == 1
    assert "stays as it is" in refused.stderr
    worse = tmp_path / "worse.toml"
    worse.write_text((tmp_path / "bad.toml").read_text().replace('"bad"', '"worse"').replace("S001", "S002"))
    refused = tapeline("bots", "add", str(worse), "--data-dir", str(folder))
    assert refused.returncode == 1
    assert "raised at 10 past bars" in refused.stderr


def _of(stored: dict[str, list[bytes]], kind: str) -> list[bytes]:
    return [line for subject, lines in stored.items() if subject.startswith(f"tape.{kind}") for line in lines]


def _alone(stored: dict[str, list[bytes]], name: str) -> dict[str, list[bytes]]:
    """What a bot says, by subject, over the stored bars that nobody shares with it."""
    opened = msgspec.json.decode(_of(stored, "opened")[0])
    engine = SignalEngine(opened["account_number"], opened["run"], ())
    for line in _of(stored, "sessions."):
        engine.on_sessions(msgspec.json.decode(line, type=Sessions))
    for line in stored[f"tape.bots.{name}"]:
        defined = msgspec.json.decode(line, type=BotDefined)
        own.learn(defined.definition)
        engine.define(defined)
    timers = [msgspec.json.decode(line, type=Timer) for line in stored.get(f"tape.timers.{name}", [])]
    said: dict[str, list[bytes]] = {}
    signals: list[Signal] = []
    bars = [msgspec.json.decode(line, type=Bar) for line in _of(stored, "bars.")]
    for bar in sorted(bars, key=lambda one: one.ts_event):
        signals += engine.on_bar(bar)
    for one in engine.shown():
        said.setdefault(f"tape.indicators.{name}.{one.symbol}", []).append(body_json(one))
    last = max((timer.ts_event for timer in timers), default=0)  # bars make the same ones, but for those after the last
    for one in [*signals, *engine.on_clock(last + SignalsSettings().bar_wait_ms * NS_PER_MS)]:
        said.setdefault(f"tape.signals.{name}.{one.symbol}", []).append(body_json(one))
    return said


def _run(tmp_path: Path, bots: int, symbols: int, speed: int) -> dict[str, list[bytes]]:
    folder = tmp_path / "data"
    files = _made(tmp_path, bots, [f"S{number:03}" for number in range(symbols)])
    command = [sys.executable, "-m", "tapeline", "demo", "--speed", str(speed), "--data-dir", str(folder)]
    command += [part for path in files for part in ("--bot", str(path))]
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: (folder / "run" / "settings.json").exists() and count(folder, "signals") > 5, 120)
        _change(folder, tmp_path, bots - 1)
        time.sleep(3)
        assert "error" in next(line for line in _do(folder, "list").splitlines() if line.startswith("bad "))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, (tmp_path / "out").read_text()
    finally:
        process.kill()
        process.wait()
    return bodies(folder)


@pytest.mark.soak
def test_each_bot_says_what_it_says_alone_while_all_are_changed(tmp_path: Path) -> None:
    bots = 50
    stored = _run(tmp_path, bots, symbols=200, speed=60)
    revisions = [msgspec.json.decode(line, type=BotDefined) for line in _of(stored, "bots.")]
    there = {defined.bot for defined in revisions}
    assert there == {*(f"bot{number}" for number in range(bots)), "bad", "new"}
    assert len(revisions) == bots + 15
    talkative = 0
    for name in sorted(there):
        own = (f"tape.signals.{name}.", f"tape.indicators.{name}.")
        said = {subject: lines for subject, lines in stored.items() if subject.startswith(own)}
        talkative += bool(said)
        assert said == _alone(stored, name), name
    assert not _of(stored, "signals.bad.")
    assert talkative > bots // 2
    assert len(_of(stored, "refusals.")) == 2
    assert len(_of(stored, "timers.")) > 2
    assert len(_of(stored, "indicators.")) > 100
