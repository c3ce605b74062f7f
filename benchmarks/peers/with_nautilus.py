"""NautilusTrader. Run by benchmarks.backtest in an environment of its own; prints one JSON line."""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal

import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy


class Crossing(Strategy):
    """Long above, short below."""

    def __init__(self, bar_type: BarType) -> None:
        super().__init__(StrategyConfig())
        self.bar_type, self.wanted, self.signals, self.filled = bar_type, 0, 0, 0
        self.fast, self.slow = ExponentialMovingAverage(10), ExponentialMovingAverage(20)

    def on_start(self) -> None:
        self.register_indicator_for_bars(self.bar_type, self.fast)
        self.register_indicator_for_bars(self.bar_type, self.slow)
        self.subscribe_bars(self.bar_type)

    def on_bar(self, bar: Bar) -> None:
        if not self.slow.initialized:
            return
        fast, slow = self.fast.value, self.slow.value
        wanted = 1 if fast > slow else -1 if fast < slow else self.wanted
        if wanted != self.wanted:
            self.signals += 1
            instrument = self.cache.instrument(self.bar_type.instrument_id)
            side = OrderSide.BUY if wanted > 0 else OrderSide.SELL
            size = instrument.make_qty(Decimal(200 if self.wanted else 100))
            self.wanted = wanted
            self.submit_order(self.order_factory.market(self.bar_type.instrument_id, side, size))

    def on_order_filled(self, event: object) -> None:
        self.filled += 1


frame = pd.read_parquet(sys.argv[1]).set_index("timestamp")[["open", "high", "low", "close", "volume"]]
instrument = TestInstrumentProvider.equity(symbol="AAPL", venue="SIM")
bar_type = BarType.from_str("AAPL.SIM-1-MINUTE-LAST-EXTERNAL")
engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
engine.add_venue(
    Venue("SIM"), oms_type=OmsType.NETTING, account_type=AccountType.MARGIN, base_currency=USD,
    starting_balances=[Money(1_000_000, USD)],
)  # fmt: skip
engine.add_instrument(instrument)
engine.add_data(BarDataWrangler(bar_type, instrument).process(frame))
strategy = Crossing(bar_type)
engine.add_strategy(strategy)
began = time.perf_counter()
engine.run()
took = time.perf_counter() - began
print(json.dumps({"bars_per_s": round(len(frame) / took), "signals": strategy.signals, "orders": strategy.filled}))
