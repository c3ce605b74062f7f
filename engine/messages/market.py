"""Bodies of the market stream, and the prices that guards and collars look at."""

from __future__ import annotations

from decimal import Decimal

from engine.messages.base import Body
from engine.values import MINUTE_BAR, to_decimal


class Bar(Body, frozen=True):
    """OHLCV over one interval.

    Attributes:
        ts_event: Close of the interval, ns UTC (Alpaca's `t` is the open).
        revision: 0 as first published; grows with each correction.
        is_backfill: Fetched after the fact and too old to trade on: moves indicators, yields no entries.
    """

    symbol: str
    timeframe: str
    ts_event: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trade_count: int | None = None
    vwap: float | None = None
    revision: int = 0
    is_backfill: bool = False


class DerivedBar(Bar, frozen=True):
    """A bar of a longer timeframe, made of 1-minute bars (engine.frames); said where a bot looks at such.

    `ts_event` is the end of its frame; `is_backfill` that of the last minute in it. Of timeframe 1m: the minute itself,
    of symbols that a shadow trades, right before what was said at it (engine.witness).
    """


OldBar = tuple[int, float, float, float, float, float]
"""Close of the interval (ns UTC), open, high, low, close, volume."""


class PastBar(Bar, frozen=True):
    """A bar of `PastBars`, as strategies are warmed up with it; never stored by itself.

    Attributes:
        as_of: In the shares of when, ns UTC: of when it was fetched.
        of: Timeframe that it was fetched for; other ones than its own: a minute of a longer bar that is open.
    """

    as_of: int = 0
    of: str = ""


class PastBars(Body, frozen=True):
    """Bars of a symbol from before the first that the stream has of it: what strategies are warmed up with.

    Attributes:
        timeframe: Of `bars`: longer ones are made of the venue's bars by the same function as of the stream's.
        wanted: How many were asked for; fewer came where there are no more.
        ts_from: Begin of the span that was asked for, exclusive (bar closes), ns UTC.
        ts_to: Its end, inclusive: from there on the stream has bars.
        bars: By time, in the shares of when they were fetched.
        minutes: 1-minute bars of the frame that is not over at `ts_to`.
        ts_event: When they were fetched, venue time.
    """

    id: str
    symbol: str
    timeframe: str
    wanted: int
    ts_from: int
    ts_to: int
    bars: tuple[OldBar, ...]
    minutes: tuple[OldBar, ...]
    ts_event: int

    def every(self) -> list[PastBar]:
        """Give them one by one, too old to trade on."""
        pairs = ((self.timeframe, self.bars), (MINUTE_BAR, self.minutes))
        return [
            PastBar(self.symbol, timeframe, *old, is_backfill=True, as_of=self.ts_event, of=self.timeframe)
            for timeframe, olds in pairs
            for old in olds
        ]


OldTrade = tuple[int, float, float]
"""Time (ns UTC), price (USD), size (shares or coins)."""


OldQuote = tuple[int, float, float]
"""Time (ns UTC), best bid, best ask (USD)."""


class Ticks(Body, frozen=True):
    """Trades and quotes of a symbol that somebody looks at tick by tick, as they came together.

    Attributes:
        trades: Those that count for its price, by time.
        ts_event: Time of the last one of either.
        quotes: By time, of symbols of which somebody wants them; those that moved the middle of bid and ask.
    """

    id: str
    symbol: str
    trades: tuple[OldTrade, ...]
    ts_event: int
    quotes: tuple[OldQuote, ...] = ()


class Gap(Body, frozen=True):
    """A span in which bars may have been missed, and what became of it. Said once it is closed, or given up.

    A span that is asked for again after a kill may be answered otherwise, for history came to know more: both are told.

    Attributes:
        ts_from: Begin, exclusive (bar closes).
        ts_to: End, inclusive.
        filled_by: `history` brought what there was, or `none`: bars may be missing.
        bars: How many came; without any there were none, as in the quiet minutes of a small stock.
    """

    symbol: str
    timeframe: str
    ts_from: int
    ts_to: int
    reason: str
    filled_by: str = "none"
    bars: int = 0


class Mark(Body, frozen=True):
    """Prices of a symbol as feed saw them since the last mark: what guards and collars look at.

    Attributes:
        last_px: Last trade, USD; None if there was none.
        low_px: Lowest trade since `ts_from`.
        high_px: Highest trade since `ts_from`.
        bid_px: Best bid now; None if not known.
        ask_px: Best ask now; None if not known.
        ts_from: Begin of the span that low and high are of, exclusive, ns UTC.
        ts_event: Its end: venue time of the newest trade or quote in it.
    """

    symbol: str
    ts_from: int
    ts_event: int
    last_px: Decimal | None = None
    low_px: Decimal | None = None
    high_px: Decimal | None = None
    bid_px: Decimal | None = None
    ask_px: Decimal | None = None

    @property
    def id(self) -> str:
        """What names it."""
        return f"{self.symbol}|{self.ts_event}"

    def marks(self) -> list[Mark]:
        """Give itself, as `BarMarks` gives each of its own."""
        return [self]


class BarMarks(Body, frozen=True):
    """Marks of many symbols over one span, made of their bars: what is held, where trades and quotes are not followed.

    Thousands of symbols have a bar each minute: one message of them costs what one mark does.

    Attributes:
        prices: By symbol: close, low and high, USD, as the bars have them.
        ts_from: Begin of the span, exclusive, ns UTC.
        ts_event: Its end.
    """

    id: str
    ts_from: int
    ts_event: int
    prices: dict[str, tuple[float, float, float]]

    def marks(self) -> list[Mark]:
        """Give them one by one."""
        span = self.ts_from, self.ts_event
        return [Mark(symbol, *span, *map(to_decimal, prices)) for symbol, prices in self.prices.items()]


class SymbolStatus(Body, frozen=True):
    """Whether and between which prices a symbol may be traded, as the venue or its exchange says.

    Attributes:
        source: `statuses` (trading halts), `lulds` (price bands) or `assets`; each replaces what the same source said.
        is_halted: Trading is halted or paused.
        is_tradable: The venue takes orders in it.
        is_shortable: The venue lends it.
        is_fractionable: The venue takes parts of a share.
        low_px: Lower price band, USD.
        high_px: Upper price band, USD.
        qty_min: Smallest quantity of an order; None, as for the steps: the venue does not say.
        qty_step: What a quantity must be a multiple of.
        price_step: What a price must be a multiple of, USD.
    """

    symbol: str
    source: str
    reason: str
    ts_event: int
    is_halted: bool = False
    is_tradable: bool = True
    is_shortable: bool = True
    is_fractionable: bool = True
    low_px: Decimal | None = None
    high_px: Decimal | None = None
    qty_min: Decimal | None = None
    qty_step: Decimal | None = None
    price_step: Decimal | None = None
