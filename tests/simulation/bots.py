"""The bots of one seed: strategies, how their orders are made, and when their positions are closed without a signal.

Half of the worlds have plain bots, so that the rest of the story is still seen alone.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec

from engine.bots import Bot, OrderStyle, Stops
from engine.values import OrderType, TimeInForce
from engine.window import Window
from tests.engine.build import OWNER

_FRACTIONS = (0.002, 0.004, 0.008)
"""A minute moves a price by 0.4 % or so."""
_STYLES: tuple[dict[str, Any], ...] = (
    {"type": OrderType.LIMIT, "limit_offset_bps": 5.0},
    {"type": OrderType.LIMIT, "limit_offset_bps": -10.0, "time_in_force": TimeInForce.GTC},
    {"type": OrderType.LIMIT, "limit_offset_bps": 5.0, "time_in_force": TimeInForce.IOC},
    {"type": OrderType.LIMIT, "limit_offset_bps": 10.0, "time_in_force": TimeInForce.FOK},
    {"type": OrderType.LIMIT, "limit_offset_bps": 5.0, "extended_hours": True},
    {"type": OrderType.STOP, "stop_offset_bps": 10.0},
    {"type": OrderType.STOP_LIMIT, "stop_offset_bps": 5.0, "limit_offset_bps": 10.0},
    {"type": OrderType.TRAILING_STOP, "trail_percent": 0.2},
    {"type": OrderType.MARKET, "fractional": True},
    {"type": OrderType.MARKET, "fractional": True, "notional": True},
)


def bots_of(draw: random.Random, symbols: tuple[str, ...], first_minute: int) -> tuple[Bot, ...]:
    """Two bots that share symbols, now and then a shadow of the first beside them.

    Args:
        draw: Randomness of the seed.
        symbols: Of its market.
        first_minute: Minute of the day, UTC, in which its bars begin.
    """
    paces = random.Random(repr(draw.getstate()[1][:8]))  # draws nothing: the rest of a seed's story stays
    has_stops, has_styles = draw.random() < 0.6, draw.random() < 0.4
    alpha = _drawn(
        draw, has_stops, has_styles,
        name="alpha",
        strategy="sma_crossover",
        symbols=symbols[:2],
        capital=Decimal(100_000),
        params={"fast": 1, "slow": draw.choice((2, 3, 4)), "allow_short": True},
        position_fraction=0.1,
    )  # fmt: skip
    is_rsi = draw.random() < 0.5
    crossing: dict[str, Any] = {"fast": 2, "slow": 3, "allow_short": draw.random() < 0.5}
    reverting: dict[str, Any] = {"period": 3, "oversold": 40.0, "overbought": 60.0}
    beta = _drawn(
        draw, has_stops, has_styles,
        name="beta",
        strategy="rsi" if is_rsi else "sma_crossover",
        symbols=symbols,
        capital=Decimal(60_000),
        params=reverting if is_rsi else crossing,
        position_fraction=draw.choice((0.1, 0.2)),
    )  # fmt: skip
    frames = random.Random(paces.random())
    bots = tuple(_timed(frames, _paced(paces, one, first_minute)) for one in (alpha, beta))
    if frames.random() >= 0.7:
        bots = (*bots, _shadow(frames, bots[0]))
    return bots if frames.random() < 0.75 else (*bots, *_owner(frames, symbols))


def _owner(draw: random.Random, symbols: tuple[str, ...]) -> list[Bot]:
    """A bot with a strategy of a user's that is told of its fills, now and then with a shadow."""
    own = Bot("delta", "owner.py:Owner", symbols[: draw.choice((1, 2))], Decimal(40_000), code=OWNER)
    timeframe = draw.choice(("1m", "1m", "2m", "20s", "30s"))
    own = msgspec.structs.replace(own, position_fraction=0.1, publish_indicators=True, timeframe=timeframe)
    if draw.random() < 0.3:
        own = msgspec.structs.replace(own, trading_frequency="every_tick", quotes=True)
    return [own, msgspec.structs.replace(own, name="epsilon", shadow_of="delta")][: draw.choice((1, 2))]


def _shadow(draw: random.Random, bot: Bot) -> Bot:
    """The same bot once more, as it is or with other numbers."""
    params = {**bot.params, "slow": 1 + bot.params["slow"]} if draw.random() < 0.5 else bot.params
    return msgspec.structs.replace(bot, name="gamma", params=params, shadow_of=bot.name)


def _timed(draw: random.Random, bot: Bot) -> Bot:
    """A quarter of them look at longer bars."""
    timeframe = draw.choice(("2m", "3m", "5m"))
    return msgspec.structs.replace(bot, timeframe=timeframe) if draw.random() < 0.25 else bot


def _paced(draw: random.Random, bot: Bot, first_minute: int) -> Bot:
    """A third of them say what they want in a window, or now and then, only."""
    every_s, begins, lasts = draw.choice((20, 60, 90, 120, 180, 300)), draw.randint(0, 3), draw.randint(2, 9)
    before_s = draw.choice((None, 0, 30, 60, 90))
    start, end = (
        f"{minute // 60:02}:{minute % 60:02}" for minute in (first_minute + begins, first_minute + begins + lasts)
    )
    kind = draw.random()
    if draw.random() < 0.15:
        bot = msgspec.structs.replace(bot, publish_indicators=True)
    if kind > 0.85:
        bot = msgspec.structs.replace(bot, trading_frequency="every_tick")
    if 0.1 < kind < 0.33:
        bot = msgspec.structs.replace(bot, trading_frequency=every_s)
    if kind < 0.2:
        bot = msgspec.structs.replace(bot, window=Window(start, end, "UTC", flatten_before_s=before_s))
    return bot


def _drawn(draw: random.Random, has_stops: bool, has_styles: bool, **fields: Any) -> Bot:
    stops = _stops(draw) if has_stops and draw.random() < 0.85 else None
    style = OrderStyle(**draw.choice(_STYLES)) if has_styles and draw.random() < 0.6 else OrderStyle()
    return Bot(**fields, stops=stops, order=style, session="any" if style.extended_hours else "regular")


def _stops(draw: random.Random) -> Stops:
    loss, profit, trail = (draw.choice(_FRACTIONS) for _ in range(3))
    held_by: Any = draw.choice(("venue", "venue", "venue", "risk"))
    match draw.randrange(6):
        case 0 | 1:
            return Stops(stop_loss=loss, take_profit=profit, held_by=held_by)
        case 2:
            return Stops(stop_loss=loss, held_by=held_by)
        case 3:
            return Stops(take_profit=profit, held_by=held_by)
        case 4:
            return Stops(trailing_stop=trail, held_by=held_by)
        case _:
            return Stops(stop_loss=2 * loss, take_profit=profit, trailing_stop=trail, held_by=held_by)
