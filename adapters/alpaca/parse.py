"""Raw Alpaca market data and error bodies to engine values: pure, tolerant, and it never raises.

Decides what a payload means: Alpaca's `t` is the open of an interval and `ts_event` its close. An unknown field is
ignored; what cannot be read becomes a `Problem`. Called by `frames`, `history` and `rest`; orders are read in
`parse_orders`, the account in `parse_account`, single fields in `fields`. Forms: Alpaca's documentation.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from adapters.alpaca.fields import Problem, Unreadable, guarded, mapping_of, rfc3339, short, text_at, time_ns
from engine.messages import Bar

__all__ = ["Problem", "bar_fault", "parse_bar", "parse_error", "rfc3339", "time_ns"]


def _number(raw: dict[str, Any], key: str) -> float:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{key} must be a number, was {short(value)}"
        raise Unreadable(msg)
    return float(value)


def bar_fault(low: float, high: float, open_: float, close: float, volume: float) -> str:
    """Say what is wrong with the numbers of a bar; empty if nothing is."""
    for name, value in (("open", open_), ("high", high), ("low", low), ("close", close)):
        if not math.isfinite(value) or value <= 0:
            return f"{name} must be > 0, was {value!r}"
    if high < low:
        return f"high must be >= low, was {high!r} < {low!r}"
    if not math.isfinite(volume) or volume < 0:
        return f"volume must be >= 0, was {volume!r}"
    return ""


@guarded
def parse_bar(raw: Any, timeframe: str, length_ns: int, symbol: str = "") -> Bar:
    """Read a bar of the stream or of the history.

    Args:
        raw: The payload (`t o h l c v`, and `n vw` where known).
        timeframe: Our name of it (`1m`).
        length_ns: Its length; `ts_event` = `t` + this.
        symbol: Where the payload does not hold it (`S`): the key it stood under.
    """
    fields = mapping_of(raw, "a bar")
    name = symbol or text_at(fields, "S")
    opened = time_ns(fields.get("t"))
    if opened is None:
        msg = f"bar of {name}: t must be a time, was {short(fields.get('t'))}"
        raise Unreadable(msg)
    try:
        low, high, open_, close = (_number(fields, key) for key in "lhoc")
        volume = _number(fields, "v")
    except Unreadable as error:
        msg = f"bar of {name} at {rfc3339(opened)}: {error}"
        raise Unreadable(msg) from error
    if fault := bar_fault(low, high, open_, close, volume):
        msg = f"bar of {name} at {rfc3339(opened)}: {fault}"
        raise Unreadable(msg)
    count, vwap = fields.get("n"), fields.get("vw")
    return Bar(
        symbol=name,
        timeframe=timeframe,
        ts_event=opened + length_ns,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        trade_count=int(count) if isinstance(count, int | float) and math.isfinite(count) else None,
        vwap=float(vwap) if isinstance(vwap, int | float) and math.isfinite(vwap) else None,
    )


def parse_error(text: str) -> tuple[str, str] | None:
    """Read an error body to (code, message); None if it is not one of Alpaca's (HTML, empty, a list)."""
    try:
        body = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    fields = mapping_of(body, "an error")
    message = fields.get("message")
    code = fields.get("code")
    if not isinstance(message, str) and code is None:
        return None
    return str(code) if isinstance(code, int | str) else "", message if isinstance(message, str) else ""
