"""Bars of longer timeframes, made of 1-minute bars: 2m to 12h and 1d, within the sessions of the calendar.

| bar of | frames are counted from | and end at the latest at |
|---|---|---|
| US equities, regular session | its opening | its close: on half days too |
| US equities, outside of it | midnight of New York, or the close | the opening, or the next midnight |
| crypto | midnight of New York | the next midnight |

`1d` is the regular session, of crypto the day of New York; bars outside of the session belong to no day.

Invariants:
1. A frame follows from the bars in it alone, and is closed once: by the bar that ends with it, by a later one of its
   symbol, or, where its symbol is quiet, a minute after its end by the bars of others.
2. Minutes without a trade add nothing; a frame without any bar is none.
3. A frame of which the beginning was not seen, because bars are only known from later on, is left out.
Pure; called by engine.signals.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

import msgspec

from engine.errors import ConfigError
from engine.messages import Bar
from engine.sessions import SessionTable
from engine.values import MINUTE_BAR, NS_PER_MINUTE, AssetClass, asset_class_of, timeframe_ns
from engine.zones import midnight_before

DAY = "1d"
_DAY_AND_A_HALF_NS = 36 * 60 * NS_PER_MINUTE


def check_timeframe(timeframe: str) -> None:
    """Refuse a timeframe that bars cannot be made of. Raises ConfigError."""
    try:
        length = timeframe_ns(timeframe)
    except ValueError as err:
        raise ConfigError(str(err)) from None
    minutes, rest = divmod(length, NS_PER_MINUTE)
    known = f"{minutes}m" if minutes % 60 else f"{minutes // 60}h"
    if rest or (timeframe != DAY and (minutes > 12 * 60 or timeframe != known)):
        msg = f"timeframe must be 1m to 59m, 1h to 12h, 90m and the like, or 1d, was {timeframe!r}"
        raise ConfigError(msg)


def span_of(sessions: SessionTable, asset_class: AssetClass, timeframe: str, ts_ns: int) -> tuple[int, int] | None:
    """Give begin and end of the frame that a 1-minute bar closing at `ts_ns` is of, ns UTC; None: of none."""
    at = ts_ns - NS_PER_MINUTE
    opened, closed = sessions.of_bar(asset_class, ts_ns)
    is_within = opened <= at < closed
    if timeframe == DAY:
        return (opened, closed) if is_within else None
    if not is_within:
        midnight = midnight_before(at)
        until, (coming, _) = midnight_before(midnight + _DAY_AND_A_HALF_NS), sessions.coming(at)
        opened, closed = max(midnight, closed if closed <= at else 0), min(until, coming or until)
    length = timeframe_ns(timeframe)
    begin = opened + (at - opened) // length * length
    return begin, min(begin + length, closed)


class Frames:
    """The frames of one symbol in one timeframe. Plain attributes: they are pickled as they are.

    Args:
        symbol: Whose.
        timeframe: Longer than a minute.
        told_until: Frames up to here are not to be told, ns UTC.

    Attributes:
        end: End of the frame that is forming; 0: none is.
        told_until: End of the last frame that was told.
    """

    __slots__ = ("_asset_class", "_begin", "_forming", "_last", "_since", "end", "symbol", "timeframe", "told_until")

    def __init__(self, symbol: str, timeframe: str, told_until: int) -> None:
        self.symbol = symbol
        self.timeframe = timeframe
        self.told_until = told_until
        self.end = 0
        self._asset_class = asset_class_of(symbol)
        self._begin = 0
        self._forming: Bar | None = None
        self._since = self._last = 0

    def on_bar(self, sessions: SessionTable, bar: Bar) -> list[Bar]:
        """Take in a 1-minute bar; give the frames that it closes. One at or before the last one, or its frame, is none.

        Args:
            sessions: The calendar.
            bar: Of this symbol.
        """
        if bar.ts_event <= self._last:
            return []
        self._since = self._since or bar.ts_event - NS_PER_MINUTE
        done = self.on_time(bar.ts_event - 1)
        self._last = bar.ts_event
        if self._forming is None:
            span = span_of(sessions, self._asset_class, self.timeframe, bar.ts_event)
            if span is None:
                return done
            self._begin, self.end = span
            self._forming = msgspec.structs.replace(bar, timeframe=self.timeframe, ts_event=self.end, revision=0)
        else:
            self._forming = _joined(self._forming, bar)
        return done + self.on_time(bar.ts_event)

    def on_time(self, ts_ns: int) -> list[Bar]:
        """Close the frame that is over at a moment; give it, if it is whole."""
        if self._forming is None or self.end > ts_ns:
            return []
        done, is_whole = self._forming, self._begin >= self._since
        self._last = max(self._last, self.end)
        self._forming, self.end = None, 0
        return [done] if is_whole else []


class FrameTable:
    """The frames that somebody asked for, by symbol.

    Args:
        sessions: The calendar.
    """

    def __init__(self, sessions: SessionTable) -> None:
        self._sessions = sessions
        self._of: dict[str, dict[str, Frames]] = {}
        self._agenda: list[tuple[int, str, str]] = []
        self._closed: list[Bar] = []

    def state(self) -> dict[str, dict[str, Frames]]:
        """Give everything, for pickling."""
        return self._of

    def restore(self, state: dict[str, dict[str, Frames]]) -> None:
        """Take a state back."""
        self._of = state
        self._agenda = [
            (one.end, symbol, timeframe)
            for symbol, every in state.items()
            for timeframe, one in every.items()
            if one.end
        ]
        heapq.heapify(self._agenda)

    def keep(self, symbol: str, wanted: Iterable[str]) -> None:
        """Forget the timeframes of a symbol that nobody asks for any more."""
        known = self._of.get(symbol, {})
        for timeframe in set(known) - set(wanted):
            del known[timeframe]
        if not known:
            self._of.pop(symbol, None)

    def learn(self, symbol: str, timeframe: str, history: Iterable[Bar], now_ns: int, told_until: int) -> list[Bar]:
        """Make the frames of the past, and go on from there where nobody asked for them before.

        Args:
            symbol: Whose.
            timeframe: Which.
            history: Its 1-minute bars, by time.
            now_ns: Close of the newest bar of any symbol.
            told_until: Frames up to here are not to be told.
        """
        made = Frames(symbol, timeframe, told_until)
        done = [frame for bar in history for frame in made.on_bar(self._sessions, bar)]
        done += made.on_time(now_ns - NS_PER_MINUTE)
        self._of.setdefault(symbol, {}).setdefault(timeframe, made)
        self._plan(self._of[symbol][timeframe])
        return done

    def renew(self, symbol: str, history: Iterable[Bar], now_ns: int) -> dict[str, list[Bar]]:
        """Make all frames of a symbol anew from its 1-minute bars; give those that are closed, by timeframe."""
        bars, before = list(history), self._of.pop(symbol, {})
        return {name: self.learn(symbol, name, bars, now_ns, one.told_until) for name, one in before.items()}

    def on_bar(self, bar: Bar) -> list[Bar]:
        """Take in a 1-minute bar; give the frames of its symbol that it closes, by their end."""
        done: list[Bar] = []
        for one in self._of.get(bar.symbol, {}).values():
            before = one.end
            done += one.on_bar(self._sessions, bar)
            if one.end != before:
                self._plan(one)
        return self._noted(_by_end(done))

    def due(self, now_ns: int) -> list[Bar]:
        """Give the frames of quiet symbols that ended a minute ago or before, by their end, and close them."""
        done: list[Bar] = []
        while self._agenda and self._agenda[0][0] + NS_PER_MINUTE <= now_ns:
            end, symbol, timeframe = heapq.heappop(self._agenda)
            one = self._of.get(symbol, {}).get(timeframe)
            if one is not None and one.end == end:
                done += one.on_time(end)
        return self._noted(done)

    def until(self, symbol: str, ts_ns: int) -> list[Bar]:
        """Close the frames of a symbol that are over at a moment; give them by their end."""
        done = [frame for one in self._of.get(symbol, {}).values() for frame in one.on_time(ts_ns)]
        return self._noted(_by_end(done))

    def on_told(self, symbol: str, timeframe: str, ts_ns: int) -> None:
        """Learn from the stream up to where frames were told."""
        one = self._of.get(symbol, {}).get(timeframe)
        if one is not None:
            one.told_until = max(one.told_until, ts_ns)

    def take_closed(self) -> list[Bar]:
        """Give the frames that were closed since the last call and not told yet."""
        closed, self._closed = self._closed, []
        return closed

    def _noted(self, done: list[Bar]) -> list[Bar]:
        for frame in done:
            one = self._of[frame.symbol][frame.timeframe]
            if frame.ts_event > one.told_until:
                one.told_until = frame.ts_event
                self._closed.append(frame)
        return done

    def _plan(self, one: Frames) -> None:
        if one.end:
            heapq.heappush(self._agenda, (one.end, one.symbol, one.timeframe))


def frames_of(sessions: SessionTable, timeframe: str, bars: Iterable[Bar]) -> Iterator[Bar]:
    """Give the bars of a longer timeframe that 1-minute bars of many symbols close.

    Args:
        sessions: The calendar.
        timeframe: Which.
        bars: By time.
    """
    made: dict[str, Frames] = {}
    for bar in bars:
        yield from made.setdefault(bar.symbol, Frames(bar.symbol, timeframe, 0)).on_bar(sessions, bar)


def is_derived(timeframe: str) -> bool:
    """Whether bars of a timeframe are made of others."""
    return timeframe != MINUTE_BAR


def _by_end(frames: list[Bar]) -> list[Bar]:
    return sorted(frames, key=lambda frame: (frame.ts_event, frame.timeframe))


def _joined(frame: Bar, bar: Bar) -> Bar:
    """Give a frame with one more bar in it."""
    volume = frame.volume + bar.volume
    counts, vwap = (frame.trade_count, bar.trade_count), None
    if frame.vwap is not None and bar.vwap is not None:
        vwap = (frame.vwap * frame.volume + bar.vwap * bar.volume) / volume if volume else frame.vwap
    return msgspec.structs.replace(
        frame,
        high=max(frame.high, bar.high),
        low=min(frame.low, bar.low),
        close=bar.close,
        volume=volume,
        trade_count=None if counts[0] is None or counts[1] is None else counts[0] + counts[1],
        vwap=vwap,
        is_backfill=bar.is_backfill,
    )
