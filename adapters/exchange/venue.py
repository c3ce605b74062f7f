"""The venue without its sockets: market, history, book and time, moved forward one minute at a time in two steps.

`begin_minute` moves venue time to the close of the next minute and decides everything of that minute; `end_minute`
makes its bars known. Between the two, history and last prices are those of the minute before. The driver calls both,
the REST and websocket handlers read. No I/O and no clock here: `now_ns` is set by the driver.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from adapters.exchange import ids, wire
from adapters.exchange.account import BookRules
from adapters.exchange.barfile import FileBars, read_bars
from adapters.exchange.bars import BarSource, History, VenueBar, late_copy
from adapters.exchange.book import Book, TradeUpdate, in_order
from adapters.exchange.calendar import VenueCalendar, day_start_ns, utc_date
from adapters.exchange.config import ExchangeConfig
from adapters.exchange.corporate import Splits
from adapters.exchange.faults import Faults
from adapters.exchange.generator import GeneratedBars, generator_symbols
from adapters.exchange.halting import Halting
from adapters.exchange.portfolio import EquityHistory
from engine.costs import Slippage
from engine.errors import ConfigError
from engine.values import CRYPTO_TICK, NS_PER_MINUTE, round_to, to_decimal

_DAY_NS = 24 * 60 * NS_PER_MINUTE
_HISTORY_SYMBOLS_MAX = 100
_HISTORY_MINUTES = 390
_HISTORY_ROWS_MAX = 200_000


class Venue:
    """Market and account of one exchange.

    Args:
        config: Settings.

    Raises:
        ConfigError: The bar file or the choice of symbols and times is bad.
    """

    def __init__(self, config: ExchangeConfig) -> None:
        self.config = config
        self.source, self.calendar = _market(config)
        self.history = History()
        self.last_history_open_ns = 0
        for bars in self.source.history():
            for bar in bars:
                self.history.append(bar)
        first_open = self.source.next_open()
        assert first_open is not None  # noqa: S101  both sources refuse an empty market
        self.start_ns = first_open
        self.now_ns = first_open
        self.symbols = self.source.symbols
        self._spellings = _spellings(self.symbols)
        rules = BookRules(
            config.seed, Decimal(config.cash), config.multiplier, to_decimal(config.crypto_fee_bps),
            to_decimal(config.partial_fill_probability),
            None if config.volume_share_max is None else to_decimal(config.volume_share_max),
            Slippage(bps=to_decimal(config.slippage_bps)),
        )  # fmt: skip
        self.faults = Faults(config.seed, config.faults)
        self.book = Book(rules, self.calendar, self.last_price, self.symbol_of, self.faults)
        self.splits = Splits(config.seed, self.calendar)
        self.equity = EquityHistory(rules.cash)
        self.halting = Halting()
        self.bars_emitted = 0
        self.late_updates: list[VenueBar] = []
        self._minute: list[VenueBar] | None = None
        self._day_end_ns = day_start_ns(first_open) + _DAY_NS

    def symbol_of(self, spelling: str) -> str | None:
        """Canonical symbol of `BTC/USD`, `BTCUSD` or an asset id; None when this market does not have it."""
        return self._spellings.get(spelling)

    def last_price(self, symbol: str) -> Decimal | None:
        """Close of the newest bar that is out; None before the first."""
        known = self.history.of(symbol)
        if known is None:
            return None
        factor = self.splits.factor_since(symbol, known.open_ns[-1])
        price = to_decimal(known.close[-1])
        return price if factor == 1 else round_to(price / factor, CRYPTO_TICK)

    @property
    def next_close(self) -> int | None:
        """Close of the next minute that has bars; None at the end."""
        next_open = self.source.next_open()
        return None if next_open is None else next_open + NS_PER_MINUTE

    @property
    def is_finished(self) -> bool:
        """True when every bar is out."""
        return self._minute is None and self.source.next_open() is None

    @property
    def is_between(self) -> bool:
        """True between `begin_minute` and `end_minute`."""
        return self._minute is not None

    @property
    def minute(self) -> list[VenueBar]:
        """Bars decided but not out yet."""
        return self._minute or []

    def begin_minute(self) -> list[TradeUpdate]:
        """Move to the next close and decide the minute; at the end of the market only acknowledge what came in."""
        acknowledged = self.book.acknowledge()
        close_ns = self.next_close
        if close_ns is None:
            return acknowledged
        if close_ns > self._day_end_ns:
            self.book.account.last_equity = self.book.account.valuation().equity
            self._day_end_ns = day_start_ns(close_ns - NS_PER_MINUTE) + _DAY_NS
        done = [event for split in self.splits.due(close_ns - NS_PER_MINUTE) for event in self.book.split(split)]
        self._minute = self.halting.trading(self.splits.scaled(self.source.take()))
        self.now_ns = close_ns
        return in_order([*acknowledged, *done, *self.book.settle(self._minute, close_ns)])

    def end_minute(self) -> tuple[list[VenueBar], list[VenueBar]]:
        """Make the minute's bars known.

        Returns:
            Late updates of the minute before, and the bars of this one.
        """
        bars = self._minute or []
        self._minute = None
        updates = self.late_updates
        for bar in updates:
            known = self.history.of(bar.symbol)
            if known is not None:
                known.replace_last(bar)
        for bar in bars:
            self.history.append(bar)
        self.bars_emitted += len(bars)
        self.late_updates = [late for bar in bars if (late := self._late(bar)) is not None]
        self.book.account.mark()
        self.equity.sample(self.now_ns, self.book.account.valuation().equity)
        return updates, bars

    def _late(self, bar: VenueBar) -> VenueBar | None:
        """A late trade at the close adds one percent of volume, for a seeded share of the bars."""
        chance = self.config.late_update_probability
        if chance <= 0 or ids.draw(self.config.seed, "late", bar.symbol, bar.open_ns) >= to_decimal(chance):
            return None
        return late_copy(bar)


def _market(config: ExchangeConfig) -> tuple[BarSource, VenueCalendar]:
    if config.bars is not None:
        span = config.start_ns, config.end_ns
        frame = read_bars(config.bars, config.symbols, *span, past_rows_max=_HISTORY_ROWS_MAX)
        opens = frame.get_column("open_ns")
        calendar = VenueCalendar(utc_date(int(opens[0])), utc_date(int(opens[-1])))
        return FileBars(frame, config.start_ns), calendar
    calendar = VenueCalendar(
        config.generator_start, config.generator_start + timedelta(days=2 * config.generator_sessions + 10)
    )
    sessions = [session for session in calendar.sessions if session.day >= config.generator_start]
    sessions = [
        session for session in sessions[: config.generator_sessions]
        if (config.start_ns is None or session.close_ns > config.start_ns)
        and (config.end_ns is None or session.open_ns < config.end_ns)
    ]  # fmt: skip
    if not sessions:
        msg = "the generator has no session between the chosen start and end; widen --from and --to"
        raise ConfigError(msg)
    symbols = config.symbols or generator_symbols(config.generator_symbols)
    minutes = config.generator_history_minutes
    if minutes is None:
        minutes = _HISTORY_MINUTES if len(symbols) <= _HISTORY_SYMBOLS_MAX else 0
    played = GeneratedBars(
        tuple(symbols), config.seed, calendar, sessions, minutes, start_ns=config.start_ns, end_ns=config.end_ns
    )  # fmt: skip
    return played, calendar


def _spellings(symbols: tuple[str, ...]) -> dict[str, str]:
    known: dict[str, str] = {}
    for symbol in symbols:
        known[symbol] = symbol
        known[wire.asset_id(symbol)] = symbol
        if "/" in symbol:
            known.setdefault(symbol.replace("/", ""), symbol)
    return known
