"""Which prices are too old to count: after so much of open market without a newer one a price is unknown.

Looked at when a decision is made, in the order of the prices' times, so that ten thousand holdings cost nothing while
their prices come. Derived from the marks and the calendar; never checkpointed. Part of engine.risk.exposure.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from heapq import heappop, heappush

from engine.sessions import SessionTable
from engine.values import NS_PER_MS, AssetClass, asset_class_of


class Ages:
    """The times of prices, oldest first; each symbol once, with a time that may lag behind its newest price.

    Args:
        marks: Last known price by symbol, with its time.
    """

    def __init__(self, marks: Mapping[str, tuple[int, Decimal]]) -> None:
        self._marks = marks
        self._heaps: dict[AssetClass, list[tuple[int, str]]] = {kind: [] for kind in AssetClass}
        self._noted: set[str] = set()

    def note(self, symbol: str) -> None:
        """Watch the age of a symbol's price."""
        known = self._marks.get(symbol)
        if known is not None and symbol not in self._noted:
            self._noted.add(symbol)
            heappush(self._heaps[asset_class_of(symbol)], (known[0], symbol))

    def before(self, kind: AssetClass, ts_ns: int) -> list[str]:
        """Give the symbols whose price is older than this, and watch them no more."""
        heap, found = self._heaps[kind], list[str]()
        while heap and heap[0][0] < ts_ns:
            symbol = heappop(heap)[1]
            known = self._marks.get(symbol)
            if known is not None and known[0] >= ts_ns:
                heappush(heap, (known[0], symbol))
                continue
            self._noted.discard(symbol)
            found.append(symbol)
        return found


def oldest_that_counts(sessions: SessionTable, kind: AssetClass, now_ns: int, age_ms_max: int) -> int:
    """Give the time before which a price is too old: so much of open market ago; coins trade always."""
    span_ns = age_ms_max * NS_PER_MS
    return now_ns - span_ns if kind is AssetClass.CRYPTO else sessions.open_before(now_ns, span_ns)
