"""Faults of the bars on a market-data websocket: doubled, lost, corrected late, beside junk, or in too big a frame.

The hub hands in one connection's bars of a minute and sends what comes out. It decides by endpoint, minute and symbol;
each connection's bars are occasions of their own. The market's history stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.exchange.faults import MARKET_FAULTS, Faults
from adapters.exchange.frames import Codec, array_frames, encode_message

_HUGE_BYTES = 1_100_000
Messages = Sequence[tuple[str, bytes]]


class MarketFaults:
    """What happens to one connection's bars.

    Args:
        faults: The rules.
        endpoint: Path of the websocket.
        codec: How it is encoded.
    """

    def __init__(self, faults: Faults, endpoint: str, codec: Codec) -> None:
        self._faults = faults
        self._endpoint = endpoint
        self._codec: Codec = codec
        self._late: list[tuple[int, bytes]] = []

    @property
    def are_asked_for(self) -> bool:
        """True when a rule, or an update that is still to come, changes what is sent."""
        return bool(self._late) or self._faults.has(MARKET_FAULTS)

    def bars(self, ns: int, bars: Messages, updates: Messages) -> list[bytes | str]:
        """Give the frames of the minute that ends at `ns`; `updates` holds each bar's late correction."""
        corrected = dict(updates)
        frames = self._due()
        messages: list[bytes] = []
        for symbol, message in bars:
            if self._rule("bar_lost", ns, symbol):
                continue
            if self._rule("bad_message", ns, symbol):
                messages.append(encode_message(self._codec, _junk(symbol)))
            messages.append(message)
            if (rule := self._faults.for_socket("bar_duplicate", self._endpoint, ns, symbol=symbol)) is not None:
                messages += [message] * rule.count
            rule = self._faults.for_socket("late_update", self._endpoint, ns, symbol=symbol)
            if rule is not None and symbol in corrected:
                self._late.append((max(1, rule.minutes), corrected[symbol]))
            if self._rule("huge_frame", ns, symbol):
                frames.append(_huge(self._codec, message))
        return [*array_frames(self._codec, messages), *frames]

    def _rule(self, kind: str, ns: int, symbol: str) -> bool:
        return self._faults.for_socket(kind, self._endpoint, ns, symbol=symbol) is not None

    def _due(self) -> list[bytes | str]:
        waiting = [(left - 1, message) for left, message in self._late]
        self._late = [(left, message) for left, message in waiting if left > 0]
        return array_frames(self._codec, [message for left, message in waiting if left <= 0])


def _junk(symbol: str) -> dict[str, Any]:
    """A bar that says nothing."""
    return {"T": "b", "S": symbol, "o": None}


def _huge(codec: Codec, message: bytes) -> bytes | str:
    """One frame above 1 MiB: the same bar again and again."""
    count = _HUGE_BYTES // len(message) + 1
    if codec == "msgpack":
        return b"\xdd" + count.to_bytes(4, "big") + message * count
    return (b"[" + b",".join([message] * count) + b"]").decode()
