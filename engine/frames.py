"""Bars of longer timeframes, made of 1-minute bars: 2m to 12h and 1d, within the sessions of the calendar.

| bar of | frames are counted from | and end at the latest at |
|---|---|---|
| US equities, regular session | its opening | its close: on half days too |
| US equities, outside of it | midnight of New York, or the close | the opening, or the next midnight |
| crypto | midnight of New York | the next midnight |

`1d` is the regular session, of crypto the day of New York; bars outside of the session belong to no day.

Invariants:
1. A frame follows from the bars in it alone, and is closed once: by the bar that ends with it, by a later one of its
   symbol, or, where its symbol is quiet, a minute after its end by the bars of others. What is corrected in it, or
   comes late for it, makes a new revision.
2. Minutes without a trade add nothing; a frame without any bar is none.
3. A frame of which the beginning was not seen, because bars are only known from later on, is left out.
Pure; called by engine.signals.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence

import msgspec

from engine.errors import ConfigError
from engine.messages import Bar
from engine.messages.market import PastBar
from engine.seconds import SecondBars, forget
from engine.sessions import SessionTable
from engine.values import MINUTE_BAR, NS_PER_MINUTE, SECONDS, AssetClass, asset_class_of, is_seconds, timeframe_ns
from engine.zones import midnight_before

DAY = "1d"
_KNOWN = f"one of {' '.join(SECONDS)}, 1m to 59m, 1h to 12h, minutes between whole hours (90m), or 1d"
_DAY_AND_A_HALF_NS = 36 * 60 * NS_PER_MINUTE


def check_timeframe(timeframe: str) -> None:
    """Refuse a timeframe that bars cannot be made of. Raises ConfigError."""
    if is_seconds(timeframe):
        return
    try:
        length = timeframe_ns(timeframe)
    except ValueError:
        length = 1  # no whole minute
    minutes, rest = divmod(length, NS_PER_MINUTE)
    known = f"{minutes}m" if minutes % 60 else f"{minutes // 60}h"
    if rest or (timeframe != DAY and (minutes > 12 * 60 or timeframe != known)):
        msg = f"timeframe must be {_KNOWN}, was {timeframe!r}"
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
        closed: End of the frame that was closed last.
        told_from: Frames up to here were never told.
        told_until: End of the newest frame that was told.
        revisions: By end, how often a frame was told anew.
        revised: End and revision of the frame that was told anew last.
        awaited: The same as the stream knows it, where what led to it is still to come: until then all were told.
    """

    __slots__ = (
        "_asset_class", "_begin", "_forming", "_last", "_since", "awaited", "closed", "end", "revised", "revisions",
        "symbol", "timeframe", "told_from", "told_until",
    )  # fmt: skip

    def __init__(self, symbol: str, timeframe: str, told_until: int) -> None:
        self.symbol = symbol
        self.timeframe = timeframe
        self.told_from = self.told_until = told_until
        self.revised: tuple[int, int] | None = None
        self.awaited: tuple[int, int] | None = None
        self.revisions: dict[int, int] = {}
        self.end = 0
        self._asset_class = asset_class_of(symbol)
        self._begin = 0
        self._forming: Bar | None = None
        self._since = self._last = self.closed = 0

    def on_bar(self, sessions: SessionTable, bar: Bar) -> list[Bar]:
        """Take in a 1-minute bar; give the frames that it closes. One at or before the last one, or its frame, is none.

        Args:
            sessions: The calendar.
            bar: Of this symbol.
        """
        if bar.ts_event <= max(self._last, self.closed):
            return []
        self._since = self._since or bar.ts_event - NS_PER_MINUTE
        done = self.on_time(bar.ts_event - 1)
        self._last = bar.ts_event
        if self._forming is None:
            span = span_of(sessions, self._asset_class, self.timeframe, bar.ts_event)
            if span is None:
                return done
            self._begin, self.end = span
            if isinstance(bar, PastBar):
                bar = Bar(**{name: getattr(bar, name) for name in Bar.__struct_fields__})  # what is made of it is not
            self._forming = msgspec.structs.replace(bar, timeframe=self.timeframe, ts_event=self.end, revision=0)
        else:
            self._forming = _joined(self._forming, bar)
        return done + self.on_time(bar.ts_event)

    def of_past(self, sessions: SessionTable, history: Sequence[Bar]) -> list[Bar]:
        """Begin with what is known: frames that were fetched, and after them 1-minute bars. Give all frames, by time.

        Args:
            sessions: The calendar.
            history: Bars of this symbol by time, in any timeframe.
        """
        fetched = [bar for bar in history if bar.timeframe == self.timeframe]
        if fetched:
            self._since = self.closed = fetched[-1].ts_event
            self.told_from, self.told_until = (max(one, self.closed) for one in (self.told_from, self.told_until))
        minutes = [
            bar for bar in history
            if bar.timeframe == MINUTE_BAR and (not isinstance(bar, PastBar) or bar.of == self.timeframe)
        ]  # fmt: skip
        if not fetched and minutes and isinstance(minutes[0], PastBar):
            # They were asked for from the begin of a frame on: until the first trade it was quiet.
            span = span_of(sessions, self._asset_class, self.timeframe, minutes[0].ts_event)
            self._since = 0 if span is None else span[0]
        return [*fetched, *(frame for bar in minutes for frame in self.on_bar(sessions, bar))]

    def on_time(self, ts_ns: int) -> list[Bar]:
        """Close the frame that is over at a moment; give it, if it is whole."""
        if self._forming is None or self.end > ts_ns:
            return []
        done, is_whole = self._forming, self._begin >= self._since
        self.closed, self._forming, self.end = self.end, None, 0
        return [done] if is_whole else []

    def copied(self) -> Frames:
        """Give a copy, to be moved where this one shall stay as it is."""
        other = Frames(self.symbol, self.timeframe, self.told_until)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def rest(self) -> list[Bar]:
        """Give the frame that is forming, if it is whole so far."""
        return [] if self._forming is None or self._begin < self._since else [self._forming]

    def is_late(self, ts_ns: int) -> bool:
        """Whether a new bar comes too late for its frame."""
        return self._last < ts_ns <= self.closed

    def is_news(self, frame: Bar) -> bool:
        """Whether a frame was not told yet; it is told now."""
        if not frame.revision:
            is_new = frame.ts_event > self.told_until
            self.told_until = max(self.told_until, frame.ts_event)
            return is_new
        self.revised = name = frame.ts_event, frame.revision
        awaited = self.awaited
        if awaited is not None and (name == awaited or frame.ts_event > awaited[0] + _DAY_AND_A_HALF_NS):
            self.awaited = None
        return awaited is None


