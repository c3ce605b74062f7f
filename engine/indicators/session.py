"""Indicators that begin anew with each session: they are told of it by `Indicator.on_session`, and ask no clock.

A session is the regular one of US equities as the calendar has it, and of crypto the day of New York. Bars that end
outside of it (pre-market, after hours) do not count; the values of the session before stand until the next one begins.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.indicators.catalog import Kind, Param
from engine.messages import Bar
from engine.values import NS_PER_MINUTE


class _OfSession:
    """What both share: when the session is, and the last value."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.last: object = None

    def on_session(self, opened_ns: int, closed_ns: int) -> None:
        """Begin anew."""
        self.opened, self.closed = opened_ns, closed_ns

    def is_in(self, bar: Bar) -> bool:
        """Whether a bar lies in the session."""
        return self.opened < bar.ts_event <= self.closed

    def __getitem__(self, index: int) -> object:
        return self.last

    def __len__(self) -> int:
        return self.last is not None

    def purge_oldest(self, size: int) -> None:
        """Forget nothing: there are no old inputs."""


class SessionVwap(_OfSession):
    """Volume weighted mean of the typical price since the opening."""

    def __init__(self) -> None:
        super().__init__()
        self.paid = self.volume = 0.0

    def on_session(self, opened_ns: int, closed_ns: int) -> None:
        """Begin anew."""
        super().on_session(opened_ns, closed_ns)
        self.paid = self.volume = 0.0

    def add(self, bar: Bar) -> None:
        """Move by one bar."""
        if self.is_in(bar):
            self.paid += (bar.high + bar.low + bar.close) / 3 * bar.volume
            self.volume += bar.volume
            if self.volume:
                self.last = self.paid / self.volume


class Range(NamedTuple):
    """Highest and lowest price."""

    high: float
    low: float


class OpeningRange(_OfSession):
    """High and low of a session's first minutes; until they are over, of those so far."""

    def __init__(self, minutes: int) -> None:
        super().__init__()
        self._span_ns = minutes * NS_PER_MINUTE
        self._is_new = False

    def on_session(self, opened_ns: int, closed_ns: int) -> None:
        """Begin anew."""
        super().on_session(opened_ns, closed_ns)
        self._is_new = True

    def add(self, bar: Bar) -> None:
        """Move by one bar."""
        if not self.is_in(bar) or bar.ts_event > self.opened + self._span_ns:
            return
        if self._is_new or not isinstance(self.last, Range):
            self.last, self._is_new = Range(bar.high, bar.low), False
        else:
            self.last = Range(max(self.last.high, bar.high), min(self.last.low, bar.low))


def bar_of(bar: Bar) -> Bar:
    """Give the bar itself."""
    return bar


SESSION_KINDS: tuple[Kind, ...] = (
    Kind(
        "opening_range", OpeningRange, bar_of, (Param("minutes", 30, 1, 1_440),), lambda _: 1, unit="price",
        about="High and low of the session's first minutes (Crabel 1990); those so far until they are over",
        outputs=("high", "low"),
    ),
    Kind(
        "session_vwap", SessionVwap, bar_of, (), lambda _: 1, unit="price",
        about="Volume weighted average price since the opening",
    ),
)  # fmt: skip
