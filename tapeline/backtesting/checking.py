"""What a backtest refuses before it begins: options, bots and bars that it could only pretend to play."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl

from adapters.exchange.wire import rfc3339
from engine.bots import EVERY_TICK, Bot
from engine.errors import ConfigError
from engine.values import NS_PER_MINUTE, is_seconds

_CASH_MAX = Decimal(10) ** 12
_YEARS_MAX_NS = 4_102_444_800_000_000_000
"""2100: nobody has a calendar for what is later."""


def check_options(
    bots: Collection[Path], start_ns: int | None, end_ns: int | None, cash: Decimal, share: Decimal | None
) -> None:
    """Refuse options that cannot be meant.

    Args:
        bots: Bot files.
        start_ns: `--from`, ns UTC.
        end_ns: `--to`.
        cash: `--cash`, USD.
        share: `--volume-share`.

    Raises:
        ConfigError: One of them.
    """
    if not bots:
        msg = "no bot is named: give at least one bot file (tapeline bots new NAME --template sma_crossover writes one)"
        raise ConfigError(msg)
    if not cash.is_finite() or not 0 < cash <= _CASH_MAX:
        msg = f"--cash must be above 0 and at most {_CASH_MAX:,} USD, was {cash}"
        raise ConfigError(msg)
    if share is not None and not (share.is_finite() and 0 < share <= 1):
        msg = f"--volume-share must be above 0 and at most 1, was {share}"
        raise ConfigError(msg)
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        msg = f"--from {rfc3339(start_ns)} is not before --to {rfc3339(end_ns)}"
        raise ConfigError(msg)


def check_bot(bot: Bot) -> None:
    """Refuse a bot that minutes alone cannot play. Raises ConfigError."""
    what = ""
    if bot.shadow_of:
        what = "shadow_of has no place in a backtest: leave it out, and run both in one backtest"
    elif bot.trading_frequency == EVERY_TICK or bot.quotes:
        what = "it looks at trades or quotes, and a bar file has none: give trading_frequency and quotes another value"
    elif is_seconds(bot.timeframe):
        what = f"timeframe {bot.timeframe} is made of trades, and a bar file has none: give it 1m or longer"
    if what:
        msg = f"bot {bot.name!r}: {what}"
        raise ConfigError(msg)


def check_minutes(path: Path, frame: pl.DataFrame) -> None:
    """Refuse longer bars, which taken for minutes would be filled in the wrong one, and years without a calendar.

    Args:
        path: The bar file.
        frame: In the columns of VenueBar, by time.

    Raises:
        ConfigError: They are such.
    """
    first, last = int(frame.item(0, "open_ns")), int(frame.item(-1, "open_ns"))
    if first < 0 or last > _YEARS_MAX_NS:
        at = rfc3339(first if first < 0 else last)
        msg = f"bar file {path} has a bar of {at}: bars of 1970 to 2099 can be played; choose by --from and --to"
        raise ConfigError(msg)
    least = frame.select(pl.col("open_ns").diff().over("symbol")).to_series().drop_nulls().min()
    if isinstance(least, int) and least > NS_PER_MINUTE:
        msg = (
            f"bar file {path} holds no minutes: its bars are {least // NS_PER_MINUTE} minutes apart or more; "
            "give 1-minute bars, of which a bot's timeframe is made"
        )
        raise ConfigError(msg)


def check_symbols(path: Path, named: Collection[str], known: Sequence[str]) -> None:
    """Refuse symbols that have no bar in what was chosen. Raises ConfigError."""
    if absent := sorted(set(named) - set(known)):
        msg = (
            f"bar file {path} has no bar of {', '.join(absent[:10])} between the chosen start and end; widen "
            "--from and --to, or leave it out of the bot"
        )
        raise ConfigError(msg)
