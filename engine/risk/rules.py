"""The risk rules, each a small pure function of one `Proposal`; a refusal is a value.

A rule says whether it applies to an order that reduces |position|: by default no, save trading mode, price sanity,
session and duplicate. Limits are judged against worst-case exposure including working
orders. Missing or senseless input trips a rule, it never disables one. docs/risk-controls.md lists them with their
sources (SEC 15c3-5, RTS 6 Art. 15, FIA) and settings.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

import msgspec

from engine.bots import Bot, RiskLimits
from engine.messages import Signal
from engine.risk.exposure import Sums
from engine.sessions import SessionTable
from engine.values import NS_PER_MS, ZERO, AssetClass, TradingMode, asset_class_of, plain, to_decimal


class Activity(msgspec.Struct, frozen=True):
    """How much a bot and the account have done. Orders are approved ones, in venue time.

    Attributes:
        account_minute: Orders of the account in the minute before the decision.
        bot_minute: The same of the bot.
        bot_day: Orders of the bot in this trading day.
        same_side: Orders of this bot, symbol and side within the window.
        open_orders: Orders of the account that work now.
        account_loss: Loss since the trading day began, USD, negative for a gain.
        bot_loss: The same of the bot.
        account_drawdown: Fall of P&L from its peak, USD.
        bot_drawdown: The same of the bot.
    """

    account_minute: int = 0
    bot_minute: int = 0
    bot_day: int = 0
    same_side: int = 0
    open_orders: int = 0
    account_loss: Decimal = ZERO
    bot_loss: Decimal = ZERO
    account_drawdown: Decimal = ZERO
    bot_drawdown: Decimal = ZERO


class Proposal(msgspec.Struct, frozen=True):
    """Everything a rule may look at.

    Attributes:
        quantity: Signed quantity of the order.
        price: Reference price, exact.
        held: Signed quantity held by this bot.
        working: Signed quantity of its working orders.
        cash_free: Cash of the account less what is reserved.
        repeated: Id of an earlier signal with the same content, if any.
        last_price: Reference price known before this signal, if any.
        others: Signed quantities other bots hold or expect in this symbol.
        symbol_gross: Worst-case exposure of the account in this symbol before the order, USD.
    """

    bot: Bot
    signal: Signal
    quantity: Decimal
    price: Decimal
    held: Decimal
    working: Decimal
    cash_free: Decimal
    repeated: str
    now_ns: int
    sessions: SessionTable
    limits: RiskLimits
    mode: TradingMode = TradingMode.ACTIVE
    mode_reason: str = ""
    last_price: Decimal | None = None
    others: tuple[Decimal, ...] = ()
    symbol_gross: Decimal = ZERO
    account: Sums = msgspec.field(default_factory=Sums)
    of_bot: Sums = msgspec.field(default_factory=Sums)
    activity: Activity = Activity()

    @property
    def reduces(self) -> bool:
        """Whether the order makes |held + working| smaller without crossing zero."""
        before = self.held + self.working
        after = before + self.quantity
        return abs(after) < abs(before) and (after == 0 or (after > 0) == (before > 0))

    @property
    def notional(self) -> Decimal:
        """|quantity| x reference price, USD."""
        return abs(self.quantity) * self.price

    @property
    def more_gross(self) -> Decimal:
        """What the order adds to worst-case exposure, USD."""
        before = max(abs(self.held), abs(self.held + self.working))
        return max(abs(self.held), abs(self.held + self.working + self.quantity)) * self.price - before * self.price


class Refusal(msgspec.Struct, frozen=True):
    """Why not: what was compared, as text."""

    rule: str
    reason: str
    limit: str
    observed: str


Rule = Callable[[Proposal], Refusal | None]
_exact = lru_cache(256)(to_decimal)  # limits are few


def _above(rule: str, reason: str, limit: Decimal | float | None, observed: Decimal | None) -> Refusal | None:
    """Refuse what is above its limit; None as limit is a rule switched off, as observed an unknown that trips it."""
    if limit is None:
        return None
    exact = limit if isinstance(limit, Decimal) else _exact(limit)
    if observed is None:
        return Refusal(rule, f"{reason}: it is not known", plain(exact), "unknown")
    return None if observed <= exact else Refusal(rule, reason, plain(exact), plain(observed))


def _known(value: Decimal, sums: Sums) -> Decimal | None:
    return None if sums.unknown else value


def _share(fraction: float | None, capital: Decimal) -> Decimal | None:
    return None if fraction is None else capital * _exact(fraction)


# --- may it be traded at all -----------------------------------------------------------------------------------------


def trading_mode(p: Proposal) -> Refusal | None:
    """Refuse everything while halted, and what does not reduce the position while reducing."""
    if p.mode is TradingMode.ACTIVE or (p.mode is TradingMode.REDUCING and p.reduces):
        return None
    reason = f"trading is {p.mode.value}: {p.mode_reason}"
    return Refusal("trading_mode", reason, TradingMode.ACTIVE.value, p.mode.value)


def price_sanity(p: Proposal) -> Refusal | None:
    """Refuse a reference price that is not positive."""
    if p.price > 0:
        return None
    return Refusal("price_sanity", "the reference price must be > 0", "0", plain(p.price))


def allowed_symbols(p: Proposal) -> Refusal | None:
    """Refuse a symbol that is not on the list of allowed ones, where there is one."""
    if not p.limits.allowed_symbols or p.signal.symbol in p.limits.allowed_symbols:
        return None
    limit = ",".join(p.limits.allowed_symbols)
    return Refusal("allowed_symbols", "the symbol is not on the list", limit, p.signal.symbol)


def restricted_symbols(p: Proposal) -> Refusal | None:
    """Refuse a symbol on the restricted list."""
    if p.signal.symbol not in p.limits.restricted_symbols:
        return None
    limit = ",".join(p.limits.restricted_symbols)
    return Refusal("restricted_symbols", "the symbol is restricted", limit, p.signal.symbol)


def session(p: Proposal) -> Refusal | None:
    """Refuse outside the regular session of the venue's calendar, as judged at the decision."""
    asset_class = asset_class_of(p.signal.symbol)
    if p.bot.session == "any" or asset_class is AssetClass.CRYPTO or p.sessions.is_open(asset_class, p.now_ns):
        return None
    return Refusal("session", "the regular session is closed or unknown", "open", str(p.now_ns))


