"""Raw Alpaca payloads to engine values: pure, tolerant, and it never raises.

Decides what a payload means: Alpaca's `t` is the open of an interval and `ts_event` its close; money comes as text and
becomes a Decimal in one normal form, so that the same thing from trade_updates, REST and the activities is equal; an
unknown word stays text, an unknown field is ignored. What cannot be read becomes a `Problem`, not an exception and
never a guess. Called by every module of this package; payload forms: Alpaca's documentation of each endpoint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache, wraps
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import msgspec

from engine.messages import Bar
from engine.ports import VenueAccount, VenueActivity, VenueExecution, VenueOrder, VenueUpdate
from engine.values import NS_PER_S, ZERO, Side

EXCHANGE_ZONE = ZoneInfo("America/New_York")
_DIGITS_MAX = 60
"""A number with more digits than this, written out, is junk and not money."""
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,12}))?\s*(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)
_HELD_KINDS = frozenset({"CFEE", "JNLS", "ACATS", "SPLIT", "SSO", "SSP", "SPIN", "REORG", "MA", "NC", "OPASN", "OPEXP"})
"""Activities whose `qty` changes the holding; elsewhere (DIV) it is the holding the cash was computed from."""
_QUOTE_CURRENCIES = ("USDT", "USDC", "USD", "BTC", "ETH")
_FILL_EVENTS = frozenset({"fill", "partial_fill"})


class Problem(msgspec.Struct, frozen=True):
    """A payload that could not be read, and why."""

    what: str


class Unreadable(ValueError):  # noqa: N818 - internal: becomes a Problem before it leaves this module
    """A field is missing or is not what it should be."""


def _guarded[**P, T](read: Callable[P, T]) -> Callable[P, T | Problem]:
    """Turn whatever a junk payload raises into a Problem."""

    @wraps(read)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T | Problem:
        try:
            return read(*args, **kwargs)
        except Unreadable as error:
            return Problem(str(error))
        except Exception as error:  # noqa: BLE001 - the payload is foreign; nothing it holds may stop the stream
            return Problem(f"{type(error).__name__}: {error}")

    return wrapper


# --- numbers, times, symbols -----------------------------------------------------------------------------------------


def decimal_or_none(value: Any) -> Decimal | None:
    """Read money or a quantity: text or a number, exact and in one form, whatever way it was written.

    No trailing zeros and no positive exponent, so that `1.50` and `1.5`, `1E+2` and `100` are written the same. None if
    it is neither text nor number, or no finite number of a believable size.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    if not number.is_finite() or abs(number.adjusted()) > _DIGITS_MAX or len(number.as_tuple().digits) > _DIGITS_MAX:
        return None
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return Decimal(text) if number else ZERO


def _decimal(raw: dict[str, Any], key: str) -> Decimal:
    number = decimal_or_none(raw.get(key))
    if number is None:
        msg = f"{key} must be a number, was {_short(raw.get(key))}"
        raise Unreadable(msg)
    return number


@lru_cache(maxsize=4096)
def _rfc3339_ns(text: str) -> int | None:
    found = _RFC3339.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    leap = second == "60"
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second), tzinfo=UTC
        )
    except ValueError:
        return None
    seconds = int(moment.timestamp()) + leap
    if zone and zone not in "Zz":
        hours, minutes = int(zone[1:3]), int(zone[-2:])
        seconds -= (1 if zone[0] == "+" else -1) * (hours * 3600 + minutes * 60)
    return seconds * NS_PER_S + int((fraction or "").ljust(9, "0")[:9])


def time_ns(value: Any) -> int | None:
    """Read a time to ns UTC: RFC3339 with 0 to 9 decimals and any offset (none means UTC), or a msgpack Timestamp."""
    if isinstance(value, str):
        return _rfc3339_ns(value)
    if isinstance(value, msgpack.Timestamp):
        return value.seconds * NS_PER_S + value.nanoseconds
    if isinstance(value, datetime) and value.tzinfo is not None:
        whole = value.replace(microsecond=0)
        return int(whole.timestamp()) * NS_PER_S + value.microsecond * 1000
    return None


def rfc3339(ns: int) -> str:
    """Write ns UTC as RFC3339, with 9 decimals where there are any."""
    seconds, rest = divmod(ns, NS_PER_S)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}Z" if rest else f"{text}Z"


def canonical_symbol(symbol: str, asset_class: str = "") -> str:
    """Give crypto pairs their slash: positions and activities say `BTCUSD`, everything else `BTC/USD`.

    Without an asset class, six or more letters and digits that end in a quote currency are a pair: US equities have at
    most five letters before a dot.
    """
    if "/" in symbol or asset_class not in ("", "crypto"):
        return symbol
    if not asset_class and (len(symbol) < 6 or not symbol.isalnum()):
        return symbol
    for quote in _QUOTE_CURRENCIES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return f"{symbol[: -len(quote)]}/{quote}"
    return symbol


