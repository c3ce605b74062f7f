"""When a bot may speak: its window, in ns, within the sessions of the calendar. Pure; called by engine.signals.

Fails closed: outside of every session that is known no window within market hours is open.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.bots import Bot
from engine.sessions import SessionTable
from engine.values import NS_PER_S, AssetClass
from engine.window import DAYS, Window, minutes
from engine.zones import day_of, moment

_DAYS_AHEAD = 15
"""Of longer breaks of a window nothing is known until they are over: market holidays last four days at most."""
_LAST_ORDER_NS = 60 * NS_PER_S
"""At the close itself no order is filled any more."""


class Span(msgspec.Struct, frozen=True):
    """Once that a window is open: from `opens` until before `flat_at`, ns UTC.

    Attributes:
        opens: Its beginning.
        flat_at: When positions are closed; `ends` where they stay.
        ends: Its end.
    """

    opens: int
    flat_at: int
    ends: int


class Hours:
    """The open times of every bot, from its definition and the calendar."""

    def __init__(self, sessions: SessionTable) -> None:
        self._sessions = sessions
        self._spans: dict[tuple[Window, bool], tuple[int, int, Span | None]] = {}

    def forget(self) -> None:
        """Ask the calendar anew."""
        self._spans.clear()

    def speaks(self, bot: Bot, asset_class: AssetClass, ts_ns: int) -> bool:
        """Whether a bot may say at a moment what it wants."""
        if bot.window is not None:
            span = self.span(bot, asset_class, ts_ns)
            return span is not None and span.opens <= ts_ns < span.flat_at
        return self.trades(bot, asset_class, ts_ns)

    def trades(self, bot: Bot, asset_class: AssetClass, ts_ns: int) -> bool:
        """Whether there is a market for a bot at a moment, whatever its window."""
        return bot.session == "any" or self._sessions.is_open(asset_class, ts_ns)

    def must_be_flat(self, bot: Bot, asset_class: AssetClass, ts_ns: int) -> bool:
        """Whether a bot holds nothing at a moment, because its window is over or not open yet."""
        is_flattened = bot.window is not None and bot.window.flatten_before_s is not None
        return is_flattened and not self.speaks(bot, asset_class, ts_ns)

    def next_flat(self, bot: Bot, asset_class: AssetClass, ts_ns: int) -> int:
        """Give the first moment after `ts_ns` at which a bot closes its positions, ns UTC; 0: none is known."""
        if bot.window is None or bot.window.flatten_before_s is None:
            return 0
        span = self.span(bot, asset_class, ts_ns)
        if span is not None and span.flat_at <= ts_ns:
            span = self.span(bot, asset_class, span.ends)
        return 0 if span is None else span.flat_at

    def next_trade(self, bot: Bot, asset_class: AssetClass, ts_ns: int) -> int:
        """Give the first moment after `ts_ns` at which there is a market for a bot, ns UTC; 0: none is known."""
        return ts_ns + 1 if self.trades(bot, asset_class, ts_ns + 1) else self._sessions.coming(ts_ns)[0]

    def next_open(self, bot: Bot, asset_class: AssetClass, ts_ns: int) -> int:
        """Give the first moment after `ts_ns` at which a bot may say what it wants, ns UTC; the next one: unknown."""
        if self.speaks(bot, asset_class, ts_ns + 1):
            return ts_ns + 1
        if bot.window is None:
            return self._sessions.coming(ts_ns)[0] or ts_ns + 1
        span = self.span(bot, asset_class, ts_ns + 1)
        if span is not None and span.flat_at <= ts_ns + 1:
            span = self.span(bot, asset_class, span.ends)
        return ts_ns + 1 if span is None else max(span.opens, ts_ns + 1)

    def span(self, bot: Bot, asset_class: AssetClass, ts_ns: int) -> Span | None:
        """Give the open time of a bot's window that ends first after a moment; None: none is known."""
        window = bot.window
        if window is None:
            return None
        key = (window, window.market_hours or (asset_class is not AssetClass.CRYPTO and bot.session == "regular"))
        since, until, span = self._spans.get(key, (0, 0, None))
        if not since <= ts_ns < until:
            span = next((span for span in self._all(*key, ts_ns) if span.ends > ts_ns), None)
            self._spans[key] = ts_ns, ts_ns + _LAST_ORDER_NS if span is None else span.ends, span
        return span

    def _all(self, window: Window, is_bound: bool, ts_ns: int) -> Iterator[Span]:
        """Give the open times of the days from a moment's on, by time."""
        first = day_of(ts_ns, window.zone)
        for day in range(first, first + _DAYS_AHEAD):
            if DAYS[(day - 1) % 7] not in window.days:
                continue
            opens, ends = (moment(day, minutes(time), window.zone) for time in (window.start, window.end))
            for opened, closed in self._sessions.between(opens, ends) if is_bound else ((opens, 0),):
                until = flat_at = min(ends, closed or ends)
                if window.flatten_before_s is not None:
                    flat_at = until - window.flatten_before_s * NS_PER_S
                    flat_at = min(flat_at, closed - _LAST_ORDER_NS) if closed else flat_at
                if max(opens, opened) < flat_at:
                    yield Span(max(opens, opened), flat_at, until)
