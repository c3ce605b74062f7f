"""Ids from content: the same cause gives the same id, on every machine, after every restart.

Without that, a restart would publish a second copy of a signal or an order, and no filter could tell
(the idea: NautilusTrader, crates/execution/src/reconciliation/ids.rs). An id is the hash of
(account, run, bot, cause, ordinal); it is the `Nats-Msg-Id` and gives the `client_order_id`.
"""

from __future__ import annotations

import hashlib

_SEPARATOR = "\x1f"


def make_id(*parts: str | int) -> str:
    """Hash the parts to 32 hexadecimal characters (128 bits); a client_order_id may have 48.

    Args:
        parts: Texts and integers; their order counts. No part may hold the ASCII unit separator.
    """
    text = _SEPARATOR.join(map(str, parts))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def bar_key(symbol: str, timeframe: str, ts_event: int, revision: int) -> str:
    """Name a bar. A stream sequence never names a bar: an async stream may lose and re-use sequences."""
    return f"{symbol}|{timeframe}|{ts_event}|{revision}"


def bar_close_ns(key: str) -> int | None:
    """Give the close of the bar that a key names, ns UTC; None for what is no key of a bar."""
    parts = key.split("|")
    return int(parts[2]) if len(parts) == 4 and parts[0] != "mark" and parts[2].isdecimal() else None


def fill_key(venue_order_id: str, cum_qty: str) -> str:
    """Name a fill: trade_updates and activities call the same execution by different ids, but agree on these two."""
    return f"{venue_order_id}|{cum_qty}"
