"""A whole account on past bars: signals, risk, execution and a simulated venue in one loop, as in a demo in lock-step.

Promises:
1. What is decided is decided by the functions that decide live, in the order in which they do in lock-step: fills of a
   minute, what strategies are told of them, its prices, then what is said at its bars, bar by bar.
2. Equal bars, bots, rules and seed give equal messages: no clock, no randomness but the venue's seeded one.
3. A signal is never filled by the bar that it was said at, nor by one before it.
Pure; called by tapeline.backtesting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.bots import Bot, BotStatus, RiskLimits
from engine.desk import Desk
from engine.ids import make_id
from engine.messages import (
    AccountOpened,
    AnyBody,
    Bar,
    BotDefined,
    Fill,
    PastBars,
    Position,
    Sessions,
    Signal,
    SymbolStatus,
)
from engine.pasts import past_bars_wanted
from engine.ports import SimulatedVenue, Worth
from engine.roster import faulty
from engine.signals import SignalEngine

_BY = "backtest"


class Backtest:
    """One run of some bots on one account.

    Args:
        opened: The account: names of it and of the run are part of every id; its time is before the first bar.
        limits: The limits of the rules.
        venue: Where orders go.
        bar_wait_ms: How long after a moment its bars are waited for, as `signals.bar_wait_ms`.

    Attributes:
        stopped: Bots that raised too often, each with the last fault.
    """

    def __init__(
        self, opened: AccountOpened, limits: RiskLimits, venue: SimulatedVenue, bar_wait_ms: int = 5_000
    ) -> None:
        self._opened, self._venue = opened, venue
        self._desk = Desk(opened, limits, venue, is_prompt=False)
        self._engine = SignalEngine(opened.account_number, opened.run, (), bar_wait_ms)
        self._bots: dict[str, BotDefined] = {}
        self._past: dict[str, list[Bar]] = {}
        self._seq = 0
        self.stopped: dict[str, str] = {}

    def open(
        self,
        sessions: Sessions,
        statuses: Iterable[SymbolStatus],
        bots: Iterable[Bot],
        pasts: Iterable[PastBars] = (),
    ) -> list[AnyBody]:
        """Begin: with the calendar, what the venue trades, the bots, and bars from before the first.

        Returns:
            What is stored, in order.
        """
        known = [sessions, *statuses]
        self._engine.on_sessions(sessions)
        stored = [self._opened, *known, *self._desk.take(known)]
        for bot in bots:
            cause = make_id(self._opened.account_number, self._opened.run, _BY, bot.name)
            defined = BotDefined(
                bot.name,
                1,
                bot,
                BotStatus.RUNNING,
                0,
                _BY,
                cause,
                self._opened.ts_event,
                past_bars=past_bars_wanted(bot),
            )
            stored += self._define(defined)
        for past in pasts:
            self._engine.on_past(past)
            self._past.setdefault(past.symbol, []).extend(past.every())
        return [*stored, *self._beside()]

    def on_minute(self, bars: Sequence[Bar]) -> list[AnyBody]:
        """Let a minute pass.

        Args:
            bars: The 1-minute bars that close then, one per symbol, sorted by symbol; later than those before.

        Returns:
            What is stored of it, in order; not the bars.
        """
        engine, now = self._engine, bars[0].ts_event
        stored = self._desk.on_bars(bars, now)
        for body in stored:
            if isinstance(body, Fill | Position):
                engine.filling.take(body)
        stored += engine.filling.take_news(self._seq)
        for bar in bars:
            self._seq += 1
            signals = self._on_bar(bar) if self._past else engine.on_bar(bar)
            stored += [*engine.timers(self._seq), *engine.frames(), *signals, *self._beside()]
            if signals:
                stored += self._desk.take(signals, now)
        return stored

    def _on_bar(self, bar: Bar) -> list[Signal]:
        """Let a bar come, with those from before the first that its symbol is warmed up with."""
        signals = self._engine.come_before(bar)
        past = list[Bar](self._past.pop(bar.symbol, ())) if self._engine.needs_past(bar) else []
        past.sort(key=lambda one: (one.ts_event, one.timeframe))
        return signals + self._engine.on_bar(bar, past)

    @property
    def opened_ns(self) -> int:
        """When it begins, ns UTC."""
        return self._opened.ts_event

    def worth(self) -> Worth:
        """Say what the account is worth now."""
        return self._venue.worth()

    def _define(self, defined: BotDefined) -> list[AnyBody]:
        self._bots[defined.bot] = defined
        signals = self._engine.define(defined)
        return [defined, *signals, *self._desk.take((defined, *signals))]

    def _beside(self) -> list[AnyBody]:
        """Give what strategies saw, and stop those that raise too often."""
        engine = self._engine
        stored: list[AnyBody] = [*engine.shown(), *engine.alerts()]
        for name, reason in engine.failed().items():
            known = self._bots[name]
            if known.status is BotStatus.RUNNING:
                self.stopped[name] = reason
                stored += self._define(faulty(known, reason, engine.newest_ns, self._seq))
        return stored
