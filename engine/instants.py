"""What comes between the closes of minutes: ticks, and the bars of seconds that they close. Part of signals; pure.

Bots are asked in this order: bars of seconds that a tick closes, of its symbol; then at the tick; then bars of quiet
symbols that are over by its time. A minute closes all bars of seconds in it before it is decided itself.
"""

from __future__ import annotations

from engine.bots import quotes
from engine.bots import ticks as looks_at
from engine.forming import Forming, Tick
from engine.messages import Bar, Signal, Ticks
from engine.moving import Moving
from engine.seconds import SecondBars
from engine.slots import Slots
from engine.versions import Slot, Version


class Instants:
    """The ticks of all symbols.

    Args:
        slots: Every bot in every symbol.
        moving: Moves them.
        seconds: Bars of seconds that somebody asked for.
    """

    def __init__(self, slots: Slots, moving: Moving, seconds: SecondBars) -> None:
        self._slots = slots
        self._moving = moving
        self._seconds = seconds
        self._forming = Forming()
        self._newest = 0

    def state(self) -> tuple[object, object, int]:
        """Give everything, for pickling."""
        return self._forming.state(), self._seconds.state(), self._newest

    def restore(self, state: tuple[object, object, int]) -> None:
        """Take a state back."""
        forming, seconds, self._newest = state
        self._forming.restore(forming)  # type: ignore[arg-type]
        self._seconds.restore(seconds)  # type: ignore[arg-type]

    @property
    def newest_ns(self) -> int:
        """Time of the newest tick, ns UTC."""
        return self._newest

    def on_ticks(self, ticks: Ticks) -> list[Signal]:
        """Ask the bots that look at the ticks of this symbol; return the targets that changed."""
        signals: list[Signal] = []
        slots = [
            slot for slot in self._slots.of(ticks.symbol) or () if slot.active is not None and looks_at(slot.active.bot)
        ]
        traded = [slot.traded for slot in slots]
        for tick in self._forming.on_ticks(ticks):
            now = tick.trade.ts_event
            self._newest = max(self._newest, now)
            self._close(self._seconds.on_tick(tick), signals)
            for slot, before in zip(slots, traded, strict=True):
                # With quotes: one from after it was there before, and what is said goes on in time.
                if slot.active is not None and (not quotes(slot.active.bot) or now > before):
                    self._ask(slot, slot.active, tick, signals)
            self._close(self._seconds.due(now), signals)
        return signals

    def before_bar(self, bar: Bar, signals: list[Signal]) -> None:
        """Close the bars of seconds that come before a minute's bar."""
        self._close(self._seconds.due(bar.ts_event), signals)
        self._close(self._seconds.until(bar.symbol, bar.ts_event), signals)

    def on_bar(self, bar: Bar) -> None:
        """Take in a minute's bar, before it is decided."""
        self._forming.on_bar(bar)

    def _ask(self, slot: Slot, active: Version, tick: Tick, signals: list[Signal]) -> None:
        has_quotes = quotes(active.bot)
        minutes = self._forming.minutes(slot.symbol, has_quotes=has_quotes)
        if has_quotes or not tick.is_quote:
            self._moving.on_trade(slot, tick.trade, minutes, signals)

    def _close(self, bars: list[Bar], signals: list[Signal]) -> None:
        for bar in bars:
            for slot in self._slots.of(bar.symbol) or ():
                if any(version.bot.timeframe == bar.timeframe for version in slot.versions()):
                    self._moving.on_frame(slot, bar, signals)