def duplicate(p: Proposal) -> Refusal | None:
    """Refuse a second signal with the same content under another id."""
    if not p.repeated:
        return None
    reason = "another signal of this bot, symbol and bar was already answered"
    return Refusal("duplicate", reason, p.repeated, p.signal.id)


# --- what it rests on ------------------------------------------------------------------------------------------------


def stale_bar(p: Proposal) -> Refusal | None:
    """Refuse a decision that rests on an old bar, or on one from the future."""
    age_ms = (p.now_ns - p.signal.ts_event) // NS_PER_MS
    if 0 <= age_ms <= p.limits.bar_age_ms_max:
        return None
    return Refusal("bar_age_ms_max", "the bar behind the signal is too old", str(p.limits.bar_age_ms_max), str(age_ms))


def price_move(p: Proposal) -> Refusal | None:
    """Refuse a price that is far from the last one known: a bad print, or a split nobody told us of."""
    if p.last_price is None:
        return None  # the first price of a symbol is its own reference: its bar is fresh
    move = abs(p.price - p.last_price) / p.last_price
    return _above("price_move_fraction_max", "the price jumped", p.limits.price_move_fraction_max, move)


def opposite_sides(p: Proposal) -> Refusal | None:
    """Refuse to be long where another bot is short, or the other way round: at the venue they are one position."""
    after = p.held + p.working + p.quantity
    against = [other for other in p.others if other * after < 0]
    if p.limits.opposite_sides or not against:
        return None
    return Refusal("opposite_sides", "another bot is on the other side", "none", plain(sum(against, ZERO)))


# --- how much --------------------------------------------------------------------------------------------------------


def order_notional(p: Proposal) -> Refusal | None:
    """Refuse an order above the largest notional."""
    return _above("order_notional_usd_max", "the order is too large", p.limits.order_notional_usd_max, p.notional)


def order_quantity(p: Proposal) -> Refusal | None:
    """Refuse an order above the largest quantity."""
    return _above("order_quantity_max", "the order is too large", p.limits.order_quantity_max, abs(p.quantity))


def position_fraction(p: Proposal) -> Refusal | None:
    """Refuse a position, working orders counted, above its share of the bot's capital."""
    limit = _share(p.limits.position_fraction_max, p.bot.capital)
    after = abs(p.held + p.working + p.quantity) * p.price
    return _above("position_fraction_max", "the position would be too large", limit, after)


def symbol_exposure(p: Proposal) -> Refusal | None:
    """Refuse too much in one symbol over all bots."""
    after = p.symbol_gross + p.more_gross
    return _above(
        "symbol_exposure_usd_max", "all bots together would hold too much", p.limits.symbol_exposure_usd_max, after
    )


def bot_exposure(p: Proposal) -> Refusal | None:
    """Refuse too much of a bot over all symbols."""
    limit = _share(p.limits.bot_exposure_fraction_max, p.bot.capital)
    after = _known(p.of_bot.gross + p.more_gross, p.of_bot)
    return _above("bot_exposure_fraction_max", "the bot's exposure would be too large", limit, after)


def gross_exposure(p: Proposal) -> Refusal | None:
    """Refuse too much of the account, long and short added."""
    after = _known(p.account.gross + p.more_gross, p.account)
    return _above(
        "gross_exposure_usd_max", "the account's exposure would be too large", p.limits.gross_exposure_usd_max, after
    )


def net_exposure(p: Proposal) -> Refusal | None:
    """Refuse too much of the account, short taken from long."""
    after = _known(abs(p.account.net + p.quantity * p.price), p.account)
    return _above(
        "net_exposure_usd_max", "the account's net exposure would be too large", p.limits.net_exposure_usd_max, after
    )


