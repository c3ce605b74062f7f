"""What the risk rules look at, what they answer, and how they compare. Called by rules and proposing."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import msgspec

from engine.bots import Bot, RiskLimits
from engine.messages import Mark, Signal, SymbolStatus, VenueFunds
from engine.ordering import Terms
from engine.risk.exposure import Sums
from engine.sessions import SessionTable
from engine.values import ZERO, OrderType, TimeInForce, TradingMode, plain, to_decimal

UNKNOWN = "unknown"
"""What is observed where a number is missing."""


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
        cash_free: Cash of the account less what is reserved and what shorts bind.
        repeated: Id of an earlier signal with the same content, if any.
        last_price: Reference price known before this signal, if any.
        others: Signed quantities other bots hold or expect in this symbol.
        others_held: What they all hold, signed.
        symbol_gross: Worst-case exposure of the account in this symbol before the order, USD.
        terms: Type, life and prices of the order.
        quote: Last trade and quote that feed saw, of symbols that it follows.
        statuses: What the venue and the exchanges said of the symbol.
        crossing: Id of an order of another owner that waits on the other side, if any.
        stopped_ns: When a guard closed this bot's position in the symbol last; 0 for never.
        blocked: Why the symbol is blocked; empty if it is not.
        venue_gap: By how much the venue's buying power was below cash_free when it was looked at, at most 0.
        funds: What the venue said last of what may be spent.
        equity: What the account is worth by the ledger; None while a price is missing.
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
    others_held: Decimal = ZERO
    symbol_gross: Decimal = ZERO
    account: Sums = msgspec.field(default_factory=Sums)
    of_bot: Sums = msgspec.field(default_factory=Sums)
    activity: Activity = Activity()
    terms: Terms = Terms(OrderType.MARKET, TimeInForce.DAY)
    quote: Mark | None = None
    statuses: tuple[SymbolStatus, ...] = ()
    crossing: str = ""
    stopped_ns: int = 0
    blocked: str = ""
    venue_gap: Decimal = ZERO
    funds: VenueFunds | None = None
    equity: Decimal | None = None

    @property
    def reduces(self) -> bool:
        """Whether the order makes |held + working| smaller without crossing zero."""
        before = self.held + self.working
        after = before + self.quantity
        return abs(after) < abs(before) and (after == 0 or (after > 0) == (before > 0))

    @property
    def venue_after(self) -> Decimal:
        """What the account holds of the symbol after the order, other working orders left out."""
        return self.held + self.others_held + self.quantity

    @property
    def opens_at_venue(self) -> bool:
        """Whether the account's position becomes larger or turns, though the bot's may become smaller."""
        before, after = self.venue_after - self.quantity, self.venue_after
        return before * after < 0 or abs(after) > abs(before)

    @property
    def notional(self) -> Decimal:
        """|quantity| x the price it may cost, USD."""
        return abs(self.quantity) * self.worst_price

    @property
    def worst_price(self) -> Decimal:
        """The reference price or, of an order that names a higher one, that."""
        named = (self.terms.limit_px, self.terms.stop_px)
        return max([self.price, *(px for px in named if px is not None)])

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


exact = lru_cache(256)(to_decimal)  # limits are few


def above(rule: str, reason: str, limit: Decimal | float | None, observed: Decimal | None) -> Refusal | None:
    """Refuse what is above its limit; None as limit is a rule switched off, as observed an unknown that trips it."""
    if limit is None:
        return None
    bound = limit if isinstance(limit, Decimal) else exact(limit)
    if observed is None:
        return Refusal(rule, f"{reason}: it is not known", plain(bound), UNKNOWN)
    return None if observed <= bound else Refusal(rule, reason, plain(bound), plain(observed))


def known(value: Decimal, sums: Sums) -> Decimal | None:
    """Give a sum, or None while a price that belongs in it is missing."""
    return None if sums.unknown else value


def share(fraction: float | None, capital: Decimal) -> Decimal | None:
    """Give a share of the capital, USD; None for a limit that is off."""
    return None if fraction is None else capital * exact(fraction)
