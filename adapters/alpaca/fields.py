"""Single fields of Alpaca's payloads: numbers, times, symbols, sides, texts. Pure and tolerant.

Money comes as text and becomes a Decimal in one normal form, so that the same thing from trade_updates, REST and the
activities is equal. A reader made with `guarded` never raises: what cannot be read becomes a `Problem`, not an
exception and never a guess. Called by `parse`, `parse_orders` and `parse_account`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache, wraps
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import msgspec

from engine.values import NS_PER_S, ZERO, Side

EXCHANGE_ZONE = ZoneInfo("America/New_York")
_DIGITS_MAX = 60
"""A number with more digits than this, written out, is junk and not money."""
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,12}))?\s*(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)
_QUOTE_CURRENCIES = ("USDT", "USDC", "USD", "BTC", "ETH")


class Problem(msgspec.Struct, frozen=True):
    """A payload that could not be read, and why."""

    what: str


class Unreadable(ValueError):  # noqa: N818 - internal: becomes a Problem before it leaves `guarded`
    """A field is missing or is not what it should be."""


def guarded[**P, T](read: Callable[P, T]) -> Callable[P, T | Problem]:
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


def decimal_at(raw: dict[str, Any], key: str) -> Decimal:
    """Read a number that must be there.

    Raises:
        Unreadable: It is not.
    """
    number = decimal_or_none(raw.get(key))
    if number is None:
        msg = f"{key} must be a number, was {short(raw.get(key))}"
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


def side_of(value: Any) -> Side:
    """Read a side; the activities also say `sell_short`.

    Raises:
        Unreadable: Neither a buy nor a sell.
    """
    word = value.lower() if isinstance(value, str) else ""
    if word.startswith("buy"):
        return Side.BUY
    if word.startswith("sell"):
        return Side.SELL
    msg = f"side must be buy or sell, was {short(value)}"
    raise Unreadable(msg)


def text_at(raw: dict[str, Any], key: str) -> str:
    """Read a text that must be there.

    Raises:
        Unreadable: It is not, or is empty.
    """
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        msg = f"{key} must be a text, was {short(value)}"
        raise Unreadable(msg)
    return value


def optional_text(raw: dict[str, Any], *keys: str) -> str:
    """Give the first of the keys that holds a text; empty if none does."""
    return next((value for key in keys if isinstance(value := raw.get(key), str) and value), "")


def mapping_of(raw: Any, what: str) -> dict[str, Any]:
    """Take a payload as an object.

    Raises:
        Unreadable: It is none; `what` names it.
    """
    if not isinstance(raw, dict):
        msg = f"{what} must be an object, was {short(raw)}"
        raise Unreadable(msg)
    return raw  # pyright: ignore[reportUnknownVariableType]


def lenient(raw: Any) -> dict[str, Any]:
    """Take a payload as an object; what is none is an empty one."""
    return raw if isinstance(raw, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def listed(raw: Any) -> list[Any]:
    """Take a payload as a list; what is none is an empty one."""
    return raw if isinstance(raw, list) else []  # pyright: ignore[reportUnknownVariableType]


def first_time(raw: dict[str, Any], *keys: str) -> int:
    """Give the first of the keys that holds a time; 0 if none does."""
    return next((ns for key in keys if (ns := time_ns(raw.get(key))) is not None), 0)


def short(value: Any) -> str:
    """Show a foreign value in a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def day_start(value: Any) -> int:
    """Read a date (`2026-08-12`) as its start in New York, ns UTC; 0 if it is none."""
    if not isinstance(value, str):
        return 0
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return 0
    return int(datetime.combine(day, time(), EXCHANGE_ZONE).timestamp()) * NS_PER_S
