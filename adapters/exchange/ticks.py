"""Trades and quotes made from bars, by one rule, so that streams and history agree.

The rule: four trades per bar, at 0, 20, 40 and 59 seconds of its minute, at open, low, high, close when the bar rises
and open, high, low, close when it falls or stands; each takes a quarter of the volume, the last one the rest. Each
trade has a quote at the same moment, one tick (0.01) below and above its price, 100 units on each side. Trade ids count
up with time per symbol. Nothing here is random. Called by market websocket and historical data calls.
"""

from __future__ import annotations

from typing import Any

from adapters.exchange.bars import VenueBar
from engine.values import NS_PER_MINUTE, NS_PER_S

_SECONDS = (0, 20, 40, 59)
_TICK = 0.01
_SIZE = 100


def trades_of(bar: VenueBar) -> list[dict[str, Any]]:
    """The four trades, oldest first; `t` in ns UTC. Trades of size 0 (a bar without volume) are left out."""
    middle = (bar.low, bar.high) if bar.close > bar.open else (bar.high, bar.low)
    is_crypto = "/" in bar.symbol
    quarter = round(bar.volume / 4, 9) if is_crypto else float(int(bar.volume) // 4)
    sizes = (quarter, quarter, quarter, round(bar.volume - 3 * quarter, 9))
    first_id = bar.open_ns // NS_PER_MINUTE * 4
    trades: list[dict[str, Any]] = []
    for place, (price, size) in enumerate(zip((bar.open, *middle, bar.close), sizes, strict=True)):
        if size <= 0:
            continue
        ns = bar.open_ns + _SECONDS[place] * NS_PER_S
        if is_crypto:
            side = "B" if bar.close > bar.open else "S"
            trades.append({"t": ns, "p": price, "s": size, "i": first_id + place, "tks": side})
        else:
            trades.append({"t": ns, "x": "V", "p": price, "s": int(size), "c": ["@"], "i": first_id + place, "z": "C"})
    return trades


def quotes_of(bar: VenueBar) -> list[dict[str, Any]]:
    """The four quotes, oldest first; `t` in ns UTC."""
    middle = (bar.low, bar.high) if bar.close > bar.open else (bar.high, bar.low)
    quotes: list[dict[str, Any]] = []
    for place, price in enumerate((bar.open, *middle, bar.close)):
        ns = bar.open_ns + _SECONDS[place] * NS_PER_S
        bid, ask = max(0.0, round(price - _TICK, 9)), round(price + _TICK, 9)
        if "/" in bar.symbol:
            quotes.append({"t": ns, "bp": bid, "bs": float(_SIZE), "ap": ask, "as": float(_SIZE)})
        else:
            quotes.append(
                {"t": ns, "ax": "V", "ap": ask, "as": _SIZE, "bx": "V", "bp": bid, "bs": _SIZE, "c": ["R"], "z": "C"}
            )
    return quotes
