"""From a target to a quantity: share of the bot's capital at a price, minus what is held and what is working.

Called by engine.risk. Never looks at limits.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from engine.bots import Bot
from engine.ids import bar_close_ns
from engine.messages import Signal
from engine.ordering import lot_of
from engine.values import PRICE_MAX, ZERO, price_tick, round_to, to_decimal


def reference_price(signal: Signal) -> Decimal:
    """Price of the signal's bar as an exact number on the venue's tick; 0 for one that is no price."""
    if not 0 < signal.price < PRICE_MAX:  # NaN too: it compares with nothing
        return ZERO
    exact = to_decimal(signal.price)
    return round_to(exact, price_tick(signal.symbol, exact))


def priced_ns(signal: Signal) -> int:
    """Give the time of a signal's price, ns UTC: its bar's close, which is before it where it came without a bar."""
    closed = bar_close_ns(signal.bar)
    return signal.ts_event if closed is None else min(closed, signal.ts_event)


def target_quantity(bot: Bot, signal: Signal, price: Decimal) -> Decimal:
    """Signed quantity to hold: direction x strength x position_fraction x capital / price, rounded toward zero."""
    if signal.direction.sign == 0 or price <= 0:
        return Decimal(0)
    notional = bot.capital * to_decimal(bot.position_fraction) * to_decimal(signal.strength)
    return signal.direction.sign * round_to(
        notional / price, lot_of(signal.symbol, bot.order, signal.direction.sign), ROUND_DOWN
    )


def order_quantity(target: Decimal, held: Decimal, working: Decimal) -> tuple[Decimal, bool]:
    """Signed quantity to trade now, and whether a second order must follow.

    An order never crosses zero (the venue does not split it): from +10 to -5 goes by -10 first, then -5.
    """
    expected = held + working
    delta = target - expected
    if expected != 0 and target != 0 and (expected > 0) != (target > 0):
        return -expected, True
    return delta, False
