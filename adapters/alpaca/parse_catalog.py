"""Raw Alpaca assets and corporate actions to engine values: pure, tolerant, and it never raises.

A split's price change and its new number of shares both count from the ex-date; the payable date of a forward split
lies a trading day before. Called by `catalog`. Forms: Alpaca's documentation (assets; market data, corporate actions).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from adapters.alpaca.fields import (
    Problem,
    Unreadable,
    canonical_symbol,
    day_start,
    decimal_at,
    decimal_or_none,
    guarded,
    lenient,
    listed,
    mapping_of,
    optional_text,
    short,
    text_at,
)
from engine.ports import VenueAsset, VenueSplit


@guarded
def parse_asset(raw: Any) -> VenueAsset:
    """Read an asset. `borrow_status` took the place of `easy_to_borrow` at Alpaca in 2026: either will do."""
    fields = mapping_of(raw, "an asset")
    borrowable = optional_text(fields, "borrow_status") == "easy_to_borrow" or fields.get("easy_to_borrow") is True
    return VenueAsset(
        symbol=canonical_symbol(text_at(fields, "symbol"), optional_text(fields, "class", "asset_class")),
        is_tradable=fields.get("tradable") is True and optional_text(fields, "status") in ("", "active"),
        is_shortable=fields.get("shortable") is True and borrowable,
        is_fractionable=fields.get("fractionable") is True,
        qty_min=_step(fields, "min_order_size"),
        qty_step=_step(fields, "min_trade_increment"),
        price_step=_step(fields, "price_increment"),
    )


def _step(fields: dict[str, Any], key: str) -> Decimal | None:
    number = decimal_or_none(fields.get(key))
    return number if number is not None and number > 0 else None


_KINDS = ("forward_splits", "reverse_splits", "stock_dividends", "name_changes")


def parse_splits(raw: Any) -> list[VenueSplit | Problem]:
    """Read the groups of one page of corporate actions; a kind that is no split is left out."""
    groups = lenient(raw)
    return [_parse_split(kind, entry) for kind in _KINDS for entry in listed(groups.get(kind))]


@guarded
def _parse_split(kind: str, raw: Any) -> VenueSplit:
    fields = mapping_of(raw, f"one of {kind}")
    symbol = text_at(fields, "old_symbol" if kind == "name_changes" else "symbol")
    new_symbol = text_at(fields, "new_symbol") if kind == "name_changes" else symbol
    day = optional_text(fields, "ex_date", "effective_date", "process_date")
    effective_ns = day_start(day)
    if not effective_ns:
        msg = f"{kind} of {symbol}: ex_date must be a day, was {short(day)}"
        raise Unreadable(msg)
    return VenueSplit(
        id=optional_text(fields, "id") or f"{kind}:{symbol}:{day}",
        symbol=symbol,
        new_symbol=new_symbol,
        ratio=_ratio(kind, fields),
        effective_ns=effective_ns,
    )


def _ratio(kind: str, fields: dict[str, Any]) -> Decimal:
    if kind == "name_changes":
        return Decimal(1)
    if kind == "stock_dividends":
        return 1 + decimal_at(fields, "rate")
    new, old = decimal_at(fields, "new_rate"), decimal_at(fields, "old_rate")
    if new <= 0 or old <= 0:
        msg = f"new_rate and old_rate must be > 0, were {new} and {old}"
        raise Unreadable(msg)
    return new / old
