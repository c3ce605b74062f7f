"""Lives of the signals service without a broker: what it does with its engine, call by call, and what it stores.

As streams/services/signals.py, streams/rostering.py and streams/fills.py do it, in their order. A life that is killed
is not used any more; a later one is made of what is stored by then and of a checkpoint.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import msgspec

from config import own
from engine.bots import Bot, BotStatus
from engine.messages import (
    Alert,
    Bar,
    BotDefined,
    ChangeBot,
    DerivedBar,
    Fill,
    FillTold,
    IndicatorValues,
    PastBars,
    Position,
    Shadowed,
    Signal,
    Split,
    Ticks,
    Timer,
)
from engine.roster import Facts, Roster, failed_text, faulty
from engine.signals import SignalEngine
from engine.strategies import make, past_bars_of
from engine.values import is_seconds
from streams.history import History
from tests.engine.test_frames import calendar
from tests.engine.world import Checkpoint, Filled, Look, Market, Step, World, bars_until, shadowed

NOTHING = History([], [])
LAST = 1 << 62


class Life:
    """One process of the service, from its start on.

    Args:
        world: What is stored; what it says is stored there, too.
        checkpoint: From which it goes on; None: there is none.
    """

    def __init__(self, world: World, checkpoint: Checkpoint | None = None) -> None:
        self.world = world
        self.engine = SignalEngine("ACC1", "run1", ())
        self.moved = 0 if checkpoint is None else checkpoint.moved
        self.has_caught_up = False
        self._roster = Roster()
        self._end_at_start = len(world.market)
        self._is_running = False
        self._due_ns = 0
        self._heard = self._read_fills = 0
        self._wanted: set[str] = set()
        self._is_reading_fills = self._are_fills_anew = False
        if checkpoint is not None:
            self.engine.restore(pickle.loads(checkpoint.state))
        self.engine.on_sessions(calendar())
        self._hear()
        self._hear_last()
        self._catch_up()
        self._is_running = True
        self._beside_bars()

    def checkpoint(self) -> Checkpoint:
        """Give what a later life may go on from: all that it said is stored."""
        return Checkpoint(pickle.dumps(self.engine.state(), protocol=5), self.moved)

    def step(self, step: Step) -> None:
        """Do what comes next."""
        match step:
            case Look(now_ns):
                if self._due_ns:
                    self._followed(self.engine.on_clock(now_ns), self.moved)
            case Filled():
                known = self._roster.bots.get(step.fill.bot)
                is_of_shadow = known is not None and known.definition.shadow_of != ""
                self.world.store(shadowed(self.world, step) if is_of_shadow else step)
            case ChangeBot():
                self._answer(step)
            case Split():
                self.world.store([step])
            case _:
                self.world.market.append(step)
                self.read()
        self._beside_bars()

    def read(self, batch_max: int = 1, until: int = LAST) -> None:
        """Decide what is stored in the market stream, in batches."""
        while self.moved < min(until, len(self.world.market)):
            last = min(self.moved + batch_max, until, len(self.world.market))
            for seq in range(self.moved + 1, last + 1):
                self._decide(seq, self.world.market[seq - 1])
            self.moved = last
            self._catch_up()
            self._beside_bars()

    # --- what is stored ----------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Take in what is stored of bots, splits, moments and fills told: of former lives, and of its own."""
        engine, trading = self.engine, self.world.trading
        while self._heard < len(trading):
            body = trading[self._heard]
            self._heard += 1
            match body:
                case Timer() | FillTold():
                    engine.expect(body)
                case Alert():
                    engine.on_own_alert(body)
                case Split() if body.id not in engine.splits.known:
                    engine.on_split(body, bars_until(self.world, {body.symbol, body.new_symbol}, self.moved).bars)
                    if self._is_running:
                        self._followed([], self.moved)
                case BotDefined():
                    self._roster.apply(body)
                    engine.expect(body)
                case _:
                    pass

    def _hear_last(self) -> None:
        """Take in what was said last."""
        signals: dict[tuple[str, str], Signal] = {}
        shown: dict[tuple[str, str], IndicatorValues] = {}
        made: dict[tuple[str, str, bool], DerivedBar] = {}
        for body in self.world.trading:
            match body:
                case Signal():
                    signals[body.bot, body.symbol] = body
                case IndicatorValues():
                    shown[body.bot, body.symbol] = body
                case DerivedBar():
                    made[body.symbol, body.timeframe, body.revision > 0] = body
                case _:
                    pass
        for signal in signals.values():
            self.engine.on_own_signal(signal)
        for values in shown.values():
            self.engine.on_own_values(values)
        for bar in made.values():
            self.engine.on_own_frame(bar)
        assert self.engine.forget_unsaid() == []

    # --- the market stream -------------------------------------------------------------------------------------------

    def _decide(self, seq: int, body: Market) -> None:
        engine = self.engine
        if engine.is_expecting:
            self._followed(self._come_to(seq - 1), seq - 1)
        match body:
            case PastBars():
                engine.on_past(body)
                return
            case Ticks():
                signals = engine.on_ticks(body)
            case Bar():
                signals = engine.come_before(body)
                needed = engine.needs_past(body)
                history = bars_until(self.world, needed, seq).bars if needed else ()
                signals += engine.on_bar(body, history)
        self._followed(signals, seq)

    def _come_to(self, seq: int) -> list[Signal]:
        said: list[Signal] = []
        while True:
            defined, signals = self.engine.expected(seq)
            said += signals
            if defined is None:
                return said
            own.learn(defined.definition)
            past = self._past(defined.definition, defined.status, min(defined.market_seq, seq))
            said += self.engine.define(defined, past.bars, past.pending)

    def _catch_up(self) -> None:
        if self.has_caught_up or self.moved < self._end_at_start:
            return
        signals = self._come_to(LAST)
        self.engine.caught_up()
        self._follow_fills()
        self.has_caught_up = True
        self._followed(signals, self.moved)

    def _followed(self, signals: Sequence[Signal], seq: int) -> None:
        self.world.store([*self.engine.timers(seq), *self.engine.frames(), *signals])
        self._beside(seq)

    def _beside(self, seq: int) -> None:
        engine = self.engine
        self.world.store([*engine.shown(), *engine.alerts()])
        for name, reason in engine.failed().items():
            known = self._roster.bots[name]
            if known.status not in (BotStatus.RUNNING, BotStatus.PAUSED) or known.revision > engine.revision(name):
                continue
            stopped = faulty(known, reason, engine.newest_ns, seq)
            self._roster.apply(stopped)
            engine.define(stopped)
            self._follow_fills()
            what = failed_text(stopped)
            self.world.store([Alert(what, "error", "signals", what, stopped.ts_event), stopped])

    # --- beside it ---------------------------------------------------------------------------------------------------

    def _beside_bars(self) -> None:
        """Do what is done between two batches: hear what is stored, tell of fills, plan moments."""
        self._hear()
        while self.has_caught_up and (self._are_fills_anew or self._has_fills()):
            self._tell_fills()
        self._due_ns = self.engine.due_ns

    def _answer(self, wish: ChangeBot) -> None:
        engine, known = self.engine, self._roster.bots.get(wish.bot)
        wish = msgspec.structs.replace(wish, revision=0 if known is None else known.revision)
        definition = wish.definition or (None if known is None else known.definition)
        before = BotStatus.RUNNING if known is None or known.status is BotStatus.REMOVED else known.status
        past, fault, past_bars = NOTHING, "", 0
        if definition is not None:
            own.learn(definition)
            past = self._past(definition, wish.status or before, self.moved)
            fault = "" if wish.definition is None else engine.rehearse(wish.definition, past.bars)
            if not fault and not is_seconds(definition.timeframe):
                past_bars = past_bars_of(make(definition.source, definition.params), definition.warm_up_bars)
        places, more = (engine.newest_ns, wish.ts_event), {"past_bars": past_bars, "market_seq": self.moved}
        answer = self._roster.answer(wish, Facts(), *places, fault, **more)
        said = engine.define(answer, past.bars, past.pending) if isinstance(answer, BotDefined) else []
        self._roster.apply(answer)
        self.world.store([answer, *said])
        self._followed([], self.moved)
        self._follow_fills()

    def _past(self, bot: Bot, status: BotStatus, seq: int) -> History:
        must = self.engine.must_learn(bot, status) if seq else set[str]()
        return bars_until(self.world, must, seq) if must else NOTHING

    # --- fills -------------------------------------------------------------------------------------------------------

    def _follow_fills(self) -> None:
        wanted, is_behind = self.engine.filling.wanted()
        self._are_fills_anew |= bool(wanted - self._wanted) or is_behind
        self._wanted = wanted

    def _has_fills(self) -> bool:
        return self._is_reading_fills and self._read_fills < len(self.world.trading)

    def _tell_fills(self) -> None:
        """Tell of fills that came since, or of all from the first on, which the engine knows to be told."""
        if self._are_fills_anew:
            self._are_fills_anew, self._is_reading_fills, self._read_fills = False, True, 0
        first, self._read_fills = self._read_fills, len(self.world.trading)
        for body in self.world.trading[first:]:
            if isinstance(body, Fill | Position | Shadowed):
                self.engine.filling.take(body)
        self.world.store(self.engine.filling.take_news(self.moved))
        self._beside(self.moved)
