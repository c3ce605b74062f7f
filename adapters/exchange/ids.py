"""Ids and random numbers that depend on content only, so that two runs of the same market and orders are equal.

No state but the seed; nothing here looks at arrival order, clocks or PYTHONHASHSEED.
"""

from __future__ import annotations

import hashlib
import uuid
from decimal import Decimal

_SEPARATOR = "\x1f"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_UNIT = Decimal(2**40)


def digest(*parts: str | int) -> bytes:
    """16 bytes from the parts; their order counts."""
    text = _SEPARATOR.join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def make_uuid(*parts: str | int) -> str:
    """A UUID (form of version 4) from the parts."""
    return str(uuid.UUID(bytes=digest(*parts), version=4))


def draw(*parts: str | int) -> Decimal:
    """A number in [0, 1) from the parts, exact to 40 bits."""
    return Decimal(int.from_bytes(digest("draw", *parts)[:5], "big")) / _UNIT


def account_number(seed: int) -> str:
    """`PA` and ten characters, as paper accounts have."""
    number = int.from_bytes(digest("account", seed)[:8], "big")
    return "PA" + "".join(_CROCKFORD[(number >> (5 * place)) & 31] for place in range(10))


def ulid(ns: int, ordinal: int) -> str:
    """A ULID whose random part is the ordinal: monotone by emission."""
    number = ((ns // 1_000_000) << 80) | ordinal
    return "".join(_CROCKFORD[(number >> (5 * place)) & 31] for place in range(25, -1, -1))
