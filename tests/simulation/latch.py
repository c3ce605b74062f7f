"""The latch file of one seed, which outlives every role: streams.latch.Latch without a disk."""

from __future__ import annotations

from engine.ids import make_id
from streams.latch import LatchNote


class Latch:
    """Set or not.

    Attributes:
        spans: Venue times between which it was set, ns; the end of one that is set is 0.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self._note: LatchNote | None = None

    def is_set(self) -> bool:
        return self._note is not None

    def read(self) -> LatchNote | None:
        return self._note

    def named(self, ts_event: int) -> LatchNote | None:
        return self._note

    def set(self, reason: str, by: str, ts_event: int) -> LatchNote:
        if self._note is None:
            self._note = LatchNote(make_id("latch", str(ts_event)), reason, by, ts_event)
            self.spans.append((ts_event, 0))
        return self._note

    def clear(self, now_ns: int) -> None:
        if self._note is not None:
            self._note = None
            self.spans[-1] = (self.spans[-1][0], now_ns)

    def held(self, ns: int) -> bool:
        """Whether it was set at a moment."""
        return any(begin < ns and (not end or ns < end) for begin, end in self.spans)
