"""`tapeline backtest`: its files and its numbers, and what is refused."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import empyrical
import msgspec
import polars as pl
import pytest

from config import bots as bot_files
from config.settings import Settings
from engine.bots import Bot
from engine.costs import NO_FEES, Slippage, fee_model
from engine.errors import ConfigError
from engine.values import NS_PER_DAY, Side
from tapeline.backtesting.command import run_backtest
from tapeline.backtesting.metrics import Curve, equity_metrics
from tapeline.backtesting.runner import Order
from tests.engine.build import D
from tests.system.harness import write_bars

SYMBOLS = ["S000", "S001", "BTC/USD"]
BOTS = (
    Bot("one", "sma_crossover", ("S000", "S001"), D(50_000), {"fast": 2, "slow": 4, "allow_short": True}),
    Bot("two", "sma_crossover", ("BTC/USD",), D(40_000), {"fast": 2, "slow": 4}),
)


def order_of(folder: Path, bots: Sequence[Bot] = BOTS, minutes: int = 120, **more: Any) -> Order:
    bars = write_bars(folder / "bars.parquet", SYMBOLS, minutes)
    paths: list[Path] = []
    for bot in bots:
        paths.append(folder / f"{bot.name}.toml")
        paths[-1].write_text(bot_files.text_of(bot))
    return Order(bots=tuple(paths), bars=bars, **more)


def test_its_files_agree_with_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run_backtest(order_of(tmp_path), Settings(), out, is_json=True) == 0
    summary = json.loads(capsys.readouterr().out)
    assert json.loads((out / "summary.json").read_text()) == summary
    files = {
        name: pl.read_parquet(out / f"{name}.parquet") for name in ("fills", "orders", "signals", "denials", "trades")
    }
    assert {name: frame.height for name, frame in files.items() if name != "orders"} == {
        name: summary[name] for name in ("fills", "signals", "denials", "trades")
    }
    assert files["orders"].height == summary["intents"]
    assert summary["fills"] > 40
    assert list(files["fills"].columns) == ["ts", "symbol", "side", "qty", "px", "commission", "bot", "client_order_id"]
    equity = pl.read_parquet(out / "equity.parquet")
    assert equity["equity"][-1] == summary["final_equity"]
    assert summary["total_return"] == pytest.approx(summary["final_equity"] / 100_000 - 1)
    assert summary["fees"] > 0  # of coins
    won = files["trades"].filter(pl.col("pnl") > 0)
    assert summary["win_rate"] == won.height / files["trades"].height
    check_extremes(pl.read_parquet(tmp_path / "bars.parquet"), files["trades"])
    assert "report" in (out / "report.html").read_text()


def check_extremes(bars: pl.DataFrame, trades: pl.DataFrame) -> None:
    """What each trade stood at, at worst and at best, by the lows and highs of the bars after its entry's."""
    bars = bars.with_columns((pl.col("timestamp") + _MINUTE).alias("close_at"))
    for trade in trades.iter_rows(named=True):
        is_held = pl.col("close_at").is_between(trade["opened_at"], trade["closed_at"], closed="right")
        held = bars.filter((pl.col("symbol") == trade["symbol"]) & is_held)
        sign, entry = 1 if trade["side"] == "long" else -1, float(trade["entry_px"])
        stood = [sign * (px - entry) * float(trade["quantity"]) for px in (*held["low"], *held["high"])]
        assert float(trade["mae"]) == pytest.approx(min(0.0, *stood), abs=1e-6)
        assert float(trade["mfe"]) == pytest.approx(max(0.0, *stood), abs=1e-6)
    assert trades["mae"].min() < 0 < trades["mfe"].max()


