"""From bars to signals: one strategy per (bot, symbol), a signal when its target changes.

Invariants:
1. A bar at or before the last one of its symbol and timeframe moves nothing (twice, late, out of order: refused).
2. A backfilled bar moves indicators and yields no signal; the first live bar after it speaks.
3. What the stream has is not emitted again: a restart does again what a former life did, at its place (engine.former).
4. Outside its session a bot's bars move indicators; a changed target is published with the first bar in session.
5. A split moves no indicator: bars up to it are taken in new shares, whenever they come. When one becomes known, the
   strategies of its symbol are made anew from the bars there are, as if it had been known always; they say nothing on
   the way. So their state follows from bars and splits alone, not from when a split was heard of.
6. A target that rests on a number that is none (NaN, infinite, a strength outside 0..1) opens nothing: it yields an
   alert instead of a signal, once until a target makes sense again. A wish to be flat needs no number and is said.
7. A bot's new version takes over in each symbol with the first bar that closed after its `from_ts`; until then it warms
   up beside the old one, on the same bars. So what a bar is decided by follows from its time alone, whenever the
   version was heard of. A version with the same strategy, parameters and timeframe goes on with what the old one knows.
8. A strategy that raises harms its own bot only, and is stopped after a number of times.
9. A moment at which a bot has to speak without a bar (its window ends, or a multiple of its frequency comes) is named
   by a stored `Timer`, with the symbols in which no bar from the moment on came in time. Time is what bars say, or the
   clock where none comes: the same bars make the same timers, so a bot's signals do not depend on other bots.
Called by streams/services/signals and later by the backtester. Never sees a quantity or a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from engine.asking import Asking, SignalCounters
from engine.bots import Bot, BotStatus
from engine.defining import Defining
from engine.filling import Filling
from engine.former import FormerLife
from engine.frames import FrameTable
from engine.instants import Instants
from engine.messages import (
    Alert,
    Bar,
    BotDefined,
    DerivedBar,
    FillTold,
    IndicatorValues,
    PastBars,
    Sessions,
    Signal,
    Split,
    Ticks,
    Timer,
)
from engine.moving import Moving
from engine.pacing import Pace
from engine.renewing import Renewing
from engine.slots import Slots, Snapshot
from engine.speech import Speech
from engine.splits import SplitBook
from engine.values import NS_PER_MS, is_derived, is_seconds
from engine.versions import Slot
from engine.witness import Witness


class SignalEngine:
    """Every bot's strategies. Its picklable state is `state()`; identity and bots come from configuration.

    Args:
        account: Account number, part of every id.
        run: Run id of the data directory, part of every id.
        bots: Bots there are from the beginning, at revision 1.
        bar_wait_ms: How long after a moment its bars are waited for, by the time of others or the clock.

    Attributes:
        filling: Tells strategies of fills.
        splits: Every split that is known.
    """

    def __init__(self, account: str, run: str, bots: Iterable[Bot], bar_wait_ms: int = 5_000) -> None:
        self._speech, self.splits = Speech(account, run), SplitBook()
        self._wait_ns = bar_wait_ms * NS_PER_MS
        self._pace = Pace()
        self._slots = Slots()
        self._newest = 0
        self._frames = FrameTable(self._pace.sessions, self._wait_ns)
        self._timers, self._witness = list[Timer](), Witness()
        self.counters = SignalCounters()
        self._asking = Asking(self._speech, self._slots, self._pace, self.counters)
        self.filling = Filling(self._asking, self._slots, self.splits, self._speech)
        self._moving = Moving(self._asking, self._slots, self._frames, self._speech)
        self._instants = Instants(self._slots, self._moving, self._frames.seconds)
        self._renewing = Renewing(self._slots, self._frames, self._moving, self.splits)
        beside = self._asking, self.filling, self._renewing
        self._defining = Defining(self._slots, self._frames, *beside, speech=self._speech, witness=self._witness)
        self._former = FormerLife(self._slots, self.filling, self._speak_at)
        for bot in bots:
            self.define(BotDefined(bot.name, 1, bot, BotStatus.RUNNING, 0, "", "", 0))

    def state(self) -> object:
        """Give everything that must survive a restart, for pickling."""
        parts = self._renewing, self._frames, self._instants, self._witness, self.filling
        return self._slots.state(), self._newest, *(part.state() for part in parts)

    def restore(self, state: object) -> None:
        """Take a state back; bots that it does not know stay as they were made."""
        slots, self._newest, renewing, frames, instants, witness, filling = state  # type: ignore[misc]
        self.filling.restore(filling)
        self._witness.restore(witness)
        self._instants.restore(instants)
        self._renewing.restore(renewing)
        self._slots.restore(slots)
        self._frames.restore(frames)
        self._pace.is_known = False

    # --- which bots there are ----------------------------------------------------------------------------------------

    @property
    def newest_ns(self) -> int:
        """Close of the newest bar that was given, or a later tick or moment without a bar, ns UTC."""
        return max(self._newest, self._instants.newest_ns)

    def revision(self, bot: str) -> int:
        """Give the newest revision of a bot that is known; 0: none."""
        return self._slots.revision(bot)

    def bots(self) -> list[Bot]:
        """Give the definitions whose strategies are in the state."""
        return self._slots.bots()

    def snapshots(self) -> list[Snapshot]:
        """Give of every bot in every symbol the close of its last bar, the last target said, and its values."""
        return self._slots.snapshots()

    def must_learn(self, bot: Bot, status: BotStatus) -> set[str]:
        """Name the symbols whose past bars `define` needs: those that get a strategy which knows nothing yet.

        None of more than `PAST_SYMBOLS_MAX`: they warm up from now on.
        """
        return self._defining.must_learn(bot, status)

    def rehearse(self, bot: Bot, history: Iterable[Bar]) -> str:
        """Say why a definition's strategy cannot be warmed up; empty if it can, as far as `history` can tell."""
        return self._defining.rehearse(bot, history)

    def define(self, defined: BotDefined, history: Iterable[Bar] = (), pending: Iterable[Bar] = ()) -> list[Signal]:
        """Take in a bot's new version, and give what it says at once; a revision that is known changes nothing.

        Args:
            defined: The version.
            history: Bars of `must_learn` that were given to `on_bar`, by time; the more, the better warmed.
            pending: Corrections of them that do not count yet.
        """
        return self._new(self._defining.define(defined, history, pending, self._newest))

    def fail(self, bot: str, reason: str) -> None:
        """Give a bot up, for whoever asks `failed` next."""
        self._asking.failed[bot] = reason

    def failed(self) -> dict[str, str]:
        """Give the bots whose strategies raised too often since the last call, each with the last fault."""
        return self._asking.take_failed()

    def give_up_unkept(self, keep: Callable[[object], object]) -> None:
        """Have the bots fail whose strategies cannot be kept over a restart.

        Args:
            keep: Raises for what cannot be kept.
        """
        self._asking.failed |= self._slots.unkept(keep)

    # --- what else is known ------------------------------------------------------------------------------------------

    def on_sessions(self, sessions: Sessions) -> None:
        """Take in the venue's calendar."""
        self._pace.on_sessions(sessions)

    def on_split(self, split: Split, history: Iterable[Bar]) -> None:
        """Make the strategies of a symbol anew, in shares of after a split.

        Args:
            split: Of that symbol, or the name it has now.
            history: Bars of the old and the new name that were given to `on_bar`, by time; the more, the better warmed.
        """
        self._renewing.on_split(split, history, self._newest)

    def needs_past(self, bar: Bar) -> set[str]:
        """Name the symbols whose past `on_bar` needs with a bar, asked after `come_before`; none: it needs none.

        It does where a bar before it was corrected, where bars from before the first came to be known, or where it
        comes late for a longer bar. Of a market of more than `PAST_SYMBOLS_MAX` symbols no past is read.
        """
        return self._renewing.needs_past(bar)

    def on_past(self, past: PastBars) -> None:
        """Learn that there are bars from before the first; with the next bar of its symbol strategies know of them."""
        self._renewing.on_past(past)

    # --- what a former life did --------------------------------------------------------------------------------------

    def on_own_signal(self, signal: Signal) -> None:
        """Learn from the stream what was already said, so that a restart does not say it again."""
        self._former.on_signal(signal)

    def on_own_alert(self, alert: Alert) -> None:
        """Learn from the stream what a person was already told."""
        self._former.on_alert(alert)

    def forget_unsaid(self) -> list[tuple[str, str]]:
        """Take back what a checkpoint calls said and the stream lost; the next bar says the target again.

        Called after every `on_own_signal` of a start; the stream is behind a checkpoint only if it lost messages.

        Returns:
            Bot and symbol of each.
        """
        return self._former.forget_unsaid()

    def expect(self, body: BotDefined | Timer | FillTold) -> None:
        """Learn from the stream what is to be done again at its place (`expected`), unless the state knows of it."""
        self._former.expect(body)

    @property
    def is_expecting(self) -> bool:
        """Whether something that a former life did beside the bars is still to be done again."""
        return self._former.is_expected

    def expected(self, market_seq: int) -> tuple[BotDefined | None, list[Signal]]:
        """Do again what was done when all up to a position of the market stream was decided, before what comes next.

        Returns:
            The next definition there, to be defined before this is asked again; None: there is none. And what is said
            on the way to it.
        """
        signals: list[Signal] = []
        defined = self._former.come_to(market_seq, signals)
        return defined, self._new(signals)

    def caught_up(self) -> None:
        """Go on from what the stream says was said last: all is decided that a former life decided."""
        self._former.caught_up()
        self._pace.is_known = False

    # --- bars --------------------------------------------------------------------------------------------------------

    def on_bar(self, bar: Bar, history: Iterable[Bar] = ()) -> list[Signal]:
        """Move every strategy on this symbol and timeframe by one bar; return the targets that changed.

        Args:
            bar: The bar. A correction of an earlier one counts from the next bar of its symbol on.
            history: All bars of `needs_past`, the newest revision of each, by time.
        """
        self.counters.bars += 1
        if bar.revision:
            self._renewing.on_revisions((bar,))
            return []
        signals = self.come_before(bar)
        self._witness.on_bar(bar)
        slots = self._slots.of(bar.symbol)
        if slots is None:
            return signals
        if (today := self.splits.chained(bar)).symbol == bar.symbol:
            bar = today
        if past := list(history):
            self._renewing.renew(bar, past, self._newest)
        frames = self._frames.on_bar(bar)
        self._instants.on_bar(bar)
        moved: list[Signal] = []
        for slot in slots:
            for frame in frames:
                self._moving.on_frame(slot, frame, moved)
            self._moving.on_minute(slot, bar, moved)
        return signals + self._new(moved)

    def on_ticks(self, ticks: Ticks) -> list[Signal]:
        """Ask the bots that look at ticks of this symbol; return the targets that changed."""
        return self._new(self._instants.on_ticks(self.splits.chained_ticks(ticks)))

    def come_before(self, bar: Bar) -> list[Signal]:
        """Come to the moment before a bar: say what is due without one. `on_bar` does so itself."""
        signals: list[Signal] = []
        if not bar.revision:
            self._newest = max(self._newest, bar.ts_event)
            signals = self._come_to(bar.ts_event)
            while frames := self._frames.due(bar.ts_event):
                for frame in frames:
                    self._moving.on_quiet(frame, signals)
                signals += self._come_to(bar.ts_event)
            self._instants.before_bar(bar, signals)
        return self._new(signals)

    def on_own_frame(self, frame: DerivedBar) -> None:
        """Learn from the stream which bars of `frames` were already told."""
        made_by = self._frames if is_derived(frame.timeframe) else self._witness
        (self._frames.seconds if is_seconds(frame.timeframe) else made_by).on_told(frame)

    def frames(self) -> list[DerivedBar]:
        """Give the bars made of others that closed since the last call, and the minutes that shadows want."""
        told = *self._frames.seconds.take_closed(), *self._witness.take(), *self._frames.take_closed()
        return [DerivedBar(**msgspec.structs.asdict(bar)) for bar in told]

    def on_own_values(self, shown: IndicatorValues) -> None:
        """Learn from the stream what was already shown."""
        self._former.on_values(shown)

    def shown(self) -> list[IndicatorValues]:
        """Give what strategies saw since the last call, of bots that publish it."""
        return self._former.new_values(self._asking.take_shown())

    def alerts(self) -> list[Alert]:
        """Give what a person should be told since the last call."""
        return self._former.new_alerts(self._asking.take_alerts())

    # --- moments without a bar ---------------------------------------------------------------------------------------

    @property
    def due_ns(self) -> int:
        """Venue time at which `on_clock` has something to do; 0: none is known."""
        if not self._pace.is_known:
            self._pace.plan_all(self._slots.every())
        due = self._pace.next_due()
        return due + self._wait_ns if due else 0

    def on_clock(self, now_ns: int) -> list[Signal]:
        """Say what is due by the clock; called when all that a former life did is done again."""
        return self._new(self._come_to(now_ns))

    def timers(self, market_seq: int = 0) -> list[Timer]:
        """Give the moments that came without bars since the last call; to be stored before what is said at them.

        Args:
            market_seq: Position of the market stream up to which all is decided.
        """
        timers, self._timers = self._timers, []
        return [msgspec.structs.replace(one, market_seq=market_seq) for one in self._former.new_timers(timers)]

    def _come_to(self, now_ns: int) -> list[Signal]:
        """Say what is due by a time, in every symbol."""
        signals: list[Signal] = []
        while 0 < self.due_ns <= now_ns:
            ts, bot, slots = self._pace.take_due()
            self._timers.append(self._speech.timer(bot, ts, slots))
            for slot in slots:
                self._speak_at(slot, ts, signals)
        return signals

    def _speak_at(self, slot: Slot, ts: int, signals: list[Signal]) -> None:
        self._moving.speak_at(slot, ts, signals)
        self._newest = max(self._newest, ts)

    def _new(self, signals: list[Signal]) -> list[Signal]:
        """Give those that the stream does not have."""
        news = self._former.news_of(signals) if signals else signals
        self.counters.signals += len(news)
        return news
