"""The first risk checks, each a small pure function of one `Proposal`; a refusal is a value.

A rule says whether it applies to an order that reduces |position|: by default no, save trading mode, price sanity,
session and duplicate.
Limits are judged against worst-case exposure including working orders. Missing or senseless input trips a rule, it
never disables one. Sources: SEC 15c3-5, RTS 6 Art. 15 (max notional, thresholds linked to the account's fills).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from engine.bots import Bot, RiskLimits
from engine.messages import Signal
from engine.sessions import SessionTable
from engine.values import NS_PER_MS, AssetClass, TradingMode, asset_class_of, plain, to_decimal


class Proposal(msgspec.Struct, frozen=True):
    """Everything a rule may look at.

    Attributes:
        quantity: Signed quantity of the order.
        price: Reference price, exact.
        held: Signed quantity held by this bot.
        working: Signed quantity of its working orders.
        cash_free: Cash of the account less what is reserved.
        repeated: Id of an earlier signal with the same content, if any.
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


class Refusal(msgspec.Struct, frozen=True):
    """Why not: what was compared, as text."""

    rule: str
    reason: str
    limit: str
    observed: str


def trading_mode(p: Proposal) -> Refusal | None:
    """Refuse everything while halted, and what does not reduce the position while reducing."""
    if p.mode is TradingMode.ACTIVE or (p.mode is TradingMode.REDUCING and p.reduces):
        return None
    return Refusal(
        "trading_mode", f"trading is {p.mode.value}: {p.mode_reason}", TradingMode.ACTIVE.value, p.mode.value
    )


def price_sanity(p: Proposal) -> Refusal | None:
    """Refuse a reference price that is not positive."""
    if p.price > 0:
        return None
    return Refusal("price_sanity", "the reference price must be > 0", "0", plain(p.price))


def session(p: Proposal) -> Refusal | None:
    """Refuse outside the regular session of the venue's calendar, as judged at the decision."""
    asset_class = asset_class_of(p.signal.symbol)
    if p.bot.session == "any" or asset_class is AssetClass.CRYPTO or p.sessions.is_open(asset_class, p.now_ns):
        return None
    return Refusal("session", "the regular session is closed or unknown", "open", str(p.now_ns))


def stale_bar(p: Proposal) -> Refusal | None:
    """Refuse a decision that rests on an old bar, or on one from the future."""
    age_ms = (p.now_ns - p.signal.ts_event) // NS_PER_MS
    if 0 <= age_ms <= p.limits.bar_age_ms_max:
        return None
    return Refusal("bar_age_ms_max", "the bar behind the signal is too old", str(p.limits.bar_age_ms_max), str(age_ms))


def duplicate(p: Proposal) -> Refusal | None:
    """Refuse a second signal with the same content under another id."""
    if not p.repeated:
        return None
    reason = "another signal of this bot, symbol and bar was already answered"
    return Refusal("duplicate", reason, p.repeated, p.signal.id)


def order_notional(p: Proposal) -> Refusal | None:
    """Refuse an order above the largest notional."""
    limit = p.limits.order_notional_usd_max
    if p.notional <= limit:
        return None
    return Refusal("order_notional_usd_max", "the order is too large", plain(limit), plain(p.notional))


def position_fraction(p: Proposal) -> Refusal | None:
    """Refuse a position, working orders counted, above its share of the bot's capital."""
    limit = p.bot.capital * to_decimal(p.limits.position_fraction_max)
    after = abs(p.held + p.working + p.quantity) * p.price
    if after <= limit:
        return None
    return Refusal("position_fraction_max", "the position would be too large", plain(limit), plain(after))


def buying_power(p: Proposal) -> Refusal | None:
    """Refuse what free cash (reservations taken off) does not cover, price buffer included; shorts need it too."""
    need = reservation(p)
    if need <= p.cash_free:
        return None
    return Refusal("buying_power", "free cash does not cover the order", plain(p.cash_free), plain(need))


def reservation(p: Proposal) -> Decimal:
    """Cash to hold for the order: notional with the price buffer; 0 when it reduces the position."""
    if p.reduces:
        return Decimal(0)
    held = p.notional * (1 + to_decimal(p.limits.price_buffer_fraction))
    return held.quantize(Decimal("0.000000001"))


# (rule, applies to orders that reduce |position|); order of judgement: cheap and general first.
RULES: tuple[tuple[Callable[[Proposal], Refusal | None], bool], ...] = (
    (trading_mode, True),
    (price_sanity, True),
    (session, True),
    (duplicate, True),
    (stale_bar, False),
    (order_notional, False),
    (position_fraction, False),
    (buying_power, False),
)


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
