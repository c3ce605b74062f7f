"""The risk rules, each a small pure function of one `Proposal`; a refusal is a value.

A rule says whether it applies to an order that reduces |position|: by default no, save senseless numbers, trading
mode, price sanity, session and duplicate. Limits are judged against worst-case exposure including working
orders. Missing or senseless input trips a rule, it never disables one. docs/risk-controls.md lists them with their
sources (SEC 15c3-5, RTS 6 Art. 15, FIA) and settings.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.risk.numbers import number_sanity
from engine.risk.proposal import Activity, Proposal, Refusal
from engine.risk.rules_limits import (
    bot_daily_loss,
    bot_drawdown,
    bot_exposure,
    bot_orders_per_day,
    bot_orders_per_min,
    bot_positions,
    buying_power,
    daily_loss,
    drawdown,
    gross_exposure,
    net_exposure,
    open_orders,
    order_notional,
    order_quantity,
    orders_per_min,
    position_fraction,
    positions,
    repeats,
    reservation,
    symbol_exposure,
)
from engine.risk.rules_market import (
    allowed_symbols,
    blocked_symbol,
    collar,
    cooldown,
    duplicate,
    opposite_sides,
    price_band,
    price_move,
    price_sanity,
    restricted_symbols,
    session,
    shortable,
    stale_bar,
    symbol_status,
    trading_mode,
    wash_trade,
)

__all__ = ["LATCHES_ACCOUNT", "LATCHES_BOT", "RULES", "Activity", "Proposal", "Refusal", "judge", "reservation"]

Rule = Callable[[Proposal], Refusal | None]

# (rule, applies to orders that reduce |position|); order of judgement: cheap and general first.
RULES: tuple[tuple[Rule, bool], ...] = (
    (number_sanity, True),
    (trading_mode, True),
    (price_sanity, True),
    (allowed_symbols, False),
    (restricted_symbols, False),
    (blocked_symbol, False),
    (symbol_status, False),
    (price_band, False),
    (shortable, False),
    (wash_trade, False),
    (cooldown, False),
    (session, True),
    (duplicate, True),
    (stale_bar, False),
    (price_move, False),
    (collar, False),
    (opposite_sides, False),
    (order_notional, False),
    (order_quantity, False),
    (position_fraction, False),
    (symbol_exposure, False),
    (bot_exposure, False),
    (gross_exposure, False),
    (net_exposure, False),
    (positions, False),
    (bot_positions, False),
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
_OF_THE_VENUE: frozenset[Rule] = frozenset({restricted_symbols, shortable, buying_power})
"""Apply also to what reduces a bot's position and opens one at the venue, where bots may be on opposite sides."""
LATCHES_BOT = frozenset({"repeats_max", "bot_daily_loss_fraction_max", "bot_drawdown_fraction_max"})
LATCHES_ACCOUNT = frozenset({"daily_loss_usd_max", "drawdown_usd_max"})


def judge(p: Proposal) -> Refusal | None:
    """Give the first refusal, or None when every rule that applies lets the order pass."""
    reduces: bool | None = None
    for rule, on_reducing in RULES:
        if not on_reducing:
            if reduces is None:  # not before the first rule: a NaN compares with nothing
                reduces = p.reduces
            if reduces and not (rule in _OF_THE_VENUE and p.limits.opposite_sides and p.opens_at_venue):
                continue
        refusal = rule(p)
        if refusal is not None:
            return refusal
    return None
