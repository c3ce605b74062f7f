"""Words on the command line read into what they mean; each refusal names the option and what it takes."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal

from engine.errors import ConfigError


def read_speed(text: str) -> float | Literal["max"]:
    """Read `--speed`: a number above 0, or `max`."""
    if text == "max":
        return "max"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        msg = f"--speed must be a number above 0 or max, was {text!r}"
        raise ConfigError(msg)
    return value


def read_symbols(text: str | None) -> tuple[str, ...] | None:
    """Read `--symbols`: separated by commas; None means not given."""
    if text is None:
        return None
    symbols = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    if not symbols:
        msg = f"--symbols must name at least one symbol (AAPL,MSFT), was {text!r}"
        raise ConfigError(msg)
    return symbols


def read_number(name: str, text: str) -> Decimal:
    """Read an exact number."""
    try:
        return Decimal(text)
    except InvalidOperation:
        msg = f"{name} must be a number, was {text!r}"
        raise ConfigError(msg) from None


def read_moment(name: str, text: str | None) -> datetime | None:
    """Read a time in ISO 8601, UTC where it names no zone; None means not given."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{name} must be a date or time in ISO 8601 (2013-10-04T13:30), was {text!r}"
        raise ConfigError(msg) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def nanoseconds(moment: datetime | None) -> int | None:
    """Give a whole second as ns UTC."""
    return None if moment is None else int(moment.timestamp()) * 1_000_000_000
