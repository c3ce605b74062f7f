"""Moves one bot in one symbol: by a bar of a minute, by one made of others, to a moment without any.

Pure; called by engine.signals, which knows what comes when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.asking import Asking
from engine.bots import EVERY_TICK
from engine.frames import FrameTable
from engine.messages import Bar, Signal
from engine.pacing import may_wait
from engine.ports import Trade
from engine.slots import Slots
from engine.speech import Speech
from engine.values import is_derived, is_seconds
from engine.versions import Slot, Version


class Moving:
    """What every step of a bot in a symbol has in common, whatever brings it about."""

    def __init__(self, asking: Asking, slots: Slots, frames: FrameTable, speech: Speech) -> None:
        self._asking = asking
        self._pace = asking.pace
        self._counters = asking.counters
        self._slots = slots
        self._frames = frames
        self._speech = speech

    def on_minute(self, slot: Slot, bar: Bar, signals: list[Signal]) -> None:
        """Move a bot in a symbol by a 1-minute bar; where it looks at longer ones, let it say what waits."""
        self._come_before(slot, bar)
        active = slot.active
        if active is None:
            return
        if slot.last is not None and bar.ts_event <= slot.last[0]:
            self._counters.refused += 1
        elif bar.timeframe == active.bot.timeframe:
            self._decide(slot, active, bar, signals)
            slot.last = bar.ts_event, bar.revision, bar.close
        else:
            slot.last = bar.ts_event, bar.revision, bar.close
            said = None if _is_late(slot, active, bar) else self._pace.said(slot, active, bar.ts_event, None, {})
            if said is not None:
                signals.append(self._speech.of_bar(active, bar, *said))
        self._pace.follow(slot)

    def on_frame(self, slot: Slot, frame: Bar, signals: list[Signal]) -> None:
        """Move a bot in a symbol by a bar made of others, if it looks at such."""
        self._come_before(slot, frame)
        active = slot.active
        if active is not None and active.is_news(frame):
            self._decide(slot, active, frame, signals)
        self._pace.follow(slot)

    def on_trade(self, slot: Slot, trade: Trade, minutes: Sequence[Bar], signals: list[Signal]) -> None:
        """Ask a bot that looks at every tick what it wants, by the bar that is forming.

        A version decides at trades from the first bar after its `from_ts` on: until then corrections and older bars
        that it was warmed up with may not count yet. The one before it decides nothing any more.

        Args:
            slot: Bot and symbol.
            trade: The trade.
            minutes: That are forming with it, by time.
            signals: To which what is said is added.
        """
        active, last = slot.active, 0 if slot.last is None else slot.last[0]
        slot.traded = max(slot.traded, trade.ts_event)
        if active is None or active.bot.trading_frequency != EVERY_TICK or not active.from_ts < last <= trade.ts_event:
            return
        if slot.coming and slot.coming[0].from_ts < trade.ts_event:
            return
        bars = minutes
        if is_seconds(active.bot.timeframe):
            bars = list(filter(active.is_news, self._frames.seconds.forming(slot.symbol, active.bot.timeframe)))
        elif is_derived(active.bot.timeframe):
            bars = self._frames.forming(slot.symbol, active.bot.timeframe, minutes)
        if not bars:
            return
        target, values = self._asking.at_tick(slot, active, trade, bars)
        before = slot.published, slot.emitted_until, slot.owes_flat
        said = self._pace.said(slot, active, trade.ts_event, target, values)
        if before != (slot.published, slot.emitted_until, slot.owes_flat):
            self._pace.follow(slot)
        if said is not None:
            signals.append(self._speech.at_tick(active, minutes[-1], trade, *said))

    def remake(self, slot: Slot, bars: Mapping[str, Sequence[Bar]], *, is_whole: bool = False) -> None:
        """Make the strategies of a bot in a symbol anew from bars, which are as if they had been so always.

        Nothing is said on the way; what the strategy that decides wants after the last one may wait for its moment.

        Args:
            slot: Bot and symbol.
            bars: By timeframe, by time; strategies that look at another one stay as they are.
            is_whole: So do strategies that know of bars from before these: they would know less.
        """
        for version in slot.versions():
            if version.strategy is None or version.bot.timeframe not in bars:
                continue
            past = version.known_of(bars[version.bot.timeframe])
            if is_whole and (not past or 0 < version.first_ts < past[0].ts_event):
                continue
            with self._asking.silently(version):
                target, last = self._asking.learn(slot, version, past)
                if version is slot.active:
                    slot.wish = None
                    may = may_wait(version.bot) and not slot.is_behind
                    if target is not None and last is not None and not last.is_backfill and may:
                        values = self._asking.values(slot, version, last, target)
                        slot.wish = (target, values) if values else None
        self._pace.plan(slot)

    def on_quiet(self, frame: Bar, signals: list[Signal]) -> None:
        """Move every bot in a symbol by a bar that is closed because time has passed: after the moments before that."""
        for slot in self._slots.of(frame.symbol) or ():
            if all(version.bot.timeframe != frame.timeframe for version in slot.versions()):
                continue
            self.on_frame(slot, frame, signals)
            if slot.active is not None and slot.active.bot.timeframe == frame.timeframe:
                slot.seen = max(slot.seen, frame.ts_event + self._frames.lead_ns - 1)  # moments before it are over
                self._pace.plan(slot)

    def _come_before(self, slot: Slot, bar: Bar) -> None:
        """Let the versions take over whose time comes before a bar, and warm up those that come after it."""
        self._take_over(slot, bar.ts_event)
        for version in slot.coming:
            self._asking.move(slot, version, bar)

    def _take_over(self, slot: Slot, ts_ns: int) -> None:
        while slot.coming and ts_ns > slot.coming[0].from_ts:
            slot.take_over()
            self._frames.keep(slot.symbol, self._slots.timeframes(slot.symbol))

    def _decide(self, slot: Slot, active: Version, bar: Bar, signals: list[Signal]) -> None:
        """Ask the strategy of the version that decides about its next bar."""
        self._counters.evaluated += 1
        target = self._asking.move(slot, active, bar)
        values = self._asking.values(slot, active, bar, target)
        target = self._asking.sensible(slot, active, bar, target, values)
        if active.bot.publish_indicators:
            self._asking.show(slot, active, bar)
        is_late = _is_late(slot, active, bar)
        said = self._pace.said(slot, active, bar.ts_event, target, values or {}, is_late=is_late)
        if said is not None:
            signals.append(self._speech.of_bar(active, bar, *said))

    def speak_at(self, slot: Slot, ts: int, signals: list[Signal]) -> None:
        """Say what a bot wants at a moment without a bar, with the last price known."""
        for frame in self._frames.until(slot.symbol, ts):
            self.on_quiet(frame, signals)
        self._take_over(slot, ts)
        active, (target, values) = slot.active, slot.wish or (None, {})
        if active is not None and active.from_ts < ts and slot.last is not None:
            said = self._pace.said(slot, active, ts, target, values)
            signal = None if said is None else self._speech.at_moment(slot, active, ts, *said)
            signals += [] if signal is None else [signal]
        slot.seen = max(slot.seen, ts)
        self._pace.plan(slot)


def _is_late(slot: Slot, active: Version, bar: Bar) -> bool:
    """Whether nothing is said at a bar any more: what is said goes on in time, for a later life goes on from the last.

    It was fetched long after its close; or the version that decides does so from a later time on; or a bot of every
    tick was asked at trades from after it, for those of the next minute come before the bar of this one.
    """
    is_asked = active.bot.trading_frequency == EVERY_TICK and slot.traded > bar.ts_event
    return bar.is_backfill or is_asked or bar.ts_event <= active.from_ts
