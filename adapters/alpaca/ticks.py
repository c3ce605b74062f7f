"""Trades, quotes, halts and price bands from Alpaca's market-data records: pure, and it never raises.

Decides which trades count: those that update the consolidated last price, by the conditions of the two tapes (UTP Plan
and CTA specifications: odd lots, averaged, derivatively priced, contingent, out-of-sequence, extended-hours and
official prints do not). It decides what a status code of either tape means. Corrections and cancellations of trades are
ignored: what was seen was seen, and a guard that acted on it acted. Called by adapters.alpaca.frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec

from adapters.alpaca.parse import Problem, time_ns
from engine.halts import BANDS, HALTS
from engine.messages import SymbolStatus
from engine.ports import Quote, Trade
from engine.values import NS_PER_S, to_decimal

_TIMESTAMP = -1
"""Extension type of msgpack's Timestamp."""
_NOT_LAST = frozenset("479CGHIMNPQRTUVZ")
"""Conditions of both tapes under which a trade does not count."""
_NOT_LAST_CTA = _NOT_LAST | {"B"}
"""Of tapes A and B: B is an average price there, and a bunched trade (which counts) on tape C."""
_NOT_LAST_UTP = _NOT_LAST | {"W"}
_HALTED = {True: frozenset("2F"), False: frozenset("HP")}
"""By whether the tape is CTA's: halts and pauses."""
_RESUMED = {True: frozenset("3"), False: frozenset("T")}
_BESIDE = {True: frozenset("56789ACDE"), False: frozenset("Q")}
"""Indications, imbalances, short sale restriction; UTP's Q resumes quotes only: the halt goes on."""


class WireTrade(msgspec.Struct, tag="t", tag_field="T", gc=False):
    """A trade record."""

    symbol: str = msgspec.field(name="S")
    px: float = msgspec.field(name="p")
    at: msgspec.msgpack.Ext = msgspec.field(name="t")
    size: float = msgspec.field(name="s", default=0.0)
    conditions: list[str] | None = msgspec.field(name="c", default=None)
    tape: str | None = msgspec.field(name="z", default=None)


class WireQuote(msgspec.Struct, tag="q", tag_field="T", gc=False):
    """A quote record."""

    symbol: str = msgspec.field(name="S")
    bid_px: float = msgspec.field(name="bp")
    ask_px: float = msgspec.field(name="ap")
    at: msgspec.msgpack.Ext = msgspec.field(name="t")


def stamp_ns(stamp: msgspec.msgpack.Ext) -> int | None:
    """Read a msgpack Timestamp exactly (4, 8 or 12 bytes); None if it is none."""
    data = bytes(stamp.data)
    if stamp.code != _TIMESTAMP:
        return None
    if len(data) == 8:
        both = int.from_bytes(data, "big")
        return (both & 0x3_FFFF_FFFF) * NS_PER_S + (both >> 34)
    if len(data) not in (4, 12):
        return None
    found = msgpack.Timestamp.from_bytes(data)
    return found.seconds * NS_PER_S + found.nanoseconds


def typed_tick(record: WireTrade | WireQuote) -> Trade | Quote | Problem | None:
    """Give a typed record's trade or quote; None for a trade that does not count."""
    ts_event = stamp_ns(record.at)
    if ts_event is None:
        return Problem(f"{_kind(record)} of {record.symbol}: t must be a time, was {record.at!r}")
    if isinstance(record, WireQuote):
        return _quote(record.symbol, ts_event, record.bid_px, record.ask_px)
    if record.conditions and not _counts(record.conditions, record.tape):
        return None
    return _trade(record.symbol, ts_event, record.px, record.size)


def parse_tick(record: dict[str, Any]) -> Trade | Quote | Problem | None:
    """Give the trade or quote of a record of whatever form; None for a trade that does not count."""
    kind = "trade" if record.get("T") == "t" else "quote"
    symbol, ts_event = record.get("S"), time_ns(record.get("t"))
    if not isinstance(symbol, str) or not symbol:
        return Problem(f"{kind}: S must be a text, was {symbol!r:.80}")
    if ts_event is None:
        return Problem(f"{kind} of {symbol}: t must be a time, was {record.get('t')!r:.80}")
    if kind == "quote":
        return _quote(symbol, ts_event, _float(record.get("bp")), _float(record.get("ap")))
    conditions = record.get("c")
    if isinstance(conditions, list) and not _counts([str(one) for one in conditions], record.get("z")):
        return None
    return _trade(symbol, ts_event, _float(record.get("p")), _float(record.get("s", 0.0)))


def parse_status(record: dict[str, Any]) -> SymbolStatus | Problem | None:
    """Give the halt or resumption (`s`) or the price bands (`l`) of a record; None where it says neither."""
    symbol, ts_event = record.get("S"), time_ns(record.get("t"))
    if not isinstance(symbol, str) or not symbol or ts_event is None:
        return Problem(f"status: S must be a text and t a time, were {symbol!r:.80} and {record.get('t')!r:.80}")
    if record.get("T") == "l":
        return _bands(symbol, ts_event, _float(record.get("d")), _float(record.get("u")))
    code, is_cta = record.get("sc"), _is_cta(record.get("z"))
    if not isinstance(code, str) or code not in _HALTED[is_cta] | _RESUMED[is_cta] | _BESIDE[is_cta]:
        return Problem(f"status of {symbol}: code {code!r:.80} of tape {record.get('z')!r:.80} is unknown")
    if code in _BESIDE[is_cta]:
        return None
    words = [word for key in ("rc", "rm") if isinstance(word := record.get(key), str) and word.strip()]
    fallback = record.get("sm") if isinstance(record.get("sm"), str) else code
    return SymbolStatus(symbol, HALTS, " ".join(words) or str(fallback), ts_event, is_halted=code in _HALTED[is_cta])


def _counts(conditions: Sequence[str], tape: object) -> bool:
    return (_NOT_LAST_CTA if _is_cta(tape) else _NOT_LAST_UTP).isdisjoint(conditions)


def _is_cta(tape: object) -> bool:
    return isinstance(tape, str) and tape in ("A", "B")


def _trade(symbol: str, ts_event: int, px: float, size: float) -> Trade | Problem:
    if 0.0 < px < math.inf:
        return Trade(symbol, ts_event, px, size if 0.0 <= size < math.inf else 0.0)
    return Problem(f"trade of {symbol}: p must be a number > 0, was {px!r}")


def _quote(symbol: str, ts_event: int, bid_px: float, ask_px: float) -> Quote | Problem:
    if 0.0 <= bid_px < math.inf and 0.0 <= ask_px < math.inf:
        return Quote(symbol, ts_event, bid_px, ask_px)
    return Problem(f"quote of {symbol}: bp and ap must be numbers >= 0, were {bid_px!r} and {ask_px!r}")


def _bands(symbol: str, ts_event: int, low: float, high: float) -> SymbolStatus | Problem:
    if not (0.0 <= low < math.inf and 0.0 <= high < math.inf):
        return Problem(f"price bands of {symbol}: d and u must be numbers >= 0, were {low!r} and {high!r}")
    low_px, high_px = (to_decimal(px) if px else None for px in (low, high))
    return SymbolStatus(symbol, BANDS, "price bands", ts_event, low_px=low_px, high_px=high_px)


def _float(value: Any) -> float:
    """Read a number; NaN if it is none, which no check lets pass."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _kind(record: WireTrade | WireQuote) -> str:
    return "quote" if isinstance(record, WireQuote) else "trade"
