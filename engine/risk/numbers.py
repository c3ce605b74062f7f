"""Numbers that are none: what a signal or a proposal rests on must be finite before anything is computed from it.

A NaN compares with nothing, so it would raise in one rule and pass the next; here it is a refusal like any other.
Called by engine.risk.core for signals and by rules.judge, first of all rules, for proposals.
"""

from __future__ import annotations

import math
from decimal import Decimal

from engine.messages import Signal
from engine.risk.proposal import Proposal, Refusal
from engine.values import PRICE_MAX, Direction

_is_finite = Decimal.is_finite
_OWN = ("quantity", "price", "held", "working")
_TERMS = ("limit_px", "stop_px", "trail_percent", "notional", "take_profit_px", "stop_loss_px")


def senseless(signal: Signal) -> Refusal | None:
    """Refuse a signal whose price or strength is no number, or out of its range; an exit needs no strength."""
    if not (math.isfinite(signal.price) and 0 < signal.price < PRICE_MAX):
        limit = f"above 0, below {PRICE_MAX}"
        return Refusal("price_sanity", "the reference price must be a number > 0", limit, repr(signal.price))
    if signal.direction is Direction.FLAT or (math.isfinite(signal.strength) and 0 <= signal.strength <= 1):
        return None
    return Refusal("number_sanity", "strength must be a number from 0 to 1", "0 to 1", repr(signal.strength))


def number_sanity(p: Proposal) -> Refusal | None:
    """Refuse what rests on a NaN or an infinite number; an exit only where the number is the order's own."""
    own = [getattr(p, name) for name in _OWN]
    own += [px for name in _TERMS if (px := getattr(p.terms, name)) is not None]
    if all(map(_is_finite, own)) and (p.reduces or all(map(_is_finite, (value for _, value in _around(p))))):
        return None
    terms = ((name, getattr(p.terms, name)) for name in _TERMS)
    for name, value in (*((name, getattr(p, name)) for name in _OWN), *terms, *_around(p)):
        if value is not None and not _is_finite(value):
            return Refusal("number_sanity", f"{name} must be a finite number", "finite", str(value))
    return None


def _around(p: Proposal) -> list[tuple[str, Decimal]]:
    """Give the numbers that only an order that adds rests on, where they are known."""
    a, b, c, quote = p.account, p.of_bot, p.activity, p.quote
    found: list[tuple[str, Decimal | None]] = [
        ("cash_free", p.cash_free), ("capital", p.bot.capital), ("last_price", p.last_price),
        ("symbol_gross", p.symbol_gross), ("account.gross", a.gross), ("account.net", a.net), ("account.pnl", a.pnl),
        ("of_bot.gross", b.gross), ("of_bot.pnl", b.pnl), ("account_loss", c.account_loss), ("bot_loss", c.bot_loss),
        ("equity", p.equity), ("venue_gap", p.venue_gap), ("account_drawdown", c.account_drawdown),
        ("bot_drawdown", c.bot_drawdown),
    ]  # fmt: skip
    if p.funds is not None:
        found += [("funds.equity", p.funds.equity), ("funds.buying_power", p.funds.buying_power)]
    found += [("others", other) for other in p.others]
    if quote is not None:
        found += [("quote.last_px", quote.last_px), ("quote.bid_px", quote.bid_px), ("quote.ask_px", quote.ask_px)]
    for status in p.statuses:
        found += [(f"{status.source}.low_px", status.low_px), (f"{status.source}.high_px", status.high_px)]
    return [(name, value) for name, value in found if value is not None]
