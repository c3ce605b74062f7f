"""Trading halts and price bands: who is halted, and the messages that say so (channels `statuses` and `lulds`).

A halt is whole minutes: from the first one whose bars are not decided yet when it is asked for, the symbol has no bar,
no tick and no fill, until its end, which is whole minutes too. Orders are taken meanwhile and wait. Bands are only
told: nothing here keeps prices within them.
Asked for by the control URL; the venue leaves out the bars, the market websocket sends the messages. No clock: the
driver's time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters.exchange.bars import VenueBar

DEFAULT_CODE = "T1"
"""Halt, news pending (UTP reason codes)."""
PAUSE_CODE = "LUDP"
"""Volatility trading pause of Limit Up-Limit Down."""
_RESUMED_CODE = "T3"


class Halting:
    """Halts of one market."""

    def __init__(self) -> None:
        self._halted: dict[str, str] = {}

    @property
    def symbols(self) -> dict[str, str]:
        """Halted symbols, sorted, with the reason's code."""
        return dict(sorted(self._halted.items()))

    def halt(self, symbol: str, code: str, ns: int) -> dict[str, Any]:
        """Halt a symbol; give the message that says so."""
        self._halted[symbol] = code
        kind = ("P", "Volatility Trading Pause") if code == PAUSE_CODE else ("H", "Trading Halt")
        return _status(symbol, ns, kind, (code, f"Trading halted ({code})"))

    def resume(self, symbol: str, ns: int) -> dict[str, Any]:
        """End a halt; give the message that says so."""
        self._halted.pop(symbol, None)
        return _status(symbol, ns, ("T", "Trading Resumption"), (_RESUMED_CODE, "News and Resumption Times"))

    def trading(self, bars: Iterable[VenueBar]) -> list[VenueBar]:
        """Leave out the bars of halted symbols."""
        if not self._halted:
            return list(bars)
        return [bar for bar in bars if bar.symbol not in self._halted]


def bands(symbol: str, low: float, high: float, ns: int) -> dict[str, Any]:
    """Give the message of a symbol's price bands."""
    return {"T": "l", "S": symbol, "u": high, "d": low, "i": "B", "t": ns, "z": "C"}


def _status(symbol: str, ns: int, status: tuple[str, str], reason: tuple[str, str]) -> dict[str, Any]:
    code, text = status
    return {"T": "s", "S": symbol, "sc": code, "sm": text, "rc": reason[0], "rm": reason[1], "t": ns, "z": "C"}
