"""vectorbt. Run by benchmarks.backtest in an environment of its own; prints one JSON line."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
import vectorbt as vbt

frame = pd.read_parquet(sys.argv[1]).set_index("timestamp")


def run() -> tuple[int, int]:
    """Give signals and orders."""
    close = frame["close"]

    def ema(period: int) -> pd.Series:
        begun = close.copy()
        begun.iloc[: period - 1] = np.nan
        begun.iloc[period - 1] = close.iloc[:period].mean()
        return begun.ewm(span=period, adjust=False).mean()

    fast, slow = ema(10), ema(20)
    side = np.sign(fast - slow).replace(0, np.nan).ffill()
    longs, shorts = (side > 0) & ~(side.shift() > 0), (side < 0) & ~(side.shift() < 0)
    made = vbt.Portfolio.from_signals(
        close, entries=longs, short_entries=shorts, price=frame["open"].shift(-1), size=100, size_type="amount",
        init_cash=1_000_000, upon_opposite_entry="reverse",
    )  # fmt: skip
    return int(longs.sum() + shorts.sum()), int(made.orders.count())


run()  # it compiles itself at first
began = time.perf_counter()
signals, orders = run()
took = time.perf_counter() - began
print(json.dumps({"bars_per_s": round(len(frame) / took), "signals": signals, "orders": orders}))
