"""Two engines that share nothing with this one, on the same real bars: the same fills, and the same cash to the cent.

The same crossing of averages, long or flat: entries at the market, by a limit or by a stop that stay until they are
filled or the averages cross back, exits at the market; without a commission, per share and in percent. backtrader and
backtesting.py compute their own averages, and decide by their own rules which bar fills what.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from config import bots as bot_files
from config.settings import Settings
from engine.bots import Bot, OrderStyle
from engine.costs import fee_model
from engine.messages import Fill, RiskDenied
from engine.values import NS_PER_MINUTE, OrderType, TimeInForce
from tapeline.backtesting.runner import Order, play, read

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both are older than this Python
    import backtesting
    import backtrader as bt
    import pandas as pd

pytestmark = pytest.mark.data

BARS = "us_equity_1min_20131004_20131011.parquet"
CASH, WORTH, FAST, SLOW, OFFSET_BPS = 100_000, 20_000, 10, 20, 3
FillRow = tuple[int, str, int, float]
"""Open of the bar in minutes, side, quantity, price."""

STYLES = {
    "market": OrderStyle(),
    "limit": OrderStyle(type=OrderType.LIMIT, limit_offset_bps=-OFFSET_BPS, time_in_force=TimeInForce.GTC),
    "stop": OrderStyle(type=OrderType.STOP, stop_offset_bps=OFFSET_BPS, time_in_force=TimeInForce.GTC),
}
FEES = {"none": 0.0, "per_share=0.005": 0.005, "percent=0.05": 0.0005}


def entry_px(kind: str, close: float) -> float | None:
    """The price of an entry, on the cent: a limit is rounded down, a stop up."""
    sign = {"limit": -1, "stop": 1}.get(kind)
    if sign is None:
        return None
    exact = Decimal(str(close)) * (1 + Decimal(sign * OFFSET_BPS) / 10_000)
    return float(exact.quantize(Decimal("0.01"), ROUND_FLOOR if sign < 0 else ROUND_CEILING))


def side_of(fast: float, slow: float) -> int:
    """1 above, -1 below; 0 where they are equal but for the noise of sums."""
    return int(fast > slow + 1e-9) - int(fast < slow - 1e-9)


def shares(close: float) -> int:
    return int(Decimal(WORTH) / Decimal(str(close)))


@pytest.fixture(scope="module")
def hours(real_bars: Callable[[str], Path]) -> pl.DataFrame:
    """Regular hours: neither of the two knows of others."""
    minutes = pl.col("timestamp").dt.hour().cast(pl.Int32) * 60 + pl.col("timestamp").dt.minute()
    return pl.read_parquet(real_bars(BARS)).filter(minutes.is_between(810, 1199)).sort("symbol", "timestamp")


def begun(frame: pl.DataFrame) -> pl.DataFrame:
    """Begin where nothing is to be bought at the first bar with averages: backtesting.py does not ask at that one."""
    fast, slow = (frame["close"].rolling_mean(period) for period in (FAST, SLOW))
    return frame[int((fast < slow - 1e-6).arg_true()[0]) - SLOW + 1 :]


def of_tapeline(tmp_path: Path, frame: pl.DataFrame, symbol: str, kind: str, fees: str) -> tuple[list[FillRow], float]:
    frame.write_parquet(tmp_path / "bars.parquet")
    params = {"fast": FAST, "slow": SLOW}
    bot = Bot("judged", "sma_crossover", (symbol,), Decimal(10 * WORTH), params, order=STYLES[kind])
    (tmp_path / "judged.toml").write_text(bot_files.text_of(bot))
    order = Order(bots=(tmp_path / "judged.toml",), bars=tmp_path / "bars.parquet", fees=fee_model(fees))
    found: list[FillRow] = []
    equity = 0.0
    for _, bodies, test in play(order, read(order, Settings()), Settings()):
        equity = test.worth().equity
        for body in bodies:
            assert not isinstance(body, RiskDenied), body
            if isinstance(body, Fill):
                at = body.ts_event // NS_PER_MINUTE - 1
                found.append((at, str(body.side), int(body.last_qty), float(body.last_px)))
    return found, equity


def of_backtrader(frame: pl.DataFrame, kind: str, fees: str) -> tuple[list[FillRow], float]:
    found: list[FillRow] = []

    class Crossing(bt.Strategy):
        def __init__(self) -> None:
            self.fast = bt.ind.SMA(self.data.close, period=FAST)
            self.slow = bt.ind.SMA(self.data.close, period=SLOW)
            self.wanted, self.entry = 0, None

        def next(self) -> None:
            side = side_of(self.fast[0], self.slow[0])
            if side > 0 and self.wanted <= 0:
                self.wanted, close = 1, self.data.close[0]
                exectype = {"limit": bt.Order.Limit, "stop": bt.Order.Stop}.get(kind, bt.Order.Market)
                self.entry = self.buy(size=shares(close), exectype=exectype, price=entry_px(kind, close))
            elif side < 0 and self.wanted > 0:
                self.wanted = -1
                if self.position.size:
                    self.sell(size=self.position.size)
                else:
                    self.cancel(self.entry)

        def notify_order(self, order: Any) -> None:
            if order.status == order.Completed:
                at = bt.num2date(order.executed.dt)
                side = "buy" if order.isbuy() else "sell"
                minute = round(at.replace(tzinfo=None).timestamp() / 60)
                found.append((minute, side, abs(int(order.executed.size)), order.executed.price))

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(CASH)
    is_fixed = fees.startswith("per_share")
    kind_of = bt.CommInfoBase.COMM_FIXED if is_fixed else bt.CommInfoBase.COMM_PERC
    cerebro.broker.setcommission(FEES[fees], commtype=kind_of, percabs=True, stocklike=True)
    cerebro.adddata(bt.feeds.PandasData(dataname=as_pandas(frame).rename(columns=str.lower)))
    cerebro.addstrategy(Crossing)
    cerebro.run()
    return found, cerebro.broker.getvalue()


def of_backtesting(frame: pl.DataFrame, kind: str, fees: str) -> tuple[list[FillRow], float]:
    class Crossing(backtesting.Strategy):
        def init(self) -> None:
            def average(period: int) -> Any:
                return self.I(lambda closes: pd.Series(closes).rolling(period).mean(), self.data.Close)

            self.fast, self.slow = average(FAST), average(SLOW)
            self.wanted, self.entry = 0, None

        def next(self) -> None:
            side = side_of(self.fast[-1], self.slow[-1])
            if side > 0 and self.wanted <= 0:
                self.wanted, close = 1, float(self.data.Close[-1])
                price = {} if kind == "market" else {kind: entry_px(kind, close)}
                self.entry = self.buy(size=shares(close), **price)
            elif side < 0 and self.wanted > 0:
                self.wanted = -1
                if self.position:
                    self.position.close()
                elif self.entry in self.orders:
                    self.entry.cancel()

    commission: Any = (lambda size, _: abs(size) * FEES[fees]) if fees.startswith("per_share") else FEES[fees]
    data = as_pandas(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats = backtesting.Backtest(data, Crossing, cash=CASH, commission=commission).run()
    minutes = [int(at.timestamp()) // 60 for at in data.index.tz_localize("UTC")]
    rows: list[FillRow] = []
    for trade in (*stats._trades.itertuples(), *stats._strategy.trades):
        entry_bar = trade.EntryBar if hasattr(trade, "EntryBar") else trade.entry_bar
        price = trade.EntryPrice if hasattr(trade, "EntryPrice") else trade.entry_price
        rows.append((minutes[entry_bar], "buy", int(getattr(trade, "Size", getattr(trade, "size", 0))), price))
        if hasattr(trade, "ExitBar"):
            rows.append((minutes[trade.ExitBar], "sell", int(trade.Size), trade.ExitPrice))
    return sorted(rows), float(stats["Equity Final [$]"])


def as_pandas(frame: pl.DataFrame) -> Any:
    columns = {name.capitalize(): frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(frame["timestamp"].dt.replace_time_zone(None).to_numpy()))


@pytest.mark.parametrize("fees", FEES)
@pytest.mark.parametrize("kind", STYLES)
@pytest.mark.parametrize("symbol", ["SPY", pytest.param("IBM", marks=pytest.mark.soak)])
def test_two_judges_give_the_same_fills_and_the_same_worth(
    tmp_path: Path, hours: pl.DataFrame, symbol: str, kind: str, fees: str
) -> None:
    frame = begun(hours.filter(pl.col("symbol") == symbol))
    fills, equity = of_tapeline(tmp_path, frame, symbol, kind, fees)
    assert len(fills) > 20
    for judged in (of_backtrader(frame, kind, fees), of_backtesting(frame, kind, fees)):
        assert differing(fills, judged[0]) == []
        assert abs(equity - judged[1]) < 0.005


def differing(ours: Sequence[FillRow], theirs: Sequence[FillRow]) -> list[tuple[FillRow | None, FillRow | None]]:
    """The first three that differ, prices to the millionth."""
    rounded = [[(*row[:3], round(row[3], 6)) for row in rows] for rows in (ours, theirs)]
    longest = max(map(len, rounded))
    one, other = ([*rows, *[None] * (longest - len(rows))] for rows in rounded)
    return [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]][:3]
