"""From a target to a quantity: share of the bot's capital at a price, minus what is held and what is working.

Called by engine.risk. Never looks at limits.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from functools import lru_cache

from engine.bots import Bot
from engine.messages import Signal
from engine.values import CRYPTO_LOT, ONE, ZERO, AssetClass, asset_class_of, price_tick, to_decimal

_exact = lru_cache(256)(to_decimal)  # fractions and strengths are few


def lot_of(symbol: str) -> Decimal:
    """Smallest step of a quantity: whole shares, 1e-9 coins."""
    return CRYPTO_LOT if asset_class_of(symbol) is AssetClass.CRYPTO else ONE


def reference_price(signal: Signal) -> Decimal:
    """Price of the signal's bar as an exact number on the venue's tick."""
    return _on_tick(signal.symbol, signal.price)


@lru_cache(64)
def _on_tick(symbol: str, price: float) -> Decimal:
    """Asked for a few times in one decision. Ticks are powers of ten, so digits are all there is to round."""
    exact = to_decimal(price)
    return exact.quantize(price_tick(symbol, exact), ROUND_HALF_EVEN)


def target_quantity(bot: Bot, signal: Signal, price: Decimal) -> Decimal:
    """Signed quantity to hold: direction x strength x position_fraction x capital / price, rounded toward zero."""
    sign = signal.direction.sign
    if sign == 0 or price <= 0:
        return ZERO
    notional = bot.capital * _exact(bot.position_fraction) * _exact(signal.strength)
    return sign * (notional / price).quantize(lot_of(signal.symbol), ROUND_DOWN)


def order_quantity(target: Decimal, held: Decimal, working: Decimal) -> tuple[Decimal, bool]:
    """Signed quantity to trade now, and whether a second order must follow.

    An order never crosses zero (the venue does not split it): from +10 to -5 goes by -10 first, then -5.
    """
    expected = held + working
    delta = target - expected
    if expected != 0 and target != 0 and (expected > 0) != (target > 0):
        return -expected, True
    return delta, False
