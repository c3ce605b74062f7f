"""Bots from TOML files: read, validated, one clear line where something is wrong. Shipped ones lie beside this file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from config.settings import readable
from engine.adoption import NOBODY
from engine.bots import Bot, OrderStyle, RiskLimits, Stops
from engine.errors import ConfigError
from engine.strategies import check
from engine.values import AssetClass, OrderType, TimeInForce, asset_class_of, is_option, timeframe_ns

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.-]{0,15}(/[A-Z]{3,5})?")
_CAPITAL_MAX = 10**15
_OF_DEMO = "demo"
SHIPPED = Path(__file__).parent


def shipped(name: str) -> Bot:
    """Give a bot that comes with Tapeline."""
    return load(SHIPPED / f"{name}.toml")


def templates() -> list[str]:
    """Names of the bot files that come with Tapeline, one per strategy, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml") if path.stem != _OF_DEMO)


def template(name: str) -> str:
    """Give the text of one. Raises ConfigError when there is none of this name."""
    if name not in templates():
        msg = f"unknown template {name!r}: choose one of {', '.join(templates())}"
        raise ConfigError(msg)
    return (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")


def renamed(text: str, name: str) -> str:
    """Give a bot file's text with another name. Raises ConfigError when it is none for a bot."""
    if not _NAME.fullmatch(name) or name in NOBODY:
        msg = f"bot name {name!r} cannot be used: 1 to 32 of a-z 0-9 _ -, and none of {', '.join(sorted(NOBODY))}"
        raise ConfigError(msg)
    return re.sub(r'^name = ".*"$', f'name = "{name}"', text, count=1, flags=re.MULTILINE)


def load(path: Path) -> Bot:
    """Read one bot.

    Raises:
        ConfigError: Names the file, the field, the value and the mend.
    """
    tree: dict[str, object] = {}
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        bot = msgspec.convert(tree, Bot, strict=False)
    except FileNotFoundError:
        msg = f"bot file {path} does not exist"
        raise ConfigError(msg) from None
    except msgspec.ValidationError as err:
        msg = f"bot file {path}: {readable(str(err), tree, _known)}"
        raise ConfigError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as err:
        msg = f"bot file {path}: {err}"
        raise ConfigError(msg) from None
    try:
        validate(bot)
    except ConfigError as err:
        msg = f"bot file {path}: {err}"
        raise ConfigError(msg) from None
    return bot


def _known(section: str) -> list[str]:
    struct = {"": Bot, "stops": Stops, "order": OrderStyle}.get(section)
    return [] if struct is None else [field.name for field in msgspec.structs.fields(struct)]


def validate(bot: Bot) -> None:
    """Refuse a bot that cannot trade as written. Raises ConfigError."""
    for wrong, what in _problems(bot):
        if wrong:
            msg = f"bot {bot.name!r}: {what}"
            raise ConfigError(msg)
    try:
        check(bot.strategy, bot.params)
        timeframe_ns(bot.timeframe)
    except (ConfigError, ValueError) as err:
        msg = f"bot {bot.name!r}: {err}"
        raise ConfigError(msg) from None


def validate_all(bots: Iterable[Bot]) -> None:
    """Validate each bot and that names differ."""
    seen: set[str] = set()
    for bot in bots:
        validate(bot)
        if bot.name in seen:
            msg = f"bot {bot.name!r} is defined twice: give each bot its own name"
            raise ConfigError(msg)
        seen.add(bot.name)


def check_limits(limits: RiskLimits, bots: Iterable[Bot]) -> None:
    """Refuse limits of a bot or symbol that is not there: a limit with a wrong name limits nothing."""
    known = list(bots)
    symbols = {symbol for bot in known for symbol in bot.symbols}
    for section, what, there, given in (
        ("bots", "no bot has this name", {bot.name for bot in known}, limits.bots),
        ("symbols", "no bot trades this symbol", symbols, limits.symbols),
    ):
        for name in given:
            if name not in there:
                msg = f"limits.{section}.{name}: {what}; known are {', '.join(sorted(there))}"
                raise ConfigError(msg)


def _problems(bot: Bot) -> Iterable[tuple[bool, str]]:
    yield not _NAME.fullmatch(bot.name), "name must be 1..32 of a-z 0-9 _ - and start with a letter or digit"
    is_taken = bot.name in NOBODY
    yield is_taken, f"name {bot.name} is where the ledger counts what belongs to no bot: choose another"
    yield not bot.symbols, "symbols must name at least one symbol"
    for symbol in bot.symbols:
        yield not _SYMBOL.fullmatch(symbol), f"symbol {symbol!r} is not of the form AAPL, BRK.B or BTC/USD"
        yield is_option(symbol), f"symbol {symbol!r} is an option contract: Tapeline trades US equities and crypto"
    yield len(set(bot.symbols)) != len(bot.symbols), "symbols must not repeat"
    has_capital = bot.capital.is_finite() and 0 < bot.capital <= _CAPITAL_MAX
    yield not has_capital, f"capital must be a finite number > 0 and at most {_CAPITAL_MAX} USD, was {bot.capital}"
    yield not 0 < bot.position_fraction <= 1, f"position_fraction must be in (0, 1], was {bot.position_fraction}"
    yield from _no_such_orders(bot)
    yield bot.timeframe != "1m", f"timeframe must be 1m in this version, was {bot.timeframe!r}"


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
