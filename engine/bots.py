"""A bot: a strategy with symbols, timeframe, capital and limits. Values only; files are read by config/bots."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec

from engine.ids import make_id
from engine.limits import BotLimits, Count, Part, Share, SymbolLimits, Usd, refuse_senseless
from engine.values import PAST_BARS_MAX, OrderType, TimeInForce, is_seconds
from engine.window import Window


class Stops(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a position is closed without a signal; fractions of its entry price in (0, 1], at least one.

    Attributes:
        stop_loss: Close when the price moved this far against the position.
        take_profit: Close when it moved this far in its favor.
        trailing_stop: Close when it fell back this far from its best since the entry.
        held_by: `venue`: by orders at the venue wherever it can hold them, else by risk; `risk`: always by risk.
    """

    stop_loss: Part = None
    take_profit: Part = None
    trailing_stop: Part = None
    held_by: Literal["venue", "risk"] = "venue"

    def __post_init__(self) -> None:
        """Refuse stops that stop nothing."""
        if self.stop_loss is None and self.take_profit is None and self.trailing_stop is None:
            msg = "stops must set stop_loss, take_profit or trailing_stop: set one, or leave stops out"
            raise ValueError(msg)


Millis = Annotated[int, msgspec.Meta(ge=1, le=10**11)]
"""Three years at most: added to a time in ns it stays one."""
Seconds = Annotated[int, msgspec.Meta(ge=1, le=86_400)]
WarmUp = Annotated[int, msgspec.Meta(ge=0, le=PAST_BARS_MAX)]
Bps = Annotated[float, msgspec.Meta(ge=-5_000, le=5_000)]