def test_without_slippage_and_fees_cash_is_what_was_paid(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_backtest(order_of(tmp_path, BOTS[:1], fees=NO_FEES), Settings(), out, is_json=True)
    cash = D(100_000)
    for side, quantity, price in pl.read_parquet(out / "fills.parquet").select("side", "qty", "px").rows():
        cash += -quantity * price if side == "buy" else quantity * price
    assert pl.read_parquet(out / "equity.parquet")["cash"][-1] == pytest.approx(float(cash), abs=1e-6)


def test_commissions_leave_the_cash_with_each_fill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    fees = fee_model("per_share=0.01,per_order=1,percent=0.05,regulatory")
    run_backtest(order_of(tmp_path, BOTS[:1], fees=fees), Settings(), out, is_json=True)
    cash, paid = D(100_000), D(0)
    fills = pl.read_parquet(out / "fills.parquet").select("symbol", "side", "qty", "px", "commission").rows()
    for symbol, side, quantity, price, commission in fills:
        assert commission == fees.commission(symbol, Side(side), quantity, price, is_first=True)
        cash += (-quantity * price if side == "buy" else quantity * price) - commission
        paid += commission
    assert pl.read_parquet(out / "equity.parquet")["cash"][-1] == pytest.approx(float(cash), abs=1e-6)
    assert paid > 20
    assert json.loads(capsys.readouterr().out)["fees"] == pytest.approx(float(paid))


def test_the_same_again_is_the_same_and_another_seed_slips_otherwise(tmp_path: Path) -> None:
    def fills(name: str, **more: Any) -> list[tuple[object, ...]]:
        out = tmp_path / name
        run_backtest(order_of(tmp_path, **more), Settings(), out, is_json=True)
        return pl.read_parquet(out / "fills.parquet").drop("client_order_id").rows()

    plain = fills("plain")
    assert fills("again") == plain
    slipped = fills("slipped", slippage=Slippage(bps=D(20)))
    assert slipped != plain
    assert fills("other", slippage=Slippage(bps=D(20)), seed=2) != slipped


@pytest.mark.parametrize("timeframe", ["1m", "5m"])
def test_bars_of_the_file_from_before_the_start_warm_up(tmp_path: Path, timeframe: str) -> None:
    """From the start on it says what it says in a run over all of them."""
    bot = msgspec.structs.replace(BOTS[0], timeframe=timeframe)
    whole = order_of(tmp_path, (bot,), 300)
    start = int(pl.read_parquet(whole.bars)["timestamp"].dt.epoch("ns").unique().sort()[200])

    def said(name: str, order: Order) -> list[tuple[object, ...]]:
        run_backtest(order, Settings(), tmp_path / name, is_json=True)
        signals = pl.read_parquet(tmp_path / name / "signals.parquet")
        return signals.filter(pl.col("ts_event_ns") > start).select("ts_event_ns", "symbol", "direction").rows()

    later = said("later", order_of(tmp_path, (bot,), 300, start_ns=start))
    before = said("before", whole)
    assert len(before) > 10
    first = {symbol: next(row for row in later if row[1] == symbol) for symbol in bot.symbols}
    assert set(before) - set(later) == set()
    # What was wanted before the start was said there; a run that begins says it with its first bars.
    assert set(later) - set(before) <= set(first.values())


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no symbol 'AAPL'; it has BTC/USD, S000, S001"):
        run_backtest(order_of(tmp_path, [Bot("x", "rsi", ("AAPL",), D(1))]), Settings(), tmp_path / "a", is_json=True)
    with pytest.raises(ConfigError, match="shadow_of has no place in a backtest"):
        shadow = Bot("x", "rsi", ("S000",), D(1), shadow_of="one")
        run_backtest(order_of(tmp_path, [shadow]), Settings(), tmp_path / "b", is_json=True)
    looks = [
        (Bot("x", "rsi", ("S000",), D(1), trading_frequency="every_tick"), "'x': it looks at trades or quotes"),
        (Bot("x", "rsi", ("S000",), D(1), timeframe="5s"), "'x': timeframe 5s is made of trades"),
    ]
    for bot, what in looks:
        with pytest.raises(ConfigError, match=what):
            run_backtest(order_of(tmp_path, [bot]), Settings(), tmp_path / "b", is_json=True)
    with pytest.raises(ConfigError, match="no bot is named"):
        run_backtest(order_of(tmp_path, []), Settings(), tmp_path / "b", is_json=True)
    with pytest.raises(ConfigError, match=r"--from 1970-01-01T00:00:02Z is not before --to 1970-01-01T00:00:01Z"):
        run_backtest(order_of(tmp_path, start_ns=2 * 10**9, end_ns=10**9), Settings(), tmp_path / "b", is_json=True)
    cash = ("0", "nan", "1e40", "-5")
    for more in (*({"cash": D(one)} for one in cash), *({"volume_share_max": D(one)} for one in ("0", "1.5", "nan"))):
        with pytest.raises(ConfigError, match=r"--(cash|volume-share) must be above 0"):
            run_backtest(order_of(tmp_path, **more), Settings(), tmp_path / "c", is_json=True)
    with pytest.raises(ConfigError, match="is there already: name a new folder"):
        run_backtest(order_of(tmp_path), Settings(), tmp_path, is_json=True)
    assert not (tmp_path / "a").exists()


def test_longer_bars_and_a_symbol_without_bars_are_refused(tmp_path: Path) -> None:
    order = order_of(tmp_path, BOTS[:1])
    frame = pl.read_parquet(order.bars)
    hourly = frame.filter(pl.col("timestamp").dt.minute() == 0)
    hourly.write_parquet(order.bars)
    assert hourly.height > 3
    with pytest.raises(
        ConfigError, match="holds no minutes: its bars are 60 minutes apart or more; give 1-minute bars"
    ):
        run_backtest(order, Settings(), tmp_path / "a", is_json=True)
    frame.filter((pl.col("symbol") == "S000") | (pl.col("timestamp") < frame["timestamp"][9])).write_parquet(order.bars)
    start = int(frame["timestamp"].dt.epoch("ns")[60])
    with pytest.raises(ConfigError, match="has no bar of S001 between the chosen start and end"):
        run_backtest(msgspec.structs.replace(order, start_ns=start), Settings(), tmp_path / "b", is_json=True)


def test_minutes_that_are_missing_are_counted_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order, out = order_of(tmp_path), tmp_path / "out"
    frame = pl.read_parquet(order.bars)
    opens = frame["timestamp"].unique().sort()
    is_hole = (pl.col("symbol") == "S001") & pl.col("timestamp").is_between(opens[40], opens[46])
    frame = frame.filter(~is_hole)
    frame.write_parquet(order.bars)
    missing: list[tuple[str, datetime]] = []
    for symbol in SYMBOLS:  # all of it is in one session
        there = frame.filter(pl.col("symbol") == symbol)["timestamp"].to_list()
        every = [there[0] + number * _MINUTE for number in range((there[-1] - there[0]) // _MINUTE)]
        missing += [(symbol, minute) for minute in every if minute not in there]
    run_backtest(order, Settings(), out, is_json=False)
    assert len(missing) > 7
    assert f"{len(missing)} minutes without a bar in the middle of a session" in capsys.readouterr().out
    assert json.loads((out / "summary.json").read_text())["missing_minutes"] == len(missing)
    listed: list[tuple[str, datetime]] = []
    for symbol, after, before, minutes in pl.read_parquet(out / "gaps.parquet").rows():
        listed += [(symbol, after + number * _MINUTE) for number in range((before - after) // _MINUTE)]
        assert minutes == (before - after) // _MINUTE
    assert sorted(listed) == sorted(missing)


def test_a_bot_that_raises_is_stopped_and_said_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    order = order_of(tmp_path)
    (tmp_path / "late.py").write_text(_RAISES)
    raising = '\nname = "raising"\nstrategy = "late.py:Late"\nsymbols = ["S000"]\ncapital = "1000"\n'
    (tmp_path / "raising.toml").write_text(raising)
    run_backtest(order, Settings(), tmp_path / "alone", is_json=True)
    alone = pl.read_parquet(tmp_path / "alone" / "fills.parquet").drop("client_order_id")
    capsys.readouterr()
    both = msgspec.structs.replace(order, bots=(*order.bots, tmp_path / "raising.toml"))
    assert run_backtest(both, Settings(), out, is_json=False) == 0
    assert "raising          stopped: strategy late.py:Late, S000: ValueError: no more" in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["errors"] > 0
    [failed] = summary["failed"]
    assert failed.startswith("raising: strategy late.py:Late, S000: ValueError: no more")
    assert pl.read_parquet(out / "fills.parquet").drop("client_order_id").rows() == alone.rows()


_MINUTE = timedelta(minutes=1)
_RAISES = """
class Late:
    def __init__(self):
        self.bars = 0

    def on_bar(self, bar):
        self.bars += 1
        if self.bars > 30:
            raise ValueError("no more")

    def snapshot(self):
        return {}
"""


def test_numbers_of_an_equity_curve_are_those_of_empyrical() -> None:
    draw, equities = random.Random(3), [100_000.0]
    for _ in range(400):
        equities.append(equities[-1] * (1 + draw.gauss(0.0004, 0.01)))
    days, curve = equities[1:], Curve(0, equities[0])
    for number, equity in enumerate(days, 1):
        curve.take(number * NS_PER_DAY, equity, equity / number)
    found = equity_metrics(curve, 252)
    assert curve.mean == pytest.approx(sum(days) / 400)
    assert curve.exposure == pytest.approx(sum(1 / number for number in range(1, 401)) / 400)
    returns = pl.Series([after / before - 1 for before, after in zip(equities, days, strict=False)]).to_numpy()
    assert found.sharpe == pytest.approx(empyrical.sharpe_ratio(returns))
    assert found.sortino == pytest.approx(empyrical.sortino_ratio(returns))
    assert found.max_drawdown == pytest.approx(-empyrical.max_drawdown(returns))
    assert found.total_return == pytest.approx(empyrical.cum_returns_final(returns))
    assert found.cagr == pytest.approx((1 + found.total_return) ** (365.25 / 400) - 1)
    assert found.days == 400


def test_of_a_flat_curve_there_is_too_little_to_say() -> None:
    curve = Curve(0, 100.0)
    for number in (1, 2):
        curve.take(number * NS_PER_DAY, 100.0, 0.0)
    found = equity_metrics(curve, 252)
    assert (found.sharpe, found.sortino, found.max_drawdown, found.total_return) == (None, None, 0.0, 0.0)
    assert math.isclose(found.cagr or 0.0, 0.0)
