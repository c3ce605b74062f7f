"""What the venue's list says of a symbol, as a message. Pure; called by streams/executing and tapeline.backtesting."""

from __future__ import annotations

from engine.messages import SymbolStatus
from engine.ports import VenueAsset

LISTED = "assets"
"""Source of such a status."""


def status_of(symbol: str, asset: VenueAsset | None, now_ns: int) -> SymbolStatus:
    """Give the status of a symbol; None: the venue does not know it."""
    if asset is None:
        reason = "the venue does not know it"
        return SymbolStatus(
            symbol, LISTED, reason, now_ns, is_tradable=False, is_shortable=False, is_fractionable=False
        )
    return SymbolStatus(
        symbol,
        LISTED,
        "as the venue lists it",
        now_ns,
        is_tradable=asset.is_tradable,
        is_shortable=asset.is_shortable,
        is_fractionable=asset.is_fractionable,
        qty_min=asset.qty_min,
        qty_step=asset.qty_step,
        price_step=asset.price_step,
    )
