"""Steps of quantity and price of coin pairs, as the venue lists them; other pairs have the finest ones.

Source: an asset as Alpaca's documentation of `GET /v2/assets` shows it.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.values import CRYPTO_LOT, CRYPTO_TICK


class Steps(msgspec.Struct, frozen=True):
    """`min_order_size`, `min_trade_increment` and `price_increment` of an asset."""

    qty_min: Decimal = CRYPTO_LOT
    qty_step: Decimal = CRYPTO_LOT
    price_step: Decimal = CRYPTO_TICK


_FINEST = Steps()
_STEPS = {"BTC/USD": Steps(Decimal("0.000016"), CRYPTO_LOT, Decimal(1))}


def steps_of(symbol: str) -> Steps:
    """Give the steps of a coin pair."""
    return _STEPS.get(symbol, _FINEST)
