"""Regular sessions as data: the venue's calendar, asked for a moment. No fixed hours anywhere in code.

Fails closed: a moment outside every known span is not in a session.
"""

from __future__ import annotations

from bisect import bisect_right

from engine.messages import Sessions
from engine.values import NS_PER_MINUTE, AssetClass
from engine.zones import midnight_before


class SessionTable:
    """Sessions of US equities known so far; crypto trades always."""

    def __init__(self) -> None:
        self._spans: dict[int, int] = {}
        self._opens: list[int] = []

    def add(self, sessions: Sessions) -> None:
        """Take in a calendar message; a later word on the same opening replaces the earlier."""
        if sessions.asset_class is AssetClass.US_EQUITY:
            self._spans.update(sessions.spans)
            self._opens = sorted(self._spans)

    def is_open(self, asset_class: AssetClass, ts_ns: int) -> bool:
        """Tell whether the regular session is open at `ts_ns` (open inclusive, close exclusive)."""
        if asset_class is AssetClass.CRYPTO:
            return True
        index = bisect_right(self._opens, ts_ns) - 1
        return index >= 0 and ts_ns < self._spans[self._opens[index]]

    def closes(self, asset_class: AssetClass, from_ns: int, to_ns: int, step_ns: int) -> int:
        """Count the intervals of length `step_ns` that end in (from_ns, to_ns] and lie in a regular session."""
        if asset_class is AssetClass.CRYPTO:
            return max(0, to_ns // step_ns - from_ns // step_ns)
        count = 0
        for opened in self._opens[max(0, bisect_right(self._opens, from_ns) - 1) :]:
            if opened >= to_ns:
                break
            first, last = max(from_ns, opened), min(to_ns, self._spans[opened])
            count += max(0, last // step_ns - first // step_ns)
        return count

    def between(self, from_ns: int, to_ns: int) -> list[tuple[int, int]]:
        """Give opening and close of the regular sessions that have a part in [from_ns, to_ns), by time."""
        index = max(0, bisect_right(self._opens, from_ns) - 1)
        found: list[tuple[int, int]] = []
        while index < len(self._opens) and (opened := self._opens[index]) < to_ns:
            if (closed := self._spans[opened]) > from_ns:
                found.append((opened, closed))
            index += 1
        return found

    def coming(self, ts_ns: int) -> tuple[int, int]:
        """Give the first session that opens after `ts_ns`, ns UTC; (0, 0) if none is known."""
        index = bisect_right(self._opens, ts_ns)
        return (self._opens[index], self._spans[self._opens[index]]) if index < len(self._opens) else (0, 0)

    def closed_ns(self, ts_ns: int) -> int:
        """Give when the session that is or was last open at `ts_ns` closes or closed, ns UTC; 0 if none is known."""
        return self._spans.get(self.opened_ns(ts_ns), 0)

    def opened_ns(self, ts_ns: int) -> int:
        """Give when the session that is or was last open at `ts_ns` opened, ns UTC; 0 if none is known."""
        index = bisect_right(self._opens, ts_ns) - 1
        return self._opens[index] if index >= 0 else 0

    def of_bar(self, asset_class: AssetClass, ts_ns: int) -> tuple[int, int]:
        """Give opening and close of the session that a bar which closes at `ts_ns` is of, or comes after, ns UTC.

        Of crypto that is the day of New York; (0, 0) where none is known.
        """
        if asset_class is AssetClass.CRYPTO:
            opened = midnight_before(ts_ns - 1)
            return opened, midnight_before(opened + 36 * 60 * NS_PER_MINUTE)
        opened = self.opened_ns(ts_ns - 1)
        return opened, self._spans.get(opened, 0)

    def day_start(self, ts_ns: int) -> int:
        """Give when the trading day of `ts_ns` began: at the last midnight of New York, for every asset."""
        return midnight_before(ts_ns)

    def open_before(self, ts_ns: int, span_ns: int) -> int:
        """Give the time since when a market was open for `span_ns` up to `ts_ns`; 0 where no known sessions reach."""
        index = bisect_right(self._opens, ts_ns) - 1
        while index >= 0:
            opened = self._opens[index]
            until = min(ts_ns, self._spans[opened])
            if until - opened >= span_ns:
                return until - span_ns
            span_ns -= until - opened
            index -= 1
        return 0

    @property
    def first_open(self) -> int:
        """Opening of the first known session, ns UTC; 0 if none is known."""
        return self._opens[0] if self._opens else 0

    @property
    def last_close(self) -> int:
        """Close of the last known session, ns UTC; 0 if none is known."""
        return self._spans[self._opens[-1]] if self._opens else 0
