"""The settings of the local exchange, as one value that is checked when it is made.

It reads no file and no environment; the command line and the tests build it and hand it to `server.serve`.
"""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

from adapters.exchange.faults import FaultPlan
from engine.errors import ConfigError


class ExchangeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run of the exchange depends on.

    Args:
        host: Address to listen on; loopback unless a person says otherwise.
        port: 0 takes a free port.
        bars: Parquet or CSV file of minute bars; None uses the generator.
        symbols: Symbols to trade; None is all of the file, or the generator's own list.
        speed: Venue seconds per real second, or "max": the clock moves by control calls only (lock-step).
        seed: Seed of ids, generator, slippage and partial fills.
        key: API key that is required; None accepts any key.
        secret: API secret that is required; None accepts any secret.
        cash: Cash of the account at the start, USD.
        multiplier: 1 is a cash account, 2 margin by Regulation T.
        start_ns: First bar open to play, ns UTC; None is the first of the file.
        end_ns: Bars that open at or after this are left out, ns UTC; None is no end.
        hold: A timed run waits for `POST /control/start`.
        slippage_bps: Most that market and stop orders slip, basis points.
        partial_fill_probability: Chance per order and bar of a partial fill (Alpaca paper: 0.1).
        volume_share_max: Largest part of a bar's volume one order may take; None is no limit.
        crypto_fee_bps: Taker fee on crypto, basis points, charged in the credited asset.
        late_update_probability: Chance per bar that a late trade changes it afterwards (`updatedBars`).
        orders_per_min_max: Requests per minute and account; None is no limit (Alpaca: 200).
        symbol_limit: Most distinct symbols of one market-data connection; None is no limit (Alpaca basic: 30).
        auth_timeout_s: A market-data connection has this long to authenticate.
        send_buffer_bytes_max: A market-data client further behind than this is cut off (407).
        generator_symbols: How many symbols the generator trades when `symbols` is None.
        generator_start: First day of the generated market, New York.
        generator_sessions: Number of trading days generated.
        generator_history_minutes: Bars made before the start as history; None is 390 for up to 100 symbols, else 0.
        faults: What goes wrong on purpose from the start; nothing by default.
    """

    host: str = "127.0.0.1"
    port: int = 0
    bars: Path | None = None
    symbols: tuple[str, ...] | None = None
    speed: float | Literal["max"] = 120.0
    seed: int = 1
    key: str | None = None
    secret: str | None = None
    cash: int = 100_000
    multiplier: int = 2
    start_ns: int | None = None
    end_ns: int | None = None
    hold: bool = False
    slippage_bps: float = 0.0
    partial_fill_probability: float = 0.0
    volume_share_max: float | None = None
    crypto_fee_bps: float = 25.0
    late_update_probability: float = 0.0
    orders_per_min_max: int | None = None
    symbol_limit: int | None = None
    auth_timeout_s: float = 10.0
    send_buffer_bytes_max: int = 64 * 1024 * 1024
    generator_symbols: int = 10
    generator_start: date = date(2026, 1, 5)
    generator_sessions: int = 5
    generator_history_minutes: int | None = None
    faults: FaultPlan = FaultPlan()

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming setting, value and mend."""
        if self.speed != "max" and not (math.isfinite(self.speed) and self.speed > 0):
            _fail("speed", self.speed, 'a number above 0 or "max"')
        if not 0 <= self.port <= 65535:
            _fail("port", self.port, "0 to 65535")
        if self.cash < 0:
            _fail("cash", self.cash, "0 or more")
        if self.multiplier not in (1, 2):
            _fail("multiplier", self.multiplier, "1 or 2")
        for name in ("partial_fill_probability", "late_update_probability"):
            if not 0 <= getattr(self, name) <= 1:
                _fail(name, getattr(self, name), "0 to 1")
        for name in ("slippage_bps", "crypto_fee_bps"):
            if not 0 <= getattr(self, name) < 10_000:
                _fail(name, getattr(self, name), "0 or more and below 10000")
        if self.volume_share_max is not None and not 0 < self.volume_share_max <= 1:
            _fail("volume_share_max", self.volume_share_max, "above 0 and at most 1")
        if self.symbols is not None and not self.symbols:
            _fail("symbols", "()", "at least one symbol, or leave it out")
        for name in ("generator_symbols", "generator_sessions"):
            if getattr(self, name) < 1:
                _fail(name, getattr(self, name), "1 or more")

    @property
    def is_lockstep(self) -> bool:
        """True when the clock moves by control calls only."""
        return self.speed == "max"


def _fail(name: str, value: object, wanted: str) -> None:
    msg = f"exchange setting {name} must be {wanted}, was {value}"
    raise ConfigError(msg)
