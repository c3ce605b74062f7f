"""Which bars from before the first that there is strategies are warmed up with: what to ask the venue for, and when.

Invariants:
1. A symbol's past ends where its bars in the stream begin, so no bar is of both.
2. It is one message per symbol and timeframe: it is there as a whole, or not at all.
3. What was asked for is not asked again while the stream has it; what did not come is, at the next occasion. Each
   number of bars is asked for by itself: what is stored follows from what bots want, whoever was heard of first.
4. Bars of longer timeframes are made by engine.frames, as those of the stream are: of the venue's bars of 30 minutes or
   less, whose ends are ends of theirs, too.
Called by streams/feeding/warming, which fetches, and by backtests. Never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import batched

import msgspec

from engine.bots import Bot
from engine.frames import DAY, Frames, span_of
from engine.ids import make_id
from engine.messages import Bar, OldBar, PastBars
from engine.sessions import SessionTable
from engine.strategies import make, past_bars_of
from engine.values import (
    MINUTE_BAR,
    NS_PER_DAY,
    NS_PER_MINUTE,
    AssetClass,
    asset_class_of,
    is_derived,
    is_seconds,
    timeframe_ns,
)

Wanted = tuple[str, str, int]
"""Symbol, timeframe, and how many bars of it."""

_PARTS = (30, 15, 10, 5)
"""Minutes of the venue's bars that longer ones are made of: sessions begin and end on multiples of them."""
_TOGETHER_MAX = 25
_BARS_MAX = 100_000
"""Most bars of one question, about: shares trade in two thirds of all hours of a day at most."""
_SESSION_NS = 390 * NS_PER_MINUTE


def past_bars_wanted(bot: Bot) -> int:
    """Give how many past bars a bot is warmed up with."""
    if is_seconds(bot.timeframe):
        return 0
    try:
        return past_bars_of(make(bot.source, bot.params), bot.warm_up_bars)
    except (Exception, SystemExit):  # noqa: BLE001  (whoever looks at the definition says it better)
        return 0


class PastAsk(msgspec.Struct, frozen=True):
    """A question to history: bars whose close lies in (from_ns, to_ns].

    Attributes:
        timeframe: Of the bars that are wanted.
        fetched: Timeframe of the bars they are made of.
        bars: How many are wanted of each symbol.
        minutes_from_ns: 1-minute bars after this are asked for, too: of the frame that is not over at `to_ns`.
    """

    asset_class: AssetClass
    symbols: tuple[str, ...]
    timeframe: str
    fetched: str
    bars: int
    from_ns: int
    to_ns: int
    minutes_from_ns: int


