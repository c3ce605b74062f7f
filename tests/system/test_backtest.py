"""A backtest decides what the demo decides on the same bars: its signals, orders, denials and fills, whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from config import bots as bot_files
from config.settings import Settings
from engine.bots import Bot, OrderStyle
from engine.costs import EXCHANGE
from engine.messages import AccountOpened, AnyBody, Fill, OrderIntent, RiskDenied, Signal
from engine.strategies import names
from engine.values import OrderType, TimeInForce
from storage.bodies import read_all
from storage.instance import open_read_only
from tapeline.backtesting.runner import Order, play, read
from tests.engine.build import D
from tests.system.harness import check_against_venue, demo, write_bars

pytestmark = [pytest.mark.system, pytest.mark.soak]

SYMBOLS = [f"S{number:03}" for number in range(6)]
CROSSING = {"fast": 2, "slow": 4, "allow_short": True}
BOTS = (
    Bot("plain", "sma_crossover", tuple(SYMBOLS[:3]), D(50_000), CROSSING),
    Bot(
        "limited",
        "rsi",
        tuple(SYMBOLS[2:5]),
        D(50_000),
        {"period": 3, "oversold": 45.0, "overbought": 55.0},
        order=OrderStyle(type=OrderType.LIMIT, limit_offset_bps=5.0, time_in_force=TimeInForce.IOC),
    ),
    Bot("longer", "sma_crossover", tuple(SYMBOLS[4:]), D(50_000), CROSSING, timeframe="5m", position_fraction=0.9),
)
KINDS = {"signals": Signal, "intents": OrderIntent, "denials": RiskDenied, "fills": Fill}


def of_demo(folder: Path) -> tuple[AccountOpened, dict[str, list[AnyBody]]]:
    """Give whose account it was, and what is compared, in order."""
    instance = open_read_only(folder / "tapeline.duckdb", memory_limit_mb=512, threads=2, temp_limit_mb=4096)
    try:
        found = read_all(instance)
    finally:
        instance.close()
    [opened] = found["accounts_opened"]
    assert isinstance(opened, AccountOpened)
    return opened, {name: found[name] for name in KINDS}


def compare(
    tmp_path: Path, bars: Path, bots: tuple[Bot, ...], *arguments: str
) -> tuple[dict[str, int], dict[str, Any]]:
    """Run both; give how much was compared, and the demo's summary."""
    paths: list[Path] = []
    for bot in bots:
        paths.append(tmp_path / f"{bot.name}.toml")
        paths[-1].write_text(bot_files.text_of(bot))
    folder = tmp_path / "data"
    files = ",".join(map(str, paths))
    summary = demo(folder, "--bars", str(bars), "--speed", "max", "--bot", files, *arguments, timeout=600)
    opened, expected = of_demo(folder)
    order, settings = Order(bots=tuple(paths), bars=bars, fees=EXCHANGE), Settings()
    found: dict[str, list[AnyBody]] = {name: [] for name in KINDS}
    for _, bodies, _ in play(order, read(order, settings), settings, opened):
        for name, kind in KINDS.items():
            found[name] += [body for body in bodies if isinstance(body, kind)]
    for name in KINDS:
        pairs = zip(found[name], expected[name], strict=False)
        different = [(str(one), str(other)) for one, other in pairs if one != other][:1]
        assert (len(found[name]), different) == (len(expected[name]), []), (name, different)
    return {name: len(some) for name, some in found.items()}, summary


def test_a_backtest_decides_what_the_demo_decides(tmp_path: Path) -> None:
    counts, _ = compare(tmp_path, write_bars(tmp_path / "bars.parquet", SYMBOLS, 100), BOTS)
    assert counts["fills"] > 50
    assert counts["denials"] > 5


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "symbols", "bars"),
    [
        ("us_equity_1min_20131004_20131011.parquet", ("AIG", "BAC", "IBM", "SPY"), 13_429),
        ("crypto_1min_20180404_20180406.parquet", ("BTC/USD",), 3_887),
    ],
)
def test_the_whole_real_files(
    real_bars: Callable[[str], Path], tmp_path: Path, name: str, symbols: tuple[str, ...], bars: int
) -> None:
    """And every real bar is published and recorded once; the ledger equals the exchange's account."""
    bot = Bot("crossing", "sma_crossover", symbols, D(100_000), {"fast": 3, "slow": 5})
    counts, summary = compare(tmp_path, real_bars(name), (bot,))
    assert summary["bars"] == bars
    assert counts["fills"] == summary["fills"] > 100
    check_against_venue(summary)


@pytest.mark.data
def test_every_shipped_strategy_on_a_real_day(real_bars: Callable[[str], Path], tmp_path: Path) -> None:
    """All of them on one account: their orders meet, wait for each other, are in each other's way."""
    path, day = tmp_path / "day.parquet", pl.col("timestamp").dt.date() == date(2013, 10, 7)
    pl.read_parquet(real_bars("us_equity_1min_20131004_20131011.parquet")).filter(day).write_parquet(path)
    bots = tuple(
        msgspec.structs.replace(bot_files.shipped(template), symbols=("BAC",), capital=D(20_000))
        for template in bot_files.templates()
    )
    assert {bot.strategy for bot in bots} == set(names())
    counts, _ = compare(tmp_path, path, bots)
    assert counts["fills"] > 250
    assert counts["denials"] > 10