class FrameTable:
    """The frames that somebody asked for, by symbol.

    Args:
        sessions: The calendar.
        wait_ns: How long bars are waited for at a moment without one; less than a minute.

    Attributes:
        seconds: Bars of less than a minute.
        lead_ns: A frame is closed before a moment that lies so long after its end, whichever is known first: until bars
            of others close it all moments before that were said, for they waited for `wait_ns`.
    """

    def __init__(self, sessions: SessionTable, wait_ns: int = 0) -> None:
        self._sessions = sessions
        self.lead_ns = NS_PER_MINUTE - wait_ns
        self._of: dict[str, dict[str, Frames]] = {}
        self._agenda: list[tuple[int, str, str]] = []
        self._closed: list[Bar] = []
        self._told: dict[tuple[str, str], dict[bool, Bar]] = {}
        self.seconds = SecondBars()

    def state(self) -> dict[str, dict[str, Frames]]:
        """Give everything, for pickling."""
        return self._of

    def restore(self, state: dict[str, dict[str, Frames]]) -> None:
        """Take a state back."""
        self._of = state
        for every in state.values():
            for one in every.values():
                one.awaited = None
        self._agenda = [
            (one.end, symbol, timeframe)
            for symbol, every in state.items()
            for timeframe, one in every.items()
            if one.end
        ]
        heapq.heapify(self._agenda)

    def keep(self, symbol: str, wanted: Collection[str]) -> None:
        """Forget the timeframes of a symbol that nobody asks for any more."""
        forget(self._of, symbol, wanted)
        self.seconds.keep(symbol, wanted)

    def learn(self, symbol: str, timeframe: str, history: Sequence[Bar], now_ns: int, told_until: int) -> list[Bar]:
        """Make the frames of the past, and go on from there where nobody asked for them before.

        Args:
            symbol: Whose.
            timeframe: Which.
            history: Its bars by time: 1-minute bars, and longer ones that were fetched.
            now_ns: Close of the newest bar of any symbol.
            told_until: Frames up to here are not to be told.
        """
        made = Frames(symbol, timeframe, told_until)
        done = self._fill(made, history, now_ns - NS_PER_MINUTE)
        if timeframe not in self._of.setdefault(symbol, {}):
            self._of[symbol][timeframe] = made
            self._plan(made)
            for told in [*self._told.get((symbol, timeframe), {}).values()]:
                if told.ts_event > told_until:  # a later life takes in anew whoever asked for it
                    self.on_told(told)
        return done

    def renew(self, symbol: str, history: Sequence[Bar], now_ns: int) -> dict[str, list[Bar]]:
        """Make all frames of a symbol anew from its bars, as `learn`; give those that are closed, by timeframe."""
        done = dict[str, list[Bar]]()
        for name, before in list(self._of.get(symbol, {}).items()):
            made = self._of[symbol][name] = Frames(symbol, name, before.told_from)
            made.told_until, made.revisions = before.told_until, before.revisions
            made.revised, made.awaited = before.revised, before.awaited
            done[name] = self._fill(made, history, max(now_ns - NS_PER_MINUTE, before.closed))
            self._noted([frame for frame in done[name] if frame.ts_event > made.told_until])
            self._plan(made)
        return done

    def _fill(self, made: Frames, history: Sequence[Bar], until_ns: int) -> list[Bar]:
        return made.of_past(self._sessions, history) + made.on_time(until_ns)

    def is_late(self, bar: Bar) -> bool:
        """Whether a new bar comes too late for a frame of its symbol."""
        return any(one.is_late(bar.ts_event) for one in self._of.get(bar.symbol, {}).values())

    def correct(self, symbol: str, changed: Iterable[int], history: Sequence[Bar], now_ns: int) -> dict[str, list[Bar]]:
        """Make all frames of a symbol anew, as `renew`; those that hold a bar that changed are told again.

        Args:
            symbol: Whose.
            changed: Closes of 1-minute bars, ns UTC.
            history: All its bars, as they are now, by time.
            now_ns: Close of the newest bar of any symbol.
        """
        done, asset_class = self.renew(symbol, history, now_ns), asset_class_of(symbol)
        for timeframe, frames in done.items():
            one = self._of[symbol][timeframe]
            spans = [span_of(self._sessions, asset_class, timeframe, ts_ns) for ts_ns in changed]
            ends = {span[1] for span in spans if span is not None} & {frame.ts_event for frame in frames}
            ends = {end for end in ends if one.told_from < end <= one.told_until}
            one.revisions |= {end: one.revisions.get(end, 0) + 1 for end in ends}
            done[timeframe] = [
                msgspec.structs.replace(frame, revision=one.revisions.get(frame.ts_event, 0)) for frame in frames
            ]
            self._noted([frame for frame in done[timeframe] if frame.ts_event in ends])
            one.revisions = {end: count for end, count in one.revisions.items() if end > now_ns - _DAY_AND_A_HALF_NS}
        return done

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
        """Give the frames of quiet symbols whose next minute has passed, too, by their end, and close them."""
        done: list[Bar] = []
        while self._agenda and self._agenda[0][0] + NS_PER_MINUTE <= now_ns:
            end, symbol, timeframe = heapq.heappop(self._agenda)
            one = self._of.get(symbol, {}).get(timeframe)
            if one is not None and one.end == end:
                done += one.on_time(end)
        return self._noted(done)

    def until(self, symbol: str, ts_ns: int) -> list[Bar]:
        """Close the frames of a symbol that come before a moment without a bar; give them by their end."""
        over_ns = ts_ns - self.lead_ns
        done = [frame for one in self._of.get(symbol, {}).values() for frame in one.on_time(over_ns)]
        return self._noted(_by_end(done))

    def forming(self, symbol: str, timeframe: str, minutes: Sequence[Bar]) -> list[Bar]:
        """Give the frames as they would be with more minutes, the last one still forming; nothing is changed by it.

        Args:
            symbol: Whose.
            timeframe: Which.
            minutes: After the last one that was taken in, by time.
        """
        known = self._of.get(symbol, {}).get(timeframe)
        if known is None:
            return []
        one = known.copied()
        done = [frame for bar in minutes for frame in one.on_bar(self._sessions, bar)]
        return done + one.rest()

    def on_told(self, frame: Bar) -> None:
        """Learn from the stream which frame of its kind was told last, or told anew last."""
        self._told.setdefault((frame.symbol, frame.timeframe), {})[frame.revision > 0] = frame
        one = self._of.get(frame.symbol, {}).get(frame.timeframe)
        if one is not None and frame.revision:
            name = frame.ts_event, frame.revision
            one.awaited = None if name == one.revised else name
        elif one is not None:
            one.told_until = max(one.told_until, frame.ts_event)

    def take_closed(self) -> list[Bar]:
        """Give the frames that were closed since the last call and not told yet."""
        closed, self._closed = self._closed, []
        return closed

    def _noted(self, done: list[Bar]) -> list[Bar]:
        for frame in done:
            if self._of[frame.symbol][frame.timeframe].is_news(frame):
                self._closed.append(frame)
        return done

    def _plan(self, one: Frames) -> None:
        if one.end:
            heapq.heappush(self._agenda, (one.end, one.symbol, one.timeframe))


def frames_of(sessions: SessionTable, timeframe: str, bars: Iterable[Bar]) -> list[Bar]:
    """Give the bars of a longer timeframe that bars of many symbols close, by time.

    Args:
        sessions: The calendar.
        timeframe: Which.
        bars: By time, as `Frames.of_past`.
    """
    of: dict[str, list[Bar]] = {}
    for bar in bars:
        of.setdefault(bar.symbol, []).append(bar)
    made = [frame for name, known in of.items() for frame in Frames(name, timeframe, 0).of_past(sessions, known)]
    return sorted(made, key=lambda frame: (frame.ts_event, frame.symbol))


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
