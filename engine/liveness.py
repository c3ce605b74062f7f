"""What should be heard and is not: streams that are silent, symbols whose bars stay away while others come.

Silence of a stream is counted in monotonic seconds, which no change of a clock can move; age of a symbol's bars in
venue time. Nothing here decides about orders. Called by streams/services/feed for its status.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

NAMES_MAX = 5
"""Names said of a list that may hold thousands."""


class Silence:
    """How long each stream was silent while it should have been heard.

    Args:
        streams: Their names.
        now_s: Monotonic seconds now.
    """

    def __init__(self, streams: Iterable[str], now_s: float) -> None:
        self._heard_s = dict.fromkeys(streams, now_s)

    def heard(self, stream: str, now_s: float) -> None:
        """Note that data came, or that none is due: its market is closed."""
        self._heard_s[stream] = now_s

    def longer_than(self, silent_s_max: float, now_s: float) -> list[tuple[str, float]]:
        """Give the streams that are silent for longer, with the seconds."""
        return [(name, now_s - at) for name, at in sorted(self._heard_s.items()) if now_s - at > silent_s_max]


def left_behind(symbols: Iterable[str], last: Mapping[str, int], floor_ns: int, lag_ns_max: int) -> list[str]:
    """Give the symbols whose last bar lies too far behind the newest bar of them all.

    Args:
        symbols: Symbols of one market.
        last: Time of the last bar per symbol; a symbol without one is missing.
        floor_ns: Nobody's bars are due before: the opening of the session, or of the ledger.
        lag_ns_max: Venue time that a symbol may lie behind.
    """
    symbols = tuple(symbols)
    newest = max((last.get(symbol, 0) for symbol in symbols), default=0)
    return [symbol for symbol in symbols if newest - max(last.get(symbol, 0), floor_ns) > lag_ns_max]


def few(names: Sequence[str]) -> str:
    """Say how many there are and name the first: `3 (A, B, C)`, `700 (A, B, C, D, E, ...)`."""
    shown = ", ".join(names[:NAMES_MAX]) + (", ..." if len(names) > NAMES_MAX else "")
    return f"{len(names)} ({shown})"
