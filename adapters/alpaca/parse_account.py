"""Raw Alpaca account, positions and calendar days to engine values: pure, and it never raises.

Called by `reading`. Forms: Alpaca's documentation of each endpoint.
"""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from adapters.alpaca.fields import (
    EXCHANGE_ZONE,
    Unreadable,
    canonical_symbol,
    decimal_at,
    decimal_or_none,
    guarded,
    mapping_of,
    optional_text,
    short,
    text_at,
)
from engine.ports import VenueAccount
from engine.values import NS_PER_S


@guarded
def parse_account(account: Any, positions: Any) -> VenueAccount:
    """Put the answers of `/account` and `/positions` together."""
    fields = mapping_of(account, "an account")
    if not isinstance(positions, list):
        msg = f"positions must be a list, was {short(positions)}"
        raise Unreadable(msg)
    held: dict[str, Decimal] = {}
    prices: dict[str, Decimal] = {}
    for raw in positions:  # pyright: ignore[reportUnknownVariableType]
        position = mapping_of(raw, "a position")
        symbol = canonical_symbol(text_at(position, "symbol"), optional_text(position, "asset_class"))
        quantity = decimal_at(position, "qty")
        # Alpaca signs a short's qty; a server that only sets `side` means the same.
        is_short = optional_text(position, "side") == "short"
        if quantity:
            held[symbol] = -abs(quantity) if is_short else quantity
            price = decimal_or_none(position.get("current_price")) or decimal_or_none(position.get("avg_entry_price"))
            if price is not None and price > 0:
                prices[symbol] = price
    cash = decimal_at(fields, "cash")
    equity = decimal_or_none(fields.get("equity"))
    return VenueAccount(
        account_number=text_at(fields, "account_number"),
        cash=cash,
        equity=cash if equity is None else equity,
        buying_power=decimal_at(fields, "buying_power"),
        positions=held,
        prices=prices,
        is_shorting_enabled=fields.get("shorting_enabled") is True,
    )


@guarded
def parse_session(raw: Any) -> tuple[int, int]:
    """Read one day of the calendar: regular open and close, written in New York's time, as ns UTC."""
    fields = mapping_of(raw, "a calendar day")
    day = date.fromisoformat(text_at(fields, "date"))
    opened, closed = (
        int(datetime.combine(day, time.fromisoformat(text_at(fields, key)), EXCHANGE_ZONE).timestamp()) * NS_PER_S
        for key in ("open", "close")
    )
    if closed <= opened:
        msg = f"session of {day} must close after it opens, was {fields.get('open')} to {fields.get('close')}"
        raise Unreadable(msg)
    return opened, closed
