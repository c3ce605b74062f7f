"""What the account is worth and what it may still spend: a documented simplification of Regulation T.

    equity            = cash + sum(quantity * last price)
    initial margin    = sum |stock value| / multiplier + sum crypto value
    excess            = equity - initial margin - reservations / multiplier (stocks) - reservations (crypto)
    buying_power      = max(0, multiplier * excess)
    non-marginable    = max(0, min(excess, cash - value of shorts - all reservations))      pays for crypto

A reservation is leaves * price of an open order that opens or adds to a position. Maintenance calls, SMA, interest and
the 600 % rule are not modelled. Pure; called by the book.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from adapters.exchange.ledger import Ledger
from engine.values import ZERO, AssetClass, asset_class_of


class Valuation(msgspec.Struct, frozen=True):
    """Positions at last prices, USD; the reservations come on top at each question."""

    long_value: Decimal
    short_value: Decimal
    """Negative."""
    crypto_value: Decimal
    equity: Decimal


class Means(msgspec.Struct, frozen=True):
    """What may be spent now, USD."""

    buying_power: Decimal
    non_marginable: Decimal
    initial_margin: Decimal


def value(ledger: Ledger, price_of: Callable[[str], Decimal | None]) -> Valuation:
    """Value every position at its last price (at its average entry price where the market has none yet)."""
    long_value = short_value = crypto_value = ZERO
    for position in ledger.positions.values():
        price = price_of(position.symbol)
        worth = position.qty * (price if price is not None else position.avg_px)
        if asset_class_of(position.symbol) is AssetClass.CRYPTO:
            crypto_value += worth
        elif worth >= 0:
            long_value += worth
        else:
            short_value += worth
    equity = ledger.cash + long_value + short_value + crypto_value
    return Valuation(long_value, short_value, crypto_value, equity)


def means(
    valuation: Valuation, cash: Decimal, multiplier: int, reserved_stock: Decimal, reserved_crypto: Decimal
) -> Means:
    """What is left to spend beside positions and reservations."""
    initial = (valuation.long_value - valuation.short_value) / multiplier + valuation.crypto_value
    excess = valuation.equity - initial - reserved_stock / multiplier - reserved_crypto
    free_cash = cash + valuation.short_value - reserved_stock - reserved_crypto
    return Means(max(ZERO, multiplier * excess), max(ZERO, min(excess, free_cash)), initial)
