"""A backtest of one symbol against other engines on the same bars: EMA 10/20, always in the market.

`tapeline` is `tapeline.backtesting.runner.play`: the bar file read and checked beforehand, then signals, risk,
execution and fills; `recorded` the same with its messages written to DuckDB. `bare` is two talipp EMAs and a Struct per
bar alone. Each runs in a process of its own, one after the other; NautilusTrader and vectorbt in environments that uv
makes for them (their pandas is another one). Fails where the counts of signals differ by more than a few.
`uv run --group peers python -m benchmarks.backtest [--bars 200000] [--peers all|light|none] [--json]`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from talipp.indicators import EMA

from adapters.exchange.calendar import VenueCalendar
from benchmarks.recorder import rss_mb
from config import bots as bot_files
from config.settings import Settings
from engine.bots import Bot, RiskLimits
from engine.costs import NO_FEES
from engine.messages import Bar, OrderFilled, Signal
from engine.values import NS_PER_MINUTE
from tapeline.backtesting.recording import Recording
from tapeline.backtesting.runner import Order, play, read, seldom_collected

_STRATEGY = Path(__file__).parent / "peers" / "crossing.py"
_LIGHT = ("backtrader", "backtesting")
_HEAVY = {"nautilus": ("nautilus-trader>=1.220,<2", "pandas<3"), "vectorbt": ("vectorbt>=1.0,<2",)}
_ODD_MAX = 5
"""How many signals may differ: averages that begin otherwise."""


def write_bars(path: Path, count: int) -> None:
    """Write seeded minutes of AAPL in regular hours, from 2004 on."""
    draw, price, rows = random.Random(7), 100.0, list[tuple[int, float, float, float, float, float]]()
    begin, years = datetime(2004, 1, 2, tzinfo=UTC).date(), 2 + count // 90_000
    for session in VenueCalendar(begin, begin.replace(year=begin.year + years)).sessions:
        for open_ns in range(session.open_ns, session.close_ns, NS_PER_MINUTE):
            opened, price = price, max(5.0, round(price * (1 + draw.gauss(0, 0.0008)), 2))
            high, low = round(max(opened, price) + 0.01, 2), round(min(opened, price) - 0.01, 2)
            rows.append((open_ns, opened, high, low, price, float(draw.randint(100, 9_000))))
        if len(rows) >= count:
            break
    names = ["timestamp", "open", "high", "low", "close", "volume"]
    frame = pl.DataFrame(rows[:count], schema=names, orient="row")
    frame = frame.with_columns(pl.lit("AAPL").alias("symbol"), pl.col("timestamp").cast(pl.Datetime("ns", "UTC")))
    frame.write_parquet(path)


def bare(path: Path) -> dict[str, Any]:
    """Move two averages by bars that are made one by one, and nothing else."""
    rows = pl.read_parquet(path).select("timestamp", "open", "high", "low", "close", "volume").cast({"timestamp": int})
    fast, slow, made = EMA(10), EMA(20), rows.rows()
    began = time.perf_counter()
    for ts, *prices in made:
        bar = Bar("AAPL", "1m", ts, *prices)
        fast.add(bar.close)
        slow.add(bar.close)
    return {"bars_per_s": round(len(made) / (time.perf_counter() - began)), "signals": 0, "orders": 0}


def ours(path: Path, *, is_recorded: bool) -> dict[str, Any]:
    """Run the backtest; memory at each tenth of the way."""
    bot = Bot("crossing", f"{_STRATEGY}:Crossing", ("AAPL",), Decimal(100_000))
    limits = msgspec.structs.replace(RiskLimits(), **_OFF)
    settings = msgspec.structs.replace(Settings(), limits=limits)
    signals = orders = done = 0
    samples: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bot.toml").write_text(bot_files.text_of(bot))
        order = Order(bots=(folder / "bot.toml",), bars=path, fees=NO_FEES)
        inputs = read(order, settings)
        recording = Recording(folder / "run.duckdb", folder) if is_recorded else None
        began = time.perf_counter()
        for bars, bodies, test in play(order, inputs, settings):
            test.worth()
            done += len(bars)
            for body in bodies:
                signals += isinstance(body, Signal)
                orders += isinstance(body, OrderFilled)
            if recording is not None:
                recording.take(bars, bodies, bars[0].ts_event if bars else 0)
            if done % max(1, inputs.rows // 20) == 0:
                samples.append((done, rss_mb()))
        if recording is not None:
            recording.close()
        took = time.perf_counter() - began
    half = [sample for sample in samples if sample[0] > inputs.rows / 2]
    slope = (half[-1][1] - half[0][1]) / (half[-1][0] - half[0][0]) * 100_000 if len(half) > 1 else 0.0
    return {
        "bars_per_s": round(inputs.rows / took), "signals": signals, "orders": orders, "took_s": round(took, 2),
        "rss_mb": round(samples[-1][1], 1), "rss_slope_mb_per_100k": round(slope, 3),
    }  # fmt: skip


_OFF = {
    "repeats_max": 10**9,
    "bot_orders_per_day_max": 10**9,
    "bot_daily_loss_fraction_max": None,
    "bot_drawdown_fraction_max": None,
}
"""Limits that would end the run: the others have none."""


def run(engine: str, path: Path) -> dict[str, Any]:
    """Run one engine in a process of its own."""
    if engine in _HEAVY:
        script = Path(__file__).parent / "peers" / f"with_{engine}.py"
        needs = [part for package in (*_HEAVY[engine], "pyarrow") for part in ("--with", package)]
        command = ["uv", "run", "--no-project", *needs, "python", str(script)]
    elif engine in _LIGHT:
        command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.peers.with_{engine}"]
    else:
        command = [sys.executable, "-m", "benchmarks.backtest", "--engine", engine, "--file"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip() or "no output").splitlines()[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> int:
    """Print a line per engine, or one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bars", type=int, default=200_000)
    parser.add_argument("--peers", choices=["all", "light", "none"], default="all")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--engine", choices=["bare", "tapeline", "recorded"])
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    if options.engine:
        path = options.file
        with seldom_collected():
            found = bare(path) if options.engine == "bare" else ours(path, is_recorded=options.engine == "recorded")
        print(json.dumps(found))
        return 0
    peers = {"all": [*_LIGHT, *_HEAVY], "light": _LIGHT, "none": []}[options.peers]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.parquet"
        write_bars(path, options.bars)
        results = {engine: run(engine, path) for engine in ("bare", "tapeline", "recorded", *peers)}
    for found in results.values():
        if "bars_per_s" in found:
            found["ratio_to_bare"] = round(found["bars_per_s"] / results["bare"]["bars_per_s"], 4)
    counts = {engine: found["signals"] for engine, found in results.items() if found.get("signals")}
    agree = max(counts.values()) - min(counts.values()) <= _ODD_MAX
    if options.json:
        print(json.dumps({"bars": options.bars, "signals_agree": agree, **results}))
    else:
        for engine, found in results.items():
            print(f"{engine:12}", found)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