def _side(value: Any) -> Side:
    word = value.lower() if isinstance(value, str) else ""
    if word.startswith("buy"):
        return Side.BUY
    if word.startswith("sell"):  # the activities also say sell_short
        return Side.SELL
    msg = f"side must be buy or sell, was {_short(value)}"
    raise Unreadable(msg)


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        msg = f"{key} must be a text, was {_short(value)}"
        raise Unreadable(msg)
    return value


def _optional_text(raw: dict[str, Any], *keys: str) -> str:
    """First of the keys that holds a text; empty if none does."""
    return next((value for key in keys if isinstance(value := raw.get(key), str) and value), "")


def _mapping(raw: Any, what: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        msg = f"{what} must be an object, was {_short(raw)}"
        raise Unreadable(msg)
    return raw  # pyright: ignore[reportUnknownVariableType]


def _first_time(raw: dict[str, Any], *keys: str) -> int:
    """First of the keys that holds a time; 0 if none does."""
    return next((ns for key in keys if (ns := time_ns(raw.get(key))) is not None), 0)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- market data -----------------------------------------------------------------------------------------------------


def _number(raw: dict[str, Any], key: str) -> float:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{key} must be a number, was {_short(value)}"
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


@_guarded
def parse_bar(raw: Any, timeframe: str, length_ns: int, symbol: str = "") -> Bar:
    """Read a bar of the stream or of the history.

    Args:
        raw: The payload (`t o h l c v`, and `n vw` where known).
        timeframe: Our name of it (`1m`).
        length_ns: Its length; `ts_event` = `t` + this.
        symbol: Where the payload does not hold it (`S`): the key it stood under.
    """
    fields = _mapping(raw, "a bar")
    name = symbol or _text(fields, "S")
    opened = time_ns(fields.get("t"))
    if opened is None:
        msg = f"bar of {name}: t must be a time, was {_short(fields.get('t'))}"
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


# --- orders and executions -------------------------------------------------------------------------------------------


def _order(raw: Any) -> VenueOrder:
    fields = _mapping(raw, "an order")
    filled = decimal_or_none(fields.get("filled_qty")) or ZERO
    submitted = _first_time(fields, "submitted_at", "created_at")
    return VenueOrder(
        client_order_id=_optional_text(fields, "client_order_id"),
        venue_order_id=_text(fields, "id"),
        symbol=canonical_symbol(_text(fields, "symbol"), _optional_text(fields, "asset_class")),
        side=_side(fields.get("side")),
        status=_text(fields, "status"),
        quantity=decimal_or_none(fields.get("qty")),
        filled_qty=filled,
        avg_px=decimal_or_none(fields.get("filled_avg_price")) if filled else None,
        submitted_ns=submitted,
        updated_ns=_first_time(fields, "updated_at") or submitted,
    )


parse_order = _guarded(_order)


def _execution_ns(value: Any) -> int:
    """Time of an execution in whole microseconds: trade_updates carry more digits than the activities."""
    ns = time_ns(value)
    if ns is None:
        msg = f"time of the execution must be a time, was {_short(value)}"
        raise Unreadable(msg)
    return ns // 1000 * 1000


@_guarded
def _update_execution(fields: dict[str, Any], order: VenueOrder) -> VenueExecution:
    return VenueExecution(
        venue_order_id=order.venue_order_id,
        cum_qty=order.filled_qty,
        symbol=order.symbol,
        side=order.side,
        last_qty=_decimal(fields, "qty"),
        last_px=_decimal(fields, "price"),
        ts_event=_execution_ns(fields.get("timestamp")),
        execution_id=_optional_text(fields, "execution_id"),
        client_order_id=order.client_order_id,
    )


@_guarded
def parse_update(raw: Any) -> VenueUpdate:
    """Read the `data` of a trade_updates message.

    A fill whose quantity or price cannot be read still tells of its order: `execution` is None and `reason` says why.
    """
    fields = _mapping(raw, "data of a trade update")
    event = _text(fields, "event")
    order = _order(fields.get("order"))
    execution = _update_execution(fields, order) if event in _FILL_EVENTS else None
    reason = _optional_text(fields, "reason", "reject_reason") or _optional_text(
        _mapping(fields.get("order"), "an order"), "reason", "reject_reason"
    )
    if isinstance(execution, Problem):
        execution, reason = None, f"{event} without an execution: {execution.what}"
    ts_event = time_ns(fields.get("timestamp")) or time_ns(fields.get("at")) or order.updated_ns
    return VenueUpdate(event=event, order=order, ts_event=ts_event, execution=execution, reason=reason)


@_guarded
def parse_fill(raw: Any) -> VenueExecution:
    """Read a FILL activity. Its id is not the execution_id of trade_updates; (order, cum_qty) names both."""
    fields = _mapping(raw, "a fill activity")
    return VenueExecution(
        venue_order_id=_text(fields, "order_id"),
        cum_qty=_decimal(fields, "cum_qty"),
        symbol=canonical_symbol(_text(fields, "symbol"), _optional_text(fields, "asset_class")),
        side=_side(fields.get("side")),
        last_qty=_decimal(fields, "qty"),
        last_px=_decimal(fields, "price"),
        ts_event=_execution_ns(fields.get("transaction_time")),
        activity_id=_text(fields, "id"),
        client_order_id=_optional_text(fields, "client_order_id"),
    )


# --- account ---------------------------------------------------------------------------------------------------------


@_guarded
def parse_activity(raw: Any) -> VenueActivity:
    """Read a non-trade activity. One with a date only counts as made at that day's start in New York."""
    fields = _mapping(raw, "an activity")
    kind = _text(fields, "activity_type")
    cash = decimal_or_none(fields.get("net_amount")) or ZERO
    quantity = decimal_or_none(fields.get("qty")) or ZERO
    moves_holding = kind in _HELD_KINDS or not cash
    ts_event = _first_time(fields, "transaction_time", "created_at", "date") or _day_start(fields.get("date"))
    if not ts_event:
        msg = f"date must be a day, was {_short(fields.get('date'))}"
        raise Unreadable(msg)
    return VenueActivity(
        id=_text(fields, "id"),
        kind=kind,
        symbol=canonical_symbol(_optional_text(fields, "symbol"), _optional_text(fields, "asset_class")),
        cash=cash,
        quantity=quantity if moves_holding else ZERO,
        ts_event=ts_event,
    )


def _day_start(value: Any) -> int:
    if not isinstance(value, str):
        return 0
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return 0
    return int(datetime.combine(day, time(), EXCHANGE_ZONE).timestamp()) * NS_PER_S


@_guarded
def parse_account(account: Any, positions: Any) -> VenueAccount:
    """Put the answers of `/account` and `/positions` together."""
    fields = _mapping(account, "an account")
    if not isinstance(positions, list):
        msg = f"positions must be a list, was {_short(positions)}"
        raise Unreadable(msg)
    held: dict[str, Decimal] = {}
    prices: dict[str, Decimal] = {}
    for raw in positions:  # pyright: ignore[reportUnknownVariableType]
        position = _mapping(raw, "a position")
        symbol = canonical_symbol(_text(position, "symbol"), _optional_text(position, "asset_class"))
        quantity = _decimal(position, "qty")
        # Alpaca signs a short's qty; a server that only sets `side` means the same.
        short = _optional_text(position, "side") == "short"
        if quantity:
            held[symbol] = -abs(quantity) if short else quantity
            price = decimal_or_none(position.get("current_price")) or decimal_or_none(position.get("avg_entry_price"))
            if price is not None and price > 0:
                prices[symbol] = price
    cash = _decimal(fields, "cash")
    equity = decimal_or_none(fields.get("equity"))
    return VenueAccount(
        account_number=_text(fields, "account_number"),
        cash=cash,
        equity=cash if equity is None else equity,
        buying_power=_decimal(fields, "buying_power"),
        positions=held,
        prices=prices,
    )


@_guarded
def parse_session(raw: Any) -> tuple[int, int]:
    """Read one day of the calendar: regular open and close, written in New York's time, as ns UTC."""
    fields = _mapping(raw, "a calendar day")
    day = date.fromisoformat(_text(fields, "date"))
    opened, closed = (
        int(datetime.combine(day, time.fromisoformat(_text(fields, key)), EXCHANGE_ZONE).timestamp()) * NS_PER_S
        for key in ("open", "close")
    )
    if closed <= opened:
        msg = f"session of {day} must close after it opens, was {fields.get('open')} to {fields.get('close')}"
        raise Unreadable(msg)
    return opened, closed


def parse_error(text: str) -> tuple[str, str] | None:
    """Read an error body to (code, message); None if it is not one of Alpaca's (HTML, empty, a list)."""
    try:
        body = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    fields = _mapping(body, "an error")
    message = fields.get("message")
    code = fields.get("code")
    if not isinstance(message, str) and code is None:
        return None
    return str(code) if isinstance(code, int | str) else "", message if isinstance(message, str) else ""
