"""One backtest, from its files to its messages. The decisions are engine.backtest's."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Generator, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import polars as pl

from adapters.exchange.account import BookRules
from adapters.exchange.barfile import FileBars, read_bars
from adapters.exchange.bars import VenueBar
from adapters.exchange.calendar import VenueCalendar, utc_date
from adapters.simulated import SimulatedVenue
from config import bots as bot_files
from config import own
from config.settings import Settings
from engine.backtest import Backtest
from engine.bots import Bot
from engine.costs import ALPACA, NO_SLIPPAGE, FeeModel, Slippage
from engine.errors import ConfigError
from engine.ids import make_id
from engine.listing import status_of
from engine.matching import FillRule
from engine.messages import AccountOpened, AnyBody, Bar, Sessions
from engine.values import CRYPTO_UNIVERSE, MINUTE_BAR, NS_PER_MINUTE, ZERO, AssetClass, asset_class_of
from tapeline.backtesting.checking import check_bot, check_minutes, check_options, check_symbols
from tapeline.backtesting.gaps import missing_minutes
from tapeline.backtesting.warming import past_bars

_BACK = timedelta(days=400)
_MULTIPLIER = 2
_PAST_ROWS_MAX = 5_000_000
"""Newest rows from before the start that are looked at."""
_BPS_PER_PERCENT = 100


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run.

    Attributes:
        bots: Bot files.
        bars: Bar file.
        start_ns: Bars that open before this are history, ns UTC; None: the first of the file.
        end_ns: Bars that open at or after this are left out; None: no end.
        cash: Of the account at the beginning, USD.
        fees: What is charged.
        slippage: By how much market and stop orders are filled worse.
        rule: At what prices of a bar orders are filled.
        volume_share_max: Largest part of a bar's volume that one order may take; None: no limit.
        seed: Of slippage, and of every id at the venue.
    """

    bots: tuple[Path, ...]
    bars: Path
    start_ns: int | None = None
    end_ns: int | None = None
    cash: Decimal = Decimal(100_000)
    fees: FeeModel = ALPACA
    slippage: Slippage = NO_SLIPPAGE
    rule: FillRule = FillRule.NEXT_OPEN
    volume_share_max: Decimal | None = None
    seed: int = 1


class Inputs(msgspec.Struct, frozen=True):
    """What was read: the bots with their symbols, the bars, what is missing of them, and digests of both."""

    bots: tuple[Bot, ...]
    bars: FileBars
    sessions: Sessions
    gaps: pl.DataFrame
    rows: int
    bars_digest: str
    config_digest: str


def read(order: Order, settings: Settings) -> Inputs:
    """Read and check everything before anything runs.

    Raises:
        ConfigError: A bot file, the bar file, or both together cannot be run.
    """
    check_options(order.bots, order.start_ns, order.end_ns, order.cash, order.volume_share_max)
    bots = tuple(bot_files.load(path, settings.universes) for path in order.bots)
    bot_files.validate_all(bots)
    bot_files.check_limits(settings.limits, bots)
    for bot in bots:
        check_bot(bot)
        own.learn(bot)
    named = {symbol for bot in bots for symbol in bot.symbols}
    is_all = any(bot.universe for bot in bots)
    symbols = None if is_all else tuple(sorted(named))
    frame = read_bars(order.bars, symbols, order.start_ns, order.end_ns, past_rows_max=_PAST_ROWS_MAX)
    check_minutes(order.bars, frame)
    bars = FileBars(frame, order.start_ns)
    bots = tuple(_spread(bot, bars.symbols) for bot in bots)
    check_symbols(order.bars, named, bars.symbols)
    sessions = _sessions(frame, bars.next_open() or 0)
    return Inputs(
        bots,
        bars,
        sessions,
        missing_minutes(bars.frame, sessions),
        bars.rows,
        _digest(order.bars.read_bytes()),
        _digest(
            msgspec.json.encode((_chosen(order), bots, settings.limits, settings.signals.bar_wait_ms), order="sorted")
        ),
    )


def _sessions(frame: pl.DataFrame, now_ns: int) -> Sessions:
    """Give the calendar that bars are of."""
    opens = frame.get_column("open_ns")
    first, last = utc_date(int(opens[0])), utc_date(int(opens[-1]))
    calendar = VenueCalendar(first - _BACK, last + timedelta(days=14))
    spans = tuple((session.open_ns, session.close_ns) for session in calendar.sessions)
    return Sessions(AssetClass.US_EQUITY, spans, now_ns)


def _chosen(order: Order) -> dict[str, object]:
    """Give what was chosen but for files, which count by what is in them."""
    names = (name for name in order.__struct_fields__ if name not in ("bots", "bars"))
    return {name: getattr(order, name) for name in names}


def play(
    order: Order, inputs: Inputs, settings: Settings, opened: AccountOpened | None = None
) -> Iterator[tuple[list[Bar], list[AnyBody], Backtest]]:
    """Play minute by minute.

    Args:
        order: What is to be run.
        inputs: What was read of it.
        settings: Limits.
        opened: Whose account it is; None: one whose name follows from what is run.

    Yields:
        The bars of a minute (none of the beginning), what was stored of it in order, and the account after it.
    """
    bars = inputs.bars
    first = bars.next_open()
    assert first is not None  # noqa: S101  (a file without bars is refused)
    fees = order.fees
    rules = BookRules(
        seed=order.seed,
        cash=order.cash,
        multiplier=_MULTIPLIER,
        crypto_fee_bps=fees.crypto * _BPS_PER_PERCENT,
        partial_fill_probability=ZERO,
        volume_share_max=order.volume_share_max,
        slippage=order.slippage,
        rule=order.rule,
        fees=fees,
    )
    venue = SimulatedVenue(rules)
    if opened is None:
        account = f"BT{make_id(inputs.config_digest, inputs.bars_digest)[:10].upper()}"
        opened = AccountOpened("ALPACA", account, "backtest", order.cash, first)
    test = Backtest(opened, settings.limits, venue, settings.signals.bar_wait_ms)
    symbols = sorted({symbol for bot in inputs.bots for symbol in bot.symbols})
    statuses = [status_of(asset.symbol, asset, first) for asset in venue.assets(symbols)]
    pasts = past_bars(bars.past, inputs.bots, inputs.sessions, bars.begins())
    yield [], test.open(inputs.sessions, statuses, inputs.bots, pasts), test
    while bars.next_open() is not None:
        minute = [_bar(bar) for bar in bars.take()]
        yield minute, test.on_minute(minute), test


@contextlib.contextmanager
def seldom_collected() -> Generator[None]:
    """Look for garbage in circles seldom: a run makes millions of messages, none of them in a circle."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _spread(bot: Bot, known: tuple[str, ...]) -> Bot:
    """Give a bot whose universe is what there is in the file."""
    if not bot.universe or bot.symbols:
        return bot
    wanted = AssetClass.CRYPTO if bot.universe == CRYPTO_UNIVERSE else AssetClass.US_EQUITY
    symbols = tuple(symbol for symbol in known if asset_class_of(symbol) is wanted)
    if not symbols:
        msg = f"bot {bot.name!r}: the bar file has no symbol of its universe {bot.universe!r}"
        raise ConfigError(msg)
    return msgspec.structs.replace(bot, symbols=symbols)


def _bar(bar: VenueBar) -> Bar:
    closed = bar.open_ns + NS_PER_MINUTE
    prices = bar.open, bar.high, bar.low, bar.close
    return Bar(bar.symbol, MINUTE_BAR, closed, *prices, bar.volume, bar.trade_count, bar.vwap)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
