"""Raw Alpaca non-trade activities to engine values: what each kind moves, cash or a holding. Pure; it never raises.

`net_amount` is always cash. `qty` is a change of the holding for some kinds and only told for others (a dividend's is
the number of shares it is paid for). A kind that is not in the table moves its cash and nothing else, and says so: the
holding is then found by reconciliation, not by a guess. Kinds: Alpaca's documentation "Account Activities" and
"Activities", changelog 2026-11-06; split and name-change rows come in pairs, one removing and one adding
(engine.conversions puts them together). Called by adapters.alpaca.reading.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from adapters.alpaca.fields import (
    Unreadable,
    canonical_symbol,
    day_start,
    decimal_or_none,
    first_time,
    guarded,
    mapping_of,
    optional_text,
    short,
    text_at,
)
from engine.ports import VenueActivity
from engine.values import ZERO


class Moves(StrEnum):
    """What a kind changes."""

    CASH = "cash"
    BOTH = "cash and holding"
    NOTHING = "nothing"


_CASH = """
ACATC CIL CSD CSR CSW DIVCGL DIVCGS DIVFEE DIVFT DIVNRA DIVROC DIVTW DIVTXEX DIVWH FEE FXCNV FXTRD INT INTNRA INTPNL
INTTW INVPNL JNLC PTC PTR SWP WH
"""
"""Transfers (ACATC CSD CSR CSW JNLC), dividends and their taxes, fees, interest, cash in lieu, currency."""
_BOTH = """
ACATS CFEE DVF ECEXP EXTRD FIMAT JNL JNLS MA NC OPASN OPCA OPCSH OPEXC OPEXP OPTRD OPXRC REO REORG SC SPIN SPLIT SSO
SSP VOF
"""
"""Shares transferred, fees taken in the asset, mergers, names, options, reorganizations, spin-offs, splits, offers."""
KINDS: dict[str, Moves] = {
    **dict.fromkeys(_CASH.split(), Moves.CASH),
    **dict.fromkeys(_BOTH.split(), Moves.BOTH),
    "MEM": Moves.NOTHING,
    "MEMO": Moves.NOTHING,
    "DIV": Moves.CASH,  # but its sub-kind SDIV, a dividend in shares
}
_IN_SHARES = "SDIV"
_VOID = frozenset({"canceled", "cancelled", "rejected", "pending"})


@guarded
def parse_activity(raw: Any) -> VenueActivity:
    """Read a non-trade activity. One with a date only counts as made at that day's start in New York."""
    fields = mapping_of(raw, "an activity")
    kind = text_at(fields, "activity_type")
    sub_kind = optional_text(fields, "activity_sub_type", "activity_subtype")
    ts_event = first_time(fields, "transaction_time", "created_at", "executed_at", "date") or day_start(
        fields.get("date")
    )
    if not ts_event:
        msg = f"date must be a day, was {short(fields.get('date'))}"
        raise Unreadable(msg)
    moves = KINDS.get(kind)
    is_dollar = optional_text(fields, "currency") in ("", "USD")
    counts = optional_text(fields, "status") not in _VOID
    cash = decimal_or_none(fields.get("net_amount")) or ZERO
    quantity = decimal_or_none(fields.get("qty")) or ZERO
    moves_holding = moves is Moves.BOTH or (kind == "DIV" and _is_in_shares(fields, sub_kind))
    return VenueActivity(
        id=text_at(fields, "id"),
        kind=kind,
        symbol=canonical_symbol(optional_text(fields, "symbol"), optional_text(fields, "asset_class")),
        cash=cash if counts and is_dollar and moves is not Moves.NOTHING else ZERO,
        quantity=quantity if counts and moves_holding else ZERO,
        ts_event=ts_event,
        sub_kind=sub_kind,
        description=optional_text(fields, "description"),
        group=optional_text(fields, "group_id"),
        is_known=moves is not None and is_dollar,
    )


def _is_in_shares(fields: dict[str, Any], sub_kind: str) -> bool:
    """Whether a dividend is paid in shares: it says so, or says nothing and there is no cash and no rate of it."""
    if sub_kind:
        return sub_kind == _IN_SHARES
    return not decimal_or_none(fields.get("net_amount")) and not decimal_or_none(fields.get("per_share_amount"))
