"""Makes the strategies of a symbol anew: after a split, after corrections, and when older bars came to be known.

They are then as if all had been known always; nothing is said on the way. Part of signals; pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from engine.frames import FrameTable
from engine.messages import Bar, PastBars, Split
from engine.moving import Moving
from engine.slots import Slots
from engine.splits import SplitBook, after_split
from engine.values import MINUTE_BAR


class Renewing:
    """Splits, and what is to be made anew with the next bar of its symbol.

    Attributes:
        splits: Every split that is known.
    """

    def __init__(self, slots: Slots, frames: FrameTable, moving: Moving, splits: SplitBook) -> None:
        self._slots = slots
        self._frames = frames
        self._moving = moving
        self._due: dict[str, list[int]] = {}  # by symbol, closes of bars that were corrected
        self.splits = splits

    def state(self) -> tuple[list[Split], dict[str, list[int]]]:
        """Give everything, for pickling."""
        return list(self.splits.known.values()), self._due

    def restore(self, state: tuple[list[Split], dict[str, list[int]]]) -> None:
        """Take a state back."""
        splits, self._due = state
        for split in splits:
            self.splits.add(split)

    def on_split(self, split: Split, history: Iterable[Bar], newest_ns: int) -> None:
        """Make the strategies of a symbol anew, in shares of after a split."""
        self.splits.add(split)
        of_symbol = self._chained(split.new_symbol, history)
        bars = self._frames.renew(split.new_symbol, of_symbol, newest_ns) | {MINUTE_BAR: minutes_of(of_symbol)}
        bars |= self._frames.seconds.on_split(split)
        for slot in self._slots.of(split.symbol) or []:
            fills, slot.fills = [after_split(told, split) for told in slot.fills], []
            heir = self._slots.find(slot.bot, split.new_symbol) or slot
            heir.fills = sorted((*heir.fills, *fills), key=attrgetter("ts_event"))
        for slot in self._slots.of(split.new_symbol) or []:
            if slot.last is not None and split.symbol == slot.symbol and slot.last[0] <= split.ts_event:
                closed, revision, price = slot.last
                slot.last = closed, revision, price / float(split.ratio)
            self._moving.remake(slot, bars)

    def on_revisions(self, bars: Iterable[Bar]) -> None:
        """Note that bars were corrected."""
        for bar in bars:
            self._note(self.splits.chained(bar).symbol).append(bar.ts_event)

    def on_past(self, past: PastBars) -> None:
        """Note that there are bars from before the first."""
        for bar in past.every()[-1:]:
            self._note(self.splits.chained(bar).symbol)

    def _note(self, symbol: str) -> list[int]:
        if self._slots.of(symbol) is None or self._slots.are_many():
            return []
        return self._due.setdefault(symbol, [])

    def needs_past(self, bar: Bar) -> set[str]:
        """Name the symbols whose past `renew` needs with a bar; none: it needs none."""
        today = self.splits.chained(bar)
        is_due = today.symbol in self._due or self._frames.is_late(today)
        if bar.revision or not is_due or self._slots.are_many():
            return set()
        if any(slot.last is not None and bar.ts_event <= slot.last[0] for slot in self._slots.of(today.symbol) or ()):
            return set()  # it is refused
        return {bar.symbol} | self.splits.names(today.symbol)

    def renew(self, bar: Bar, history: Iterable[Bar], newest_ns: int) -> None:
        """Make the strategies of a bar's symbol anew, from the bars before it as they are now."""
        before = [one for one in self._chained(bar.symbol, history) if one.ts_event < bar.ts_event]
        due, late = self._due.pop(bar.symbol, None), [bar] if self._frames.is_late(bar) else []
        changed = {*(due or ()), *(one.ts_event for one in late)}
        bars = self._frames.correct(bar.symbol, changed, [*before, *late], newest_ns)
        bars |= {} if due is None else {MINUTE_BAR: minutes_of(before)}
        for slot in self._slots.of(bar.symbol) or []:
            self._moving.remake(slot, bars, is_whole=True)

    def _chained(self, symbol: str, history: Iterable[Bar]) -> list[Bar]:
        return [bar for bar in map(self.splits.chained, history) if bar.symbol == symbol]


def minutes_of(bars: Iterable[Bar]) -> list[Bar]:
    """Give the 1-minute bars among them."""
    return [bar for bar in bars if bar.timeframe == MINUTE_BAR]
