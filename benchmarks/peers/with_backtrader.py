"""backtrader. `python -m benchmarks.peers.with_backtrader FILE` prints one JSON line."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import backtrader as bt
import pandas as pd


class Crossing(bt.Strategy):
    """Long above, short below, one share."""

    def __init__(self) -> None:
        self.fast, self.slow = bt.ind.EMA(period=10), bt.ind.EMA(period=20)
        self.wanted, self.signals, self.orders = 0, 0, 0

    def next(self) -> None:
        wanted = 1 if self.fast[0] > self.slow[0] else -1 if self.fast[0] < self.slow[0] else self.wanted
        if wanted != self.wanted:
            self.signals += 1
            self.wanted = wanted
            self.order_target_size(target=100 * wanted)

    def notify_order(self, order: Any) -> None:
        self.orders += order.status == order.Completed


frame = pd.read_parquet(sys.argv[1]).set_index("timestamp")
frame.index = frame.index.tz_localize(None)
cerebro = bt.Cerebro(stdstats=False)
cerebro.broker.setcash(1_000_000)
cerebro.adddata(bt.feeds.PandasData(dataname=frame[["open", "high", "low", "close", "volume"]]))
cerebro.addstrategy(Crossing)
began = time.perf_counter()
[run] = cerebro.run()
took = time.perf_counter() - began
print(json.dumps({"bars_per_s": round(len(frame) / took), "signals": run.signals, "orders": run.orders}))
