"""Small values that every other module speaks: sides, types of orders, exact numbers, time.

Prices of bars and indicators are float; quantities, order and fill prices and money are Decimal. A float becomes a
Decimal in one function, `to_decimal`, because `Decimal(412.35) >= Decimal("412.35")` is False.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from functools import lru_cache

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_DAY = 24 * 60 * NS_PER_MINUTE
ZERO = Decimal(0)
ONE = Decimal(1)
EQUITY_TICK = Decimal("0.01")
"""Price step of US equities at or above 1 USD (SEC Rule 612)."""
EQUITY_TICK_BELOW_1_USD = Decimal("0.0001")
CRYPTO_TICK = Decimal("0.000000001")
CRYPTO_LOT = Decimal("0.000000001")
PRICE_MAX = 10**12
"""USD; no price is as high, and with more digits Decimals could not be put on a tick."""
_STORED = Decimal("0.000000001")
_HUNDRED = Decimal(100)


class Side(StrEnum):
    """Side of an order; a position has a sign instead."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is _BUY else -1


class OrderType(StrEnum):
    """Type of an order, named as at the venue. OTHER is read from the venue only: a type we have no word for."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"
    OTHER = "other"


class OrderClass(StrEnum):
    """How an order hangs together with others, named as at the venue. OTHER is read from the venue only (mleg)."""

    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"
    OTHER = "other"


class Purpose(StrEnum):
    """Why an order exists: for a signal's target, to protect what is held, to close it, or placed by somebody else."""

    TARGET = "target"
    PROTECT = "protect"
    GUARD = "guard"
    FLATTEN = "flatten"
    FOREIGN = "foreign"


class TradingMode(StrEnum):
    """Whether orders may leave: all, only those that reduce |position|, or none. Cancels always may."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class TimeInForce(StrEnum):
    """Life time of an order, named as at the venue. OTHER is read from the venue only."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"
    OTHER = "other"


class Direction(StrEnum):
    """What a signal wants to hold."""

    LONG = "long"
    SHORT = "short"
    FLAT = "flat"

    @property
    def sign(self) -> int:
        """+1 long, -1 short, 0 flat."""
        return _DIRECTION_SIGNS[self]


_POWERS_OF_TEN = frozenset({ONE, EQUITY_TICK, EQUITY_TICK_BELOW_1_USD, CRYPTO_TICK, CRYPTO_LOT})
_BUY = Side.BUY
_DIRECTION_SIGNS = {Direction.LONG: 1, Direction.SHORT: -1, Direction.FLAT: 0}


class AssetClass(StrEnum):
    """Alpaca's asset classes that Tapeline trades."""

    US_EQUITY = "us_equity"
    CRYPTO = "crypto"


def asset_class_of(symbol: str) -> AssetClass:
    """Tell the class from the symbol's form: only crypto pairs hold a slash (`BTC/USD`)."""
    return AssetClass.CRYPTO if "/" in symbol else AssetClass.US_EQUITY


_OPTION = re.compile(r"[A-Z]{1,6}[0-9]{6}[CP][0-9]{8}")
_OPTION_LENGTH_MIN = 16


def is_option(symbol: str) -> bool:
    """Whether a symbol names an option contract (OCC: root, yymmdd, C or P, strike in 1/1000 USD)."""
    return len(symbol) >= _OPTION_LENGTH_MIN and _OPTION.fullmatch(symbol) is not None


@lru_cache(65_536)
def multiplier(symbol: str) -> Decimal:
    """Give what one unit's price stands for: 100 shares of an option contract, else 1."""
    return _HUNDRED if is_option(symbol) else ONE


def to_decimal(value: float, tick: Decimal | None = None) -> Decimal:
    """Make a float exact: the shortest decimal that reads back as this float, rounded to `tick` where given.

    Args:
        value: A finite number.
        tick: Price or quantity step; None keeps every digit.

    Raises:
        ValueError: `value` is NaN or infinite.
    """
    if not math.isfinite(value):
        msg = f"a price or quantity must be a finite number, was {value!r}"
        raise ValueError(msg)
    exact = _shortest(value) if value else Decimal(repr(float(value)))  # the cache would mix up 0.0 and -0.0
    return exact if tick is None else round_to(exact, tick)


@lru_cache(4096)
def _shortest(value: float) -> Decimal:
    """Limits and fractions are few, and a price is asked for a few times in one decision."""
    return Decimal(repr(float(value)))


def round_to(value: Decimal, tick: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """Round to a whole number of ticks; `rounding` is one of the decimal module's constants."""
    if tick in _POWERS_OF_TEN:  # the same by moving the point: digits are all there is to round
        return (+value).quantize(tick, rounding=rounding)
    return (value / tick).quantize(Decimal(1), rounding=rounding) * tick


def money(value: Decimal) -> Decimal:
    """Round an amount of USD to 1e-9, as it is stored."""
    return value.quantize(_STORED, rounding=ROUND_HALF_EVEN)


def price_tick(symbol: str, price: Decimal) -> Decimal:
    """Give the venue's price step for this symbol at this price (Alpaca: sub-penny rule; crypto: 1e-9)."""
    if asset_class_of(symbol) is AssetClass.CRYPTO:
        return CRYPTO_TICK
    return EQUITY_TICK if price >= ONE else EQUITY_TICK_BELOW_1_USD


def normal(value: Decimal) -> Decimal:
    """Drop trailing zeros without going to exponents, so that equal amounts are written equally."""
    if value == 0:
        return ZERO  # a zero may carry a sign
    short = value.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral_value() else short


def plain(value: Decimal) -> str:
    """Write a Decimal without exponent and without trailing zeros: Decimal('1E+2') -> '100'."""
    text = format(value or ZERO, "f")  # a zero may carry a sign
    return text.rstrip("0").rstrip(".") if "." in text else text


PAST_SYMBOLS_MAX = 500
"""Of more symbols at once no past is read while trading goes on: it would hold up all bars."""

PAST_BARS_MAX = 1_000
"""Most bars from before the first that there is, in one symbol, that a strategy is warmed up with."""

CRYPTO_UNIVERSE = "crypto"
"""Stands for all pairs of crypto to USD that the venue trades, as `*` stands for all of its US equities."""

MINUTE_BAR = "1m"
"""Timeframe of the bars that feed publishes, of which all others are made."""


SECONDS = tuple(f"{length}s" for length in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30))
"""Timeframes of less than a minute: they divide one."""


def is_derived(timeframe: str) -> bool:
    """Whether bars of a timeframe are made of others: of 1-minute bars, or of ticks."""
    return timeframe != MINUTE_BAR


def is_seconds(timeframe: str) -> bool:
    """Whether bars of a timeframe are made of ticks."""
    return timeframe in SECONDS


@lru_cache(256)
def timeframe_ns(timeframe: str) -> int:
    """Length of a timeframe in nanoseconds: `1m`, `5m`, `1h`, `1d`.

    Raises:
        ValueError: The text is not a positive number followed by s, m, h or d.
    """
    units = {"s": NS_PER_S, "m": NS_PER_MINUTE, "h": 60 * NS_PER_MINUTE, "d": 24 * 60 * NS_PER_MINUTE}
    unit = units.get(timeframe[-1:])
    count = timeframe[:-1]
    if unit is None or not (count.isascii() and count.isdigit()) or int(count) < 1:
        msg = f"timeframe must be a number and one of s, m, h, d (1m, 1h), was {timeframe!r}"
        raise ValueError(msg)
    return int(count) * unit
