"""From bars to signals: one strategy per (bot, symbol), a signal when its target changes.

Invariants:
1. A bar at or before the last one of its symbol and timeframe moves nothing (twice, late, out of order: refused).
2. A backfilled bar moves indicators and yields no signal; the first live bar after it speaks.
3. At or before the cause of the last signal in the stream nothing is emitted (restart emits nothing twice).
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
Called by streams/services/signals and later by the backtester. Never sees a quantity or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

from engine.bots import Bot, BotStatus
from engine.ids import bar_key, make_id
from engine.messages import Alert, Bar, BotDefined, Sessions, Signal, Split
from engine.sessions import SessionTable
from engine.splits import adjusted
from engine.strategies import Target, checked, fault_text, senseless, values_of
from engine.values import Direction
from engine.versions import Slot, Version

_FAULTS_MAX = 10
_FLAT = (Direction.FLAT, 0.0)


class SignalCounters(msgspec.Struct):
    """What was seen and refused since start."""

    bars: int = 0
    refused: int = 0
    evaluated: int = 0
    signals: int = 0
    faults: int = 0


class SignalEngine:
    """Every bot's strategies. Its picklable state is `state()`; identity and bots come from configuration.

    Args:
        account: Account number, part of every id.
        run: Run id of the data directory, part of every id.
        bots: Bots there are from the beginning, at revision 1.
    """

    def __init__(self, account: str, run: str, bots: Iterable[Bot]) -> None:
        self._account = account
        self._run = run
        self._sessions = SessionTable()
        self._slots: dict[str, list[Slot]] = {}
        self._revisions: dict[str, int] = {}
        self._newest = 0
        self._splits: dict[str, Split] = {}
        self._split: frozenset[str] = frozenset()
        self._alerts: list[Alert] = []
        self._failed: dict[str, str] = {}
        for bot in bots:
            self.define(BotDefined(bot.name, 1, bot, BotStatus.RUNNING, 0, "", "", 0))
        self.counters = SignalCounters()

    def state(self) -> object:
        """Give everything that must survive a restart, for pickling."""
        return self._slots, self._revisions, self._newest, list(self._splits.values())

    def restore(self, state: object) -> None:
        """Take a state back; bots that it does not know stay as they were made."""
        known: dict[str, list[Slot]]
        known, revisions, self._newest, splits = state  # type: ignore[misc]
        for split in splits:
            self._learn(split)
        for symbol in dict.fromkeys((*known, *self._slots)):
            own = [slot for slot in self._slots.get(symbol, []) if slot.bot not in revisions]
            self._slots[symbol] = [*known.get(symbol, []), *own]
        self._revisions |= revisions

    # --- which bots there are ----------------------------------------------------------------------------------------

    @property
    def newest_ns(self) -> int:
        """Close of the newest bar that was given, ns UTC."""
        return self._newest

    def revision(self, bot: str) -> int:
        """Give the newest revision of a bot that is known; 0: none."""
        return self._revisions.get(bot, 0)

    def bots(self) -> list[Bot]:
        """Give the definitions whose strategies are in the state."""
        every = (version for slots in self._slots.values() for slot in slots for version in slot.versions())
        versions = (version for version in every if version.strategy is not None)
        return list({(version.bot.name, version.revision): version.bot for version in versions}.values())

    def must_learn(self, defined: BotDefined) -> set[str]:
        """Name the symbols whose past bars `define` needs: those that get a strategy which knows nothing yet."""
        if defined.status not in (BotStatus.RUNNING, BotStatus.PAUSED):
            return set()
        slots = {symbol: self._slot(defined.bot, symbol) for symbol in defined.definition.symbols}
        return {symbol for symbol, slot in slots.items() if slot is None or not slot.goes_on(defined.definition)}

    def define(self, defined: BotDefined, history: Iterable[Bar] = ()) -> None:
        """Take in a bot's new version; a revision that is known changes nothing.

        Args:
            defined: The version.
            history: Bars of `must_learn` that were given to `on_bar`, by time; the more, the better warmed.
        """
        bot = defined.bot
        if defined.revision <= self.revision(bot):
            return
        self._revisions[bot] = defined.revision
        self._failed.pop(bot, None)  # what an older one could not do
        past: dict[str, list[Bar]] = {}
        for bar in history:
            chained = self._chained(bar)
            past.setdefault(chained.symbol, []).append(chained)
        held = [symbol for symbol, slots in self._slots.items() if any(slot.bot == bot for slot in slots)]
        for symbol in dict.fromkeys((*defined.definition.symbols, *held)):
            slot = self._slot(bot, symbol)
            if slot is None:
                slot = Slot(bot, symbol)
                self._slots.setdefault(symbol, []).append(slot)
            version = slot.add(defined)
            if defined.flatten:
                slot.silent_until = defined.from_ts
            if version.fault:
                self.fail(bot, version.fault)
            for bar in past.get(symbol, ()) if version.is_fresh else ():
                self._move(slot, version, bar)

    def flatten(self, defined: BotDefined) -> list[Signal]:
        """Say flat at once wherever the bot may hold something, at the last price known; else its next bar says so."""
        signals: list[Signal] = []
        for symbol in list(self._slots):
            slot = self._slot(defined.bot, symbol)
            if slot is None or slot.last is None or slot.published == _FLAT:
                continue
            ts_event, revision, close = slot.last
            slot.published, slot.emitted_until = _FLAT, max(slot.emitted_until, ts_event)
            signals.append(
                Signal(
                    id=make_id(self._account, self._run, defined.bot, "flatten", symbol, defined.revision),
                    bot=defined.bot,
                    symbol=symbol,
                    strategy=defined.definition.strategy,
                    direction=Direction.FLAT,
                    strength=0.0,
                    price=close,
                    reason=f"{defined.status} by {defined.by}, with its positions closed",
                    bar=bar_key(symbol, defined.definition.timeframe, ts_event, revision),
                    ts_event=ts_event,
                )
            )
        self.counters.signals += len(signals)
        return signals

    def _slot(self, bot: str, symbol: str) -> Slot | None:
        return next((slot for slot in self._slots.get(symbol, ()) if slot.bot == bot), None)

    def fail(self, bot: str, reason: str) -> None:
        """Give a bot up, for whoever asks `failed` next."""
        self._failed[bot] = reason

    def failed(self) -> dict[str, str]:
        """Give the bots whose strategies raised too often since the last call, each with the last fault."""
        failed, self._failed = self._failed, {}
        return failed

    def give_up_unkept(self, keep: Callable[[object], object]) -> None:
        """Have the bots fail whose strategies cannot be kept over a restart.

        Args:
            keep: Raises for what cannot be kept.
        """
        for slot in (slot for slots in self._slots.values() for slot in slots):
            for version in slot.versions():
                try:
                    keep(version.strategy)
                except Exception as fault:  # noqa: BLE001  (whatever a user's attributes raise)
                    version.strategy = None
                    if version.revision == self.revision(slot.bot):
                        what = f"strategy {version.bot.strategy} cannot be kept over a restart ({fault_text(fault)})"
                        self._failed[slot.bot] = what

    # --- what else is known ------------------------------------------------------------------------------------------

    def on_sessions(self, sessions: Sessions) -> None:
        """Take in the venue's calendar."""
        self._sessions.add(sessions)

    @property
    def splits(self) -> int:
        """How many splits are in the state."""
        return len(self._splits)

    def is_new(self, split: Split) -> bool:
        """Whether a split is not in the state yet."""
        return split.id not in self._splits

    def on_split(self, split: Split, history: Iterable[Bar]) -> None:
        """Make the strategies of a symbol anew, in shares of after a split.

        Args:
            split: Of that symbol, or the name it has now.
            history: Bars of the old and the new name that were given to `on_bar`, by time; the more, the better warmed.
        """
        self._learn(split)
        bars = [self._chained(bar) for bar in history]
        of_symbol = [bar for bar in bars if bar.symbol == split.new_symbol]
        for slot in self._slots.get(split.new_symbol, []):
            slot.last = None
            for version in slot.versions():
                if version.strategy is None:
                    continue
                last_ts = version.last_ts
                version.renew()
                for bar in of_symbol:
                    self._move(slot, version, bar)
                version.last_ts = max(version.last_ts, last_ts)

    def _learn(self, split: Split) -> None:
        self._splits[split.id] = split
        self._splits = dict(sorted(self._splits.items(), key=lambda item: (item[1].ts_event, item[0])))
        self._split |= {split.symbol}

    def _chained(self, bar: Bar) -> Bar:
        """Give a bar in today's shares and under today's name."""
        for split in self._splits.values():
            if bar.symbol == split.symbol and bar.ts_event <= split.ts_event:
                bar = adjusted(bar, split.ratio, split.new_symbol)
        return bar

    def on_own_signal(self, signal: Signal) -> None:
        """Learn from the stream what was already said, so that a restart does not say it again."""
        slot = self._slot(signal.bot, signal.symbol)
        if slot is None:
            return
        if slot.said is None or signal.ts_event >= slot.said.ts_event:
            slot.said = signal
        # Of the last bar that was spoken at: what is to be said anew since then stays to be said.
        if signal.ts_event >= slot.emitted_until + (slot.published is None):
            slot.emitted_until = signal.ts_event
            slot.published = (signal.direction, signal.strength)

    def forget_unsaid(self) -> list[tuple[str, str]]:
        """Take back what a checkpoint calls said and the stream lost; the next bar says the target again.

        Called after every `on_own_signal` of a start. A checkpoint is written after its signals are stored, so the
        stream is never behind one unless it lost messages.

        Returns:
            Bot and symbol of each.
        """
        found: list[tuple[str, str]] = []
        for slot in (slot for slots in self._slots.values() for slot in slots):
            said = slot.said
            if slot.emitted_until <= (0 if said is None else said.ts_event):
                continue
            slot.emitted_until = 0 if said is None else said.ts_event
            slot.published = _FLAT if said is None else (said.direction, said.strength)
            found.append((slot.bot, slot.symbol))
        return found

    # --- bars --------------------------------------------------------------------------------------------------------

    def on_bar(self, bar: Bar) -> list[Signal]:
        """Move every strategy on this symbol and timeframe by one bar; return the targets that changed."""
        self.counters.bars += 1
        self._newest = max(self._newest, bar.ts_event)
        slots = self._slots.get(bar.symbol)
        if slots is None:
            return []
        if bar.symbol in self._split and (today := self._chained(bar)).symbol == bar.symbol:
            bar = today
        signals: list[Signal] = []
        for slot in slots:
            while slot.coming and bar.ts_event > slot.coming[0].from_ts:
                slot.take_over()
            for version in slot.coming:
                self._move(slot, version, bar)
            active = slot.active
            if active is None or bar.timeframe != active.bot.timeframe:
                continue
            if bar.ts_event <= active.last_ts:
                self.counters.refused += 1
                continue
            self.counters.evaluated += 1
            target = self._move(slot, active, bar)
            values = self._values(slot, active, bar, target)
            target = self._sensible(slot, active, bar, target, values)
            slot.last = bar.ts_event, bar.revision, bar.close
            if active.status is not BotStatus.RUNNING:
                target = Target(*_FLAT, f"{active.status}, with its positions closed") if active.flatten else None
            if target is None or (target.direction, target.strength) == slot.published:
                continue
            if bar.is_backfill or bar.ts_event <= max(slot.emitted_until, slot.silent_until):
                continue
            if not (active.always(slot) or self._sessions.is_open(slot.asset_class, bar.ts_event)):
                continue
            slot.published = (target.direction, target.strength)
            slot.emitted_until = bar.ts_event
            signals.append(self._signal(active, bar, target, values or {}))
        self.counters.signals += len(signals)
        return signals

    def _move(self, slot: Slot, version: Version, bar: Bar) -> Target | None:
        """Move one version's strategy by a bar that is new to it; nothing comes of a bar at which it raises."""
        if bar.timeframe != version.bot.timeframe or bar.ts_event <= version.last_ts:
            return None
        version.last_ts = bar.ts_event
        if version.strategy is None:
            return None
        try:
            return checked(version.strategy.on_bar(bar))
        except (Exception, SystemExit) as fault:  # noqa: BLE001  (whatever it is, it is that bot's alone)
            self._take_fault(slot, version, bar, fault)
            return None

    def _values(self, slot: Slot, version: Version, bar: Bar, target: Target | None) -> dict[str, float] | None:
        """Give what a target rests on that would be said; None where the strategy raises at the question."""
        if target is None or version.strategy is None or (target.direction, target.strength) == slot.published:
            return {}
        try:
            return values_of(version.strategy)
        except (Exception, SystemExit) as fault:  # noqa: BLE001  (the same)
            self._take_fault(slot, version, bar, fault)
            return None

    def _take_fault(self, slot: Slot, version: Version, bar: Bar, fault: BaseException) -> None:
        version.faults += 1
        self.counters.faults += 1
        what = f"bot {slot.bot}, strategy {version.bot.strategy}, {bar.symbol}: {fault_text(fault)}"
        if version is slot.active and not bar.is_backfill and bar.ts_event > slot.emitted_until:
            alert_id = make_id(self._account, self._run, slot.bot, "fault", bar.symbol, bar.ts_event)
            self._alerts.append(Alert(alert_id, "error", "signals", f"{what}; this bar decides nothing", bar.ts_event))
        if version.revision == self.revision(slot.bot) and version.faults >= _FAULTS_MAX:
            self._failed[slot.bot] = f"{what.removeprefix(f'bot {slot.bot}, ')}; it raised {version.faults} times"

    def snapshots(self) -> list[tuple[str, str, int, tuple[Direction, float] | None, dict[str, float]]]:
        """Give of every bot in every symbol the close of its last bar, the last target said, and its values."""
        return sorted(
            (slot.bot, slot.symbol, newest.last_ts, slot.published, newest.strategy.snapshot())
            for slots in self._slots.values()
            for slot in slots
            for newest in slot.versions()[-1:]
            if newest.strategy is not None
        )

    def alerts(self) -> list[Alert]:
        """Give what a person should be told since the last call."""
        alerts, self._alerts = self._alerts, []
        return alerts

    def _sensible(
        self, slot: Slot, version: Version, bar: Bar, target: Target | None, values: dict[str, float] | None
    ) -> Target | None:
        """Give the target if it rests on numbers; of one that does not, only that it wants to be flat."""
        if target is None or values is None:
            return None
        fault = senseless(target, values)
        if fault and not slot.is_senseless and not bar.is_backfill and bar.ts_event > slot.emitted_until:
            what = (
                f"bot {slot.bot}, strategy {version.bot.strategy}, {bar.symbol}: {fault}; nothing is opened on that: "
                "mend the strategy or its parameters"
            )
            alert_id = make_id(self._account, self._run, slot.bot, "senseless", bar.symbol, bar.ts_event)
            self._alerts.append(Alert(alert_id, "error", "signals", what, bar.ts_event))
        slot.is_senseless = bool(fault)
        if fault:
            return Target(Direction.FLAT, 0.0, target.reason) if target.direction is Direction.FLAT else None
        return target

    def _signal(self, version: Version, bar: Bar, target: Target, values: dict[str, float]) -> Signal:
        key, bot = bar_key(bar.symbol, bar.timeframe, bar.ts_event, bar.revision), version.bot
        return Signal(
            id=make_id(self._account, self._run, bot.name, "signal", key, 0),
            bot=bot.name,
            symbol=bar.symbol,
            strategy=bot.strategy,
            direction=target.direction,
            strength=target.strength,
            price=bar.close,
            reason=target.reason,
            bar=key,
            ts_event=bar.ts_event,
            indicators={name: value for name, value in values.items() if math.isfinite(value)},
        )
