"""Whether a bot's definition can trade as written. Each fault names field, value and mend. Pure.

Called by config/bots for files and by engine.roster for changes at run time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from engine.adoption import NOBODY
from engine.bots import EVERY_TICK, Bot
from engine.errors import ConfigError
from engine.frames import check_timeframe
from engine.strategies import check, fault_text, make
from engine.values import AssetClass, OrderType, TimeInForce, asset_class_of, is_option, is_seconds

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.-]{0,15}(/[A-Z]{3,5})?")
_NONE = "the venue keeps no bars of seconds"
_CAPITAL_MAX = 10**15
_CODE_MAX = 200_000


def name_fault(name: str) -> str:
    """Say why a name cannot be a bot's; empty if it can."""
    if not _NAME.fullmatch(name):
        return "name must be 1..32 of a-z 0-9 _ - and start with a letter or digit"
    return f"name {name} is where the ledger counts what belongs to no bot: choose another" if name in NOBODY else ""


def is_symbol(name: str) -> bool:
    """Whether a name has the form of a symbol of US equities or crypto."""
    return _SYMBOL.fullmatch(name) is not None and not is_option(name)


def validate(bot: Bot) -> None:
    """Refuse a bot that cannot trade as written. Raises ConfigError."""
    for wrong, what in _problems(bot):
        if wrong:
            msg = f"bot {bot.name!r}: {what}"
            raise ConfigError(msg)
    try:
        check(bot.source, bot.params)
        check_timeframe(bot.timeframe)
    except ConfigError as err:
        msg = f"bot {bot.name!r}: {err}"
        raise ConfigError(msg) from None
    try:
        make(bot.source, bot.params)
    except (Exception, SystemExit) as err:  # noqa: BLE001  (whatever a user's class raises)
        msg = f"bot {bot.name!r}: strategy {bot.strategy} cannot be made: {fault_text(err)}"
        raise ConfigError(msg) from None


def _problems(bot: Bot) -> Iterable[tuple[bool, str]]:
    yield (fault := name_fault(bot.name)) != "", fault
    is_own = ".py:" in bot.strategy
    yield is_own and not bot.code, f"code of {bot.strategy} is missing: give the bot as a file beside that one"
    yield bool(bot.code) and not is_own, f"code goes with a strategy path.py:Class, was {bot.strategy!r}"
    too_long = len(bot.code) > _CODE_MAX
    yield too_long, f"code must have at most {_CODE_MAX} characters, had {len(bot.code)}: put parts in a package"
    yield bot.shadow_of == bot.name, f"shadow_of must be another bot, was {bot.shadow_of}: give the shadow its own name"
    yield not (bot.symbols or bot.universe), "symbols must name at least one symbol"
    for symbol in bot.symbols:
        yield not _SYMBOL.fullmatch(symbol), f"symbol {symbol!r} is not of the form AAPL, BRK.B or BTC/USD"
        yield is_option(symbol), f"symbol {symbol!r} is an option contract: Tapeline trades US equities and crypto"
    twice = sorted(symbol for symbol, count in Counter(bot.symbols).items() if count > 1)
    yield bool(twice), f"symbols must not repeat: {', '.join(twice)} stand there more than once"
    has_capital = bot.capital.is_finite() and 0 < bot.capital <= _CAPITAL_MAX
    yield not has_capital, f"capital must be a finite number > 0 and at most {_CAPITAL_MAX} USD, was {bot.capital}"
    yield not 0 < bot.position_fraction <= 1, f"position_fraction must be in (0, 1], was {bot.position_fraction}"
    is_unused = bot.quotes and bot.trading_frequency != EVERY_TICK
    yield is_unused, 'quotes = true needs trading_frequency = "every_tick": bars of seconds have them without it'
    has_past = is_seconds(bot.timeframe) and bool(bot.warm_up_bars)
    yield has_past, f"warm_up_bars of timeframe {bot.timeframe} must be 0 or left out, was {bot.warm_up_bars}: {_NONE}"
    yield from _no_such_orders(bot)


def _no_such_orders(bot: Bot) -> Iterable[tuple[bool, str]]:
    """Styles for which the venue has no order in the bot's symbols (Orders at Alpaca; Crypto; Fractional trading)."""
    style, life = bot.order, bot.order.time_in_force
    classes = {asset_class_of(symbol) for symbol in bot.symbols}
    if AssetClass.CRYPTO in classes:
        is_wrong = life not in (None, TimeInForce.GTC, TimeInForce.IOC)
        yield is_wrong, f"order.time_in_force of crypto is gtc or ioc, was {life}: leave it out, it is gtc for crypto"
        is_wrong = style.type not in (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT)
        yield is_wrong, f"order.type of crypto is market, limit or stop_limit, was {style.type}"
    if AssetClass.US_EQUITY in classes and style.fractional:
        is_wrong = life not in (None, TimeInForce.DAY)
        yield is_wrong, f"order.time_in_force with fractional = true is day, was {life}"
        is_wrong = style.type is OrderType.TRAILING_STOP
        yield is_wrong, "order.type with fractional = true is market, limit, stop or stop_limit, was trailing_stop"
    is_queued = life is TimeInForce.OPG and bot.session == "regular"
    yield is_queued, "order.time_in_force opg is for the opening to come: it needs session any"
    is_unused = style.extended_hours and bot.session == "regular"
    yield is_unused, "order.extended_hours needs session any: in the regular session it changes nothing"