def positions(p: Proposal) -> Refusal | None:
    """Refuse one symbol too many."""
    is_new = p.held == 0 and p.working == 0
    return _above(
        "positions_max", "too many open positions", p.limits.positions_max, Decimal(p.account.open_symbols + is_new)
    )


def buying_power(p: Proposal) -> Refusal | None:
    """Refuse what free cash (reservations taken off) does not cover, price buffer included; shorts need it too."""
    return _above("buying_power", "free cash does not cover the order", p.cash_free, reservation(p))


# --- how often, and how it went --------------------------------------------------------------------------------------


def open_orders(p: Proposal) -> Refusal | None:
    """Refuse one working order too many."""
    return _above(
        "open_orders_max", "too many orders work", p.limits.open_orders_max, Decimal(p.activity.open_orders + 1)
    )


def orders_per_min(p: Proposal) -> Refusal | None:
    """Refuse one order of the account too many in a minute."""
    count = Decimal(p.activity.account_minute + 1)
    return _above("orders_per_min_max", "too many orders in a minute", p.limits.orders_per_min_max, count)


def bot_orders_per_min(p: Proposal) -> Refusal | None:
    """Refuse one order of the bot too many in a minute."""
    count = Decimal(p.activity.bot_minute + 1)
    return _above("bot_orders_per_min_max", "too many orders in a minute", p.limits.bot_orders_per_min_max, count)


def bot_orders_per_day(p: Proposal) -> Refusal | None:
    """Refuse one order of the bot too many in a trading day."""
    count = Decimal(p.activity.bot_day + 1)
    return _above("bot_orders_per_day_max", "too many orders in a day", p.limits.bot_orders_per_day_max, count)


def repeats(p: Proposal) -> Refusal | None:
    """Refuse, and latch the bot, when it repeats itself (RTS 6 Art. 15(3)): a person must re-enable it."""
    count = Decimal(p.activity.same_side + 1)
    return _above("repeats_max", "the bot repeats one side of one symbol", p.limits.repeats_max, count)


def daily_loss(p: Proposal) -> Refusal | None:
    """Refuse, and latch the account, after too large a loss in a day."""
    loss = _known(p.activity.account_loss, p.account)
    return _above("daily_loss_usd_max", "the account lost too much today", p.limits.daily_loss_usd_max, loss)


def bot_daily_loss(p: Proposal) -> Refusal | None:
    """Refuse, and latch the bot, after too large a loss in a day."""
    limit = _share(p.limits.bot_daily_loss_fraction_max, p.bot.capital)
    loss = _known(p.activity.bot_loss, p.of_bot)
    return _above("bot_daily_loss_fraction_max", "the bot lost too much today", limit, loss)


def drawdown(p: Proposal) -> Refusal | None:
    """Refuse, and latch the account, after too deep a fall from its best."""
    fall = _known(p.activity.account_drawdown, p.account)
    return _above("drawdown_usd_max", "the account fell too far from its peak", p.limits.drawdown_usd_max, fall)


def bot_drawdown(p: Proposal) -> Refusal | None:
    """Refuse, and latch the bot, after too deep a fall from its best."""
    limit = _share(p.limits.bot_drawdown_fraction_max, p.bot.capital)
    fall = _known(p.activity.bot_drawdown, p.of_bot)
    return _above("bot_drawdown_fraction_max", "the bot fell too far from its peak", limit, fall)


def reservation(p: Proposal) -> Decimal:
    """Cash to hold for the order: notional with the price buffer; 0 when it reduces the position."""
    if p.reduces:
        return Decimal(0)
    held = p.notional * (1 + _exact(p.limits.price_buffer_fraction))
    return held.quantize(Decimal("0.000000001"))


# (rule, applies to orders that reduce |position|); order of judgement: cheap and general first.
RULES: tuple[tuple[Rule, bool], ...] = (
    (trading_mode, True),
    (price_sanity, True),
    (allowed_symbols, False),
    (restricted_symbols, False),
    (session, True),
    (duplicate, True),
    (stale_bar, False),
    (price_move, False),
    (opposite_sides, False),
    (order_notional, False),
    (order_quantity, False),
    (position_fraction, False),
    (symbol_exposure, False),
    (bot_exposure, False),
    (gross_exposure, False),
    (net_exposure, False),
    (positions, False),
    (open_orders, False),
    (orders_per_min, False),
    (bot_orders_per_min, False),
    (bot_orders_per_day, False),
    (repeats, False),
    (daily_loss, False),
    (bot_daily_loss, False),
    (drawdown, False),
    (bot_drawdown, False),
    (buying_power, False),
)
LATCHES_BOT = frozenset({"repeats_max", "bot_daily_loss_fraction_max", "bot_drawdown_fraction_max"})
LATCHES_ACCOUNT = frozenset({"daily_loss_usd_max", "drawdown_usd_max"})


def judge(p: Proposal) -> Refusal | None:
    """Give the first refusal, or None when every rule that applies lets the order pass."""
    reduces = p.reduces
    for rule, on_reducing in RULES:
        if reduces and not on_reducing:
            continue
        refusal = rule(p)
        if refusal is not None:
            return refusal
    return None