class PastCore:
    """What was asked for.

    Args:
        sessions: The calendar, kept up by the owner.
        known: What the stream has.
    """

    def __init__(self, sessions: SessionTable, known: Iterable[Wanted] = ()) -> None:
        self._sessions = sessions
        self._asked = set(known)

    def missing(self, wanted: Iterable[Wanted]) -> list[Wanted]:
        """Give what was not asked for yet, and can be: of shares when the calendar is known."""
        is_known = self._sessions.first_open > 0
        new = sorted(set(wanted) - self._asked)
        return [one for one in new if is_known or asset_class_of(one[0]) is AssetClass.CRYPTO]

    def asks(self, missing: Sequence[Wanted], since: Mapping[str, int], now_ns: int) -> list[PastAsk]:
        """Give the questions; what is asked now is not missing any more, unless `on_failed`.

        Args:
            missing: What to ask for.
            since: Close of the first bar that the stream has or will have, less its length, by symbol, ns UTC.
            now_ns: Venue time.
        """
        together: dict[tuple[AssetClass, str, int, int], list[str]] = {}
        self._asked |= set(missing)
        for symbol, timeframe, count in missing:
            together.setdefault((asset_class_of(symbol), timeframe, count, since[symbol]), []).append(symbol)
        asks: list[PastAsk] = []
        for (asset_class, timeframe, count, to_ns), symbols in together.items():
            from_ns = self._begin(asset_class, timeframe, count, now_ns)
            if from_ns >= to_ns:
                continue  # the stream reaches far enough
            frame = span_of(self._sessions, asset_class, timeframe, to_ns + NS_PER_MINUTE)
            begin = to_ns if frame is None or not is_derived(timeframe) else min(frame[0], to_ns)
            fetched = _part_of(timeframe)
            each = (to_ns - from_ns) // timeframe_ns(fetched) // (1 if asset_class is AssetClass.CRYPTO else 2)
            together_max = max(1, min(_TOGETHER_MAX, _BARS_MAX // max(1, each)))
            asks += [
                PastAsk(asset_class, some, timeframe, fetched, count, from_ns, to_ns, begin)
                for some in batched(symbols, together_max)
            ]
        return asks

    def on_past(self, ask: PastAsk, bars: Sequence[Bar], minutes: Sequence[Bar], now_ns: int) -> list[PastBars]:
        """Give what is to be stored of an answer: nothing of symbols of which nothing came.

        Args:
            ask: The question.
            bars: Of timeframe `ask.fetched`, by time.
            minutes: 1-minute bars after `ask.minutes_from_ns`, by time.
            now_ns: Venue time.
        """
        olds = {symbol: list[OldBar]() for symbol in ask.symbols}
        rest = {symbol: list[OldBar]() for symbol in ask.symbols}
        for bar in self._made(ask, bars):
            olds[bar.symbol].append(_old(bar))
        for bar in minutes:
            rest[bar.symbol].append(_old(bar))
        found: list[PastBars] = []
        for symbol in ask.symbols:
            kept, of_rest = tuple(olds[symbol][-ask.bars :]), tuple(rest[symbol])
            if kept or of_rest:
                past_id = make_id("past", symbol, ask.timeframe, ask.bars, ask.from_ns, ask.to_ns, repr(kept + of_rest))
                span = ask.from_ns, ask.to_ns
                found.append(PastBars(past_id, symbol, ask.timeframe, ask.bars, *span, kept, of_rest, now_ns))
        return found

    def forget(self, gone: Iterable[Wanted]) -> None:
        """Take back that these were asked for: the stream does not have them any more."""
        self._asked -= set(gone)

    def on_failed(self, ask: PastAsk) -> None:
        """Take back that this was asked for."""
        self.forget((symbol, ask.timeframe, ask.bars) for symbol in ask.symbols)

    def _made(self, ask: PastAsk, bars: Iterable[Bar]) -> list[Bar]:
        if not is_derived(ask.timeframe):
            return list(bars)
        frames, done = dict[str, Frames](), list[Bar]()
        for bar in bars:
            made = frames.setdefault(bar.symbol, Frames(bar.symbol, ask.timeframe, 0))
            done += made.on_bar(self._sessions, bar)
        return done + [bar for made in frames.values() for bar in made.on_time(ask.to_ns)]

    def _begin(self, asset_class: AssetClass, timeframe: str, count: int, now_ns: int) -> int:
        """Give a moment, on a minute, since when there should have been as many bars: half the minutes may be quiet."""
        length = (count + 1) * timeframe_ns(timeframe) * (1 if timeframe == DAY else 2)
        if asset_class is AssetClass.CRYPTO:
            begin = now_ns - length - (NS_PER_DAY if timeframe == DAY else 0)
        else:
            open_ns = (count + 1) * _SESSION_NS if timeframe == DAY else length
            begin = self._sessions.open_before(now_ns, open_ns) or self._sessions.first_open
        return begin // NS_PER_MINUTE * NS_PER_MINUTE


def _part_of(timeframe: str) -> str:
    """Give the longest of the venue's timeframes of which bars of a timeframe are made without a rest."""
    if not is_derived(timeframe):
        return MINUTE_BAR
    minutes = timeframe_ns(timeframe) // NS_PER_MINUTE
    return f"{next((part for part in _PARTS if minutes % part == 0), 1)}m"


def _old(bar: Bar) -> OldBar:
    return bar.ts_event, bar.open, bar.high, bar.low, bar.close, bar.volume
