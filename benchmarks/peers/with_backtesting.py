"""backtesting.py. `python -m benchmarks.peers.with_backtesting FILE` prints one JSON line."""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")

from backtesting import Backtest, Strategy


def ema(values: Any, period: int) -> Any:
    """The average that begins with the mean of its first period."""
    found, factor = np.full(len(values), np.nan), 2 / (period + 1)
    found[period - 1] = np.mean(values[:period])
    for number in range(period, len(values)):
        found[number] = found[number - 1] + factor * (values[number] - found[number - 1])
    return found


class Crossing(Strategy):
    """Long above, short below."""

    def init(self) -> None:
        self.fast, self.slow = self.I(ema, self.data.Close, 10), self.I(ema, self.data.Close, 20)
        self.wanted, self.signals = 0, 0

    def next(self) -> None:
        fast, slow = self.fast[-1], self.slow[-1]
        wanted = 1 if fast > slow else -1 if fast < slow else self.wanted
        if wanted != self.wanted:
            self.signals += 1
            size = 100 if not self.wanted else 200
            self.wanted = wanted
            (self.buy if wanted > 0 else self.sell)(size=size)


frame = pd.read_parquet(sys.argv[1]).set_index("timestamp")
frame.index = frame.index.tz_localize(None)
data = frame.rename(columns=str.capitalize)[["Open", "High", "Low", "Close", "Volume"]]
test = Backtest(data, Crossing, cash=1_000_000, margin=0.5)
began = time.perf_counter()
stats = test.run()
took = time.perf_counter() - began
orders = int(stats["# Trades"]) + 1
print(json.dumps({"bars_per_s": round(len(data) / took), "signals": stats._strategy.signals, "orders": orders}))
