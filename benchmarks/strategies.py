"""What strategies cost: memory and time of the whole market, and whether memory stays flat.

Moves a rule strategy with three indicators in each of many symbols, bar by bar, through engine.signals, as the role
does, and writes the state down once at the end as its checkpoint does; beside it, in a process of its own, the bare
ceiling: the same three talipp indicators per symbol, nothing else. Prints one JSON line.
`uv run python -m benchmarks.strategies [--symbols 11000] [--bars 5000] [--json]`.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import pickle
import resource
import subprocess
import sys
from decimal import Decimal
from time import perf_counter
from typing import Any

from talipp.indicators import MACD, RSI, SMA

from benchmarks.recorder import rss_mb, slope_mb_per_100k
from engine.bots import Bot
from engine.messages import Bar, Sessions
from engine.signals import SignalEngine
from engine.values import AssetClass

_BEGIN_NS = 1_700_000_000_000_000_000
_MINUTE_NS = 60_000_000_000
PARAMS = {
    "enter_long": {"all": ["rsi(14) > 50", "close > sma(50)"], "any": ["macd crosses above macd.signal"]},
    "exit_long": {"any": ["rsi(14) > 70", "close < sma(50)"]},
}


def price(symbol: int, minute: int) -> float:
    """Price of a symbol's bar: waves of its own, with noise that is the same in every run."""
    wave = math.sin((minute + symbol * 7) / 17) + math.sin((minute + symbol) / 5) * 0.3
    return 100.0 + wave + (minute * 7919 + symbol * 31) % 97 / 300


def measure(symbols: int, bars: int) -> dict[str, float | int]:
    """Run our way."""
    names = tuple(f"S{number:05d}" for number in range(symbols))
    bot = Bot("rule", "rule", names, Decimal(1_000_000), PARAMS)
    start_mb = rss_mb()
    engine = SignalEngine("ACC1", "run1", [bot])
    end = _BEGIN_NS + (bars + 1) * _MINUTE_NS
    engine.on_sessions(Sessions(AssetClass.US_EQUITY, ((_BEGIN_NS, end),), 0))
    samples: list[tuple[int, float]] = []
    busy = slowest = 0.0
    for minute in range(1, bars + 1):
        ts = _BEGIN_NS + minute * _MINUTE_NS
        frame: list[Bar] = []
        for number, name in enumerate(names):
            px = price(number, minute)
            frame.append(Bar(name, "1m", ts, px, px + 0.1, px - 0.1, px, 1_000.0))
        started = perf_counter()
        for bar in frame:
            engine.on_bar(bar)
        took = perf_counter() - started
        busy, slowest = busy + took, max(slowest, took)
        if minute % max(bars // 100, 1) == 0:
            samples.append((minute * symbols, rss_mb()))
    started = perf_counter()
    kept = io.BytesIO()
    pickle.dump(engine.state(), kept, protocol=5)  # as the role's checkpoint
    checkpoint_s = perf_counter() - started
    last_half = [sample for sample in samples if sample[0] > symbols * bars / 2]
    return {
        "symbols": symbols,
        "bars": bars,
        "signals": engine.counters.signals,
        "minute_ms": round(busy / bars * 1000, 1),
        "minute_ms_max": round(slowest * 1000, 1),
        "updates_per_s": round(symbols * bars / busy),
        "rss_mb_start": round(start_mb, 1),
        "rss_mb_end": round(samples[-1][1], 1),
        "checkpoint_mb": round(kept.tell() / 1e6, 1),
        "checkpoint_s": round(checkpoint_s, 2),
        "rss_mb_max": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "rss_slope_mb_per_100k": round(slope_mb_per_100k(last_half), 3),
    }


def ceiling(symbols: int, bars: int) -> float:
    """Updates per second of talipp's three indicators alone, purged as ours are."""
    made: list[tuple[Any, ...]] = [(RSI(14), SMA(50), MACD(12, 26, 9)) for _ in range(symbols)]
    busy = 0.0
    for minute in range(1, bars + 1):
        prices = [price(number, minute) for number in range(symbols)]
        started = perf_counter()
        for of, px in zip(made, prices, strict=True):
            for one in of:
                one.add(px)
        if minute % 400 == 0:
            for of in made:
                for one in of:
                    one.purge_oldest(len(one.input_values) - 400 if len(one.input_values) > 400 else 0)
        busy += perf_counter() - started
    return symbols * bars / busy


def main() -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=11_000)
    parser.add_argument("--bars", type=int, default=5_000)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--ceiling", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ceiling:
        sys.stdout.write(f"{ceiling(options.symbols, options.bars)}\n")
        return
    found: dict[str, float | int] = measure(options.symbols, options.bars)
    size = ["--symbols", str(options.symbols), "--bars", str(min(options.bars, 300))]
    bare = subprocess.run(
        [sys.executable, "-m", "benchmarks.strategies", "--ceiling", *size], capture_output=True, text=True, check=True
    )
    found["ceiling_updates_per_s"] = round(float(bare.stdout))
    found["ratio"] = round(float(bare.stdout) / found["updates_per_s"], 2)
    sys.stdout.write((json.dumps(found) if options.json else "\n".join(f"{k}: {v}" for k, v in found.items())) + "\n")


if __name__ == "__main__":
    main()