class OrderStyle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a bot's orders are made. What reduces a position goes as a market order, except in extended hours.

    Attributes:
        type: Of orders that open or add: market, limit, stop, stop_limit or trailing_stop.
        time_in_force: None: day for US equities, gtc for crypto.
        limit_offset_bps: Limit's distance from the reference price in basis points: above 0 pays more than it (buys
            above, sells below), below 0 waits for a better price.
        stop_offset_bps: Stop's distance beyond the reference price (buys above, sells below), > 0.
        trail_percent: Distance of a trailing stop entry, 1.5 is 1.5 %.
        extended_hours: Trade outside regular hours too, by limit orders; needs type limit and session any.
        exit_offset_bps: How much worse than the reference price an exit in extended hours may be.
        fractional: Parts of a share; long positions only.
        notional: Orders that open or add name USD, not shares; needs type market and fractional.
    """

    type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce | None = None
    limit_offset_bps: Bps = 0.0
    stop_offset_bps: Bps = 10.0
    trail_percent: Annotated[float, msgspec.Meta(gt=0, le=50)] = 1.0
    extended_hours: bool = False
    exit_offset_bps: Annotated[float, msgspec.Meta(ge=0, le=5_000)] = 50.0
    fractional: bool = False
    notional: bool = False

    def __post_init__(self) -> None:
        """Refuse what the venue has no order for."""
        auction = self.time_in_force in (TimeInForce.OPG, TimeInForce.CLS)
        at_once = self.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        is_plain = self.type in (OrderType.MARKET, OrderType.LIMIT)
        faults = (
            (self.type is OrderType.OTHER, "type other is none that can be sent"),
            (self.time_in_force is TimeInForce.OTHER, "time_in_force other is none that can be sent"),
            (self.extended_hours and self.type is not OrderType.LIMIT, "extended_hours needs type limit"),
            (
                self.extended_hours and self.time_in_force not in (None, TimeInForce.DAY, TimeInForce.GTC),
                "extended_hours needs time_in_force day or gtc",
            ),
            (self.notional and self.type is not OrderType.MARKET, "notional needs type market"),
            (self.notional and not self.fractional, "notional needs fractional = true"),
            ((auction or at_once) and not is_plain, f"time_in_force {self.time_in_force} needs type market or limit"),
            (self.fractional and auction, "fractional orders cannot be opg or cls"),
            (
                self.type in (OrderType.STOP, OrderType.STOP_LIMIT) and self.stop_offset_bps <= 0,
                f"stop_offset_bps must be > 0, was {self.stop_offset_bps}",
            ),
        )
        for wrong, what in faults:
            if wrong:
                raise ValueError(what)


class BotStatus(StrEnum):
    """Whether a bot decides.

    A paused one goes on looking and says nothing; a stopped one does not look. Either may only reduce what it holds,
    whose stops stay. `error`: stopped by a fault of its strategy. `removed`: gone, its name may be used again.
    """

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"
    REMOVED = "removed"


class Bot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A configured strategy with capital.

    Attributes:
        name: Letters, digits, `-` and `_`; one token of a subject.
        strategy: Name in engine.strategies, of an installed package, or `path.py:Class`, a file beside the bot's.
        params: The strategy's own parameters, by name.
        universe: What its symbols were chosen by, when it was defined: `*`, all US equities that the venue trades, or
            `crypto`, all pairs to USD; empty: they were named.
        capital: USD this bot may use.
        position_fraction: Share of the capital that one symbol's full-strength target uses, (0, 1].
        session: `regular` trades US equities in regular hours only, `any` whenever bars come; crypto is always `any`.
        window: Hours in which it says what it wants; None: whenever there is a market for it.
        trading_frequency: `every_bar`; `every_tick`: also at each trade, by the bar that is forming; or N: what it
            wants is said at the first event at or after each multiple of N seconds, counted from 1970 on, UTC; its
            strategy looks at every bar all the same.
        quotes: With `every_tick`, the middle of bid and ask counts as a trade of size 0 wherever it moved.
        warm_up_bars: Bars of its timeframe, from before the first that there is, which its strategies are warmed up
            with; None: at least three times the longest warm-up of its indicators.
        publish_indicators: Say what its strategy sees at every bar, not only what a signal rests on.
        stops: When its positions are closed without a signal; None: never.
        order: How its orders are made.
        limits: Limits of this bot, beside those of the account and of the settings: the strictest counts.
        code: Text of the file with the strategy, where it is one of the user's; read with the bot's file.
        shadow_of: Name of the bot that it is tried beside; empty: of none. What a shadow wants is judged and filled on
            an account of its own, and nothing of it is sent.
    """

    name: str
    strategy: str
    symbols: tuple[str, ...]
    capital: Decimal
    params: dict[str, Any] = {}
    universe: Literal["", "*", "crypto"] = ""
    timeframe: str = "1m"
    position_fraction: float = 0.1
    session: Literal["regular", "any"] = "regular"
    window: Window | None = None
    trading_frequency: Literal["every_bar", "every_tick"] | Seconds = "every_bar"
    quotes: bool = False
    warm_up_bars: WarmUp | None = None
    publish_indicators: bool = False
    stops: Stops | None = None
    order: OrderStyle = OrderStyle()
    limits: BotLimits | None = None
    code: str = ""
    shadow_of: str = ""

    def trades(self, symbol: str) -> bool:
        """Whether a symbol is one of its own."""
        return symbol in self._traded

    @cached_property
    def _traded(self) -> frozenset[str]:
        return frozenset(self.symbols)

    @cached_property
    def source(self) -> str:
        """The name under which its strategy is known: with code, also by that."""
        return f"{self.strategy}#{make_id(self.code)[:12]}" if self.code else self.strategy


EVERY_TICK = "every_tick"


def ticks(bot: Bot) -> bool:
    """Whether a bot looks at trades one by one: asked at each, or with bars of seconds, which are made of them."""
    return bot.trading_frequency == EVERY_TICK or is_seconds(bot.timeframe)


def quotes(bot: Bot) -> bool:
    """Whether a bot looks at quotes one by one."""
    return is_seconds(bot.timeframe) or (bot.quotes and ticks(bot))


class RiskLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the risk rules, each a setting under [limits]; None (in TOML: left out) switches a rule off.

    Attributes:
        order_notional_usd_max: Largest order, quantity x reference price.
        order_quantity_max: Largest order, shares or coins.
        position_fraction_max: Largest |position| of a bot in one symbol as a share of its capital, working counted.
        symbol_exposure_usd_max: Largest worst-case exposure in one symbol over all bots.
        bot_exposure_fraction_max: Largest worst-case exposure of a bot over all symbols as a share of its capital.
        gross_exposure_usd_max: Largest worst-case exposure of the account.
        net_exposure_usd_max: Largest |long - short| of the account, working counted.
        positions_max: Most symbols the account may hold or have orders in.
        bot_positions_max: The same for one bot.
        open_orders_max: Most orders of the account that may work at once.
        orders_per_min_max: Most approved orders of the account in a minute of venue time.
        bot_orders_per_min_max: The same for one bot.
        bot_orders_per_day_max: Most approved orders of a bot in a trading day.
        repeats_max: So many approved orders of one bot, symbol and side within repeats_window_s latch the bot.
        repeats_window_s: See repeats_max, venue time.
        daily_loss_usd_max: Loss of the account since the trading day began, open P&L included; latches the account.
        bot_daily_loss_fraction_max: The same for a bot as a share of its capital; latches the bot.
        drawdown_usd_max: Fall of the account's P&L from its peak; latches the account.
        bot_drawdown_fraction_max: The same for a bot as a share of its capital; latches the bot.
        price_move_fraction_max: Largest move of the reference price against the last one known.
        overnight_move_fraction_max: Largest move of a share's first price of a session against the last one of an
            earlier session; beyond it, and close to a simple split ratio, the symbol is blocked.
        opposite_sides: Whether a bot may be long where another is short.
        restricted_symbols: Symbols that must not be bought or sold short; what is held may be sold.
        allowed_symbols: If any, only these may be traded.
        bar_age_ms_max: Oldest bar a decision may rest on, in venue time.
        price_buffer_fraction: Added to the reference price when cash is reserved for a market buy.
        intent_valid_ms: How long after the decision an intent may be sent.
        rounding_fraction_max: Largest change of an order's notional by rounding to the venue's steps.
        mark_age_ms_max: Oldest price that what is held may be counted with, in venue time of open market; with an
            older one exposure and losses are unknown, and the rules on them refuse.
        short_margin_fraction: What a short binds beyond its value, as a share of it.
        short_equity_usd_min: Least equity of an account that sells short.
        cooldown_s: How long after a stop closed a position its bot may not open one in the symbol, venue time; a signal
            of a bar from before the stop never may.
        shortable_known: Refuse short sales of symbols of which the venue did not say that it lends them.
        collar_fraction_max: Farthest an order's price may lie from the last quote of its symbol.
        quote_age_ms_max: Oldest quote that a collar may rest on, in venue time.
        exit_attempts_max: How often an exit that came to nothing is asked for again, until a new signal or a resume.
        exit_wait_s_max: Longest wait between two of these attempts, venue time; it doubles from 2 s.
        bots: Narrower limits of single bots, by name.
        symbols: Narrower limits of single symbols, by name.
    """

    order_notional_usd_max: Decimal = Decimal(50_000)
    order_quantity_max: Usd = None
    position_fraction_max: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    symbol_exposure_usd_max: Usd = None
    bot_exposure_fraction_max: Share = 2.0
    gross_exposure_usd_max: Usd = None
    net_exposure_usd_max: Usd = None
    positions_max: Count = None
    bot_positions_max: Count = None
    open_orders_max: Count = 500
    orders_per_min_max: Count = 1_000
    bot_orders_per_min_max: Count = 200
    bot_orders_per_day_max: Count = 5_000
    repeats_max: Count = 20
    repeats_window_s: Annotated[int, msgspec.Meta(ge=1, le=10**8)] = 600
    daily_loss_usd_max: Usd = None
    bot_daily_loss_fraction_max: Share = 0.1
    drawdown_usd_max: Usd = None
    bot_drawdown_fraction_max: Share = 0.2
    price_move_fraction_max: Share = 0.3
    overnight_move_fraction_max: Share = 0.35
    opposite_sides: bool = False
    restricted_symbols: tuple[str, ...] = ()
    allowed_symbols: tuple[str, ...] = ()
    bar_age_ms_max: Millis = 120_000
    price_buffer_fraction: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.02
    intent_valid_ms: Millis = 120_000
    rounding_fraction_max: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    mark_age_ms_max: Millis = 1_800_000
    short_margin_fraction: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.5
    short_equity_usd_min: Usd = Decimal(2_000)
    cooldown_s: Annotated[int, msgspec.Meta(ge=0, le=10**8)] = 0
    shortable_known: bool = True
    collar_fraction_max: Share = None
    quote_age_ms_max: Millis = 10_000
    exit_attempts_max: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 50
    exit_wait_s_max: Annotated[int, msgspec.Meta(ge=2, le=10**8)] = 300

    bots: dict[str, BotLimits] = {}
    symbols: dict[str, SymbolLimits] = {}

    def __post_init__(self) -> None:
        """Refuse a limit that compares with nothing."""
        refuse_senseless(self)
