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
Called by streams/services/signals and later by the backtester. Never sees a quantity or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from engine.bots import Bot
from engine.ids import bar_key, make_id
from engine.messages import Alert, Bar, Sessions, Signal, Split
from engine.sessions import SessionTable
from engine.splits import adjusted
from engine.strategies import Strategy, Target, make
from engine.values import AssetClass, Direction, asset_class_of

_KEPT = ("strategy", "last_ts", "emitted_until", "published", "is_senseless")
"""What of a slot must survive a restart."""


class _Slot:
    """One bot on one symbol."""

    __slots__ = (
        "always", "asset_class", "bot", "emitted_until", "is_senseless", "last_ts", "published", "said", "strategy",
    )  # fmt: skip

    def __init__(self, bot: Bot, symbol: str) -> None:
        self.bot = bot
        self.strategy: Strategy = make(bot.strategy, bot.params)
        self.asset_class = asset_class_of(symbol)
        self.always = bot.session == "any" or self.asset_class is AssetClass.CRYPTO
        self.last_ts = 0
        self.emitted_until = 0
        self.published: tuple[Direction, float] = (Direction.FLAT, 0.0)
        self.said: Signal | None = None  # the last one in the stream, as found at the start
        self.is_senseless = False


class SignalCounters(msgspec.Struct):
    """What was seen and refused since start."""

    bars: int = 0
    refused: int = 0
    evaluated: int = 0
    signals: int = 0


class SignalEngine:
    """Every bot's strategies. Its picklable state is `state()`; identity and bots come from configuration.

    Args:
        account: Account number, part of every id.
        run: Run id of the data directory, part of every id.
        bots: The bots to run.
    """

    def __init__(self, account: str, run: str, bots: Iterable[Bot]) -> None:
        self._account = account
        self._run = run
        self._sessions = SessionTable()
        self._slots: dict[tuple[str, str], list[_Slot]] = {}
        self._splits: dict[str, Split] = {}
        self._split: frozenset[str] = frozenset()
        self._alerts: list[Alert] = []
        for bot in bots:
            for symbol in bot.symbols:
                self._slots.setdefault((symbol, bot.timeframe), []).append(_Slot(bot, symbol))
        self.counters = SignalCounters()

    def state(self) -> object:
        """Give everything that must survive a restart, for pickling."""
        slots = {
            key: [(slot.bot.name, *(getattr(slot, name) for name in _KEPT)) for slot in slots]
            for key, slots in self._slots.items()
        }
        return slots, list(self._splits.values())

    def restore(self, state: object) -> None:
        """Take a state back; slots that it does not know start cold."""
        known: dict[tuple[str, str], list[tuple[object, ...]]]
        known, splits = state  # type: ignore[misc]
        for split in splits:
            self._learn(split)
        for key, rows in known.items():
            slots = {slot.bot.name: slot for slot in self._slots.get(key, [])}
            for bot, *kept in rows:
                slot = slots.get(str(bot))
                if slot is not None:
                    for name, value in zip(_KEPT, kept, strict=True):
                        setattr(slot, name, value)

    def on_sessions(self, sessions: Sessions) -> None:
        """Take in the venue's calendar."""
        self._sessions.add(sessions)

    @property
    def splits(self) -> int:
        """How many splits are in the state."""
        return len(self._splits)

    def knows(self, ids: Iterable[str]) -> bool:
        """Whether these splits are in the state."""
        return all(key in self._splits for key in ids)

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
        for (symbol, timeframe), slots in self._slots.items():
            if symbol != split.new_symbol:
                continue
            for slot in slots:
                slot.strategy = make(slot.bot.strategy, slot.bot.params)
                last_ts = 0
                for bar in bars:
                    if (bar.symbol, bar.timeframe) == (symbol, timeframe) and bar.ts_event > last_ts:
                        last_ts = bar.ts_event
                        slot.strategy.on_bar(bar)
                slot.last_ts = max(slot.last_ts, last_ts)

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
        for (symbol, _), slots in self._slots.items():
            if symbol != signal.symbol:
                continue
            for slot in slots:
                if slot.bot.name == signal.bot:
                    if slot.said is None or signal.ts_event >= slot.said.ts_event:
                        slot.said = signal
                    if signal.ts_event >= slot.emitted_until:
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
        for (symbol, _), slots in self._slots.items():
            for slot in slots:
                said = slot.said
                if slot.emitted_until <= (0 if said is None else said.ts_event):
                    continue
                slot.emitted_until = 0 if said is None else said.ts_event
                slot.published = (Direction.FLAT, 0.0) if said is None else (said.direction, said.strength)
                found.append((slot.bot.name, symbol))
        return found

    def on_bar(self, bar: Bar) -> list[Signal]:
        """Move every strategy on this symbol and timeframe by one bar; return the targets that changed."""
        self.counters.bars += 1
        slots = self._slots.get((bar.symbol, bar.timeframe))
        if slots is None:
            return []
        if bar.symbol in self._split and (today := self._chained(bar)).symbol == bar.symbol:
            bar = today
        signals: list[Signal] = []
        for slot in slots:
            if bar.ts_event <= slot.last_ts:
                self.counters.refused += 1
                continue
            slot.last_ts = bar.ts_event
            self.counters.evaluated += 1
            target = self._sensible(slot, bar, slot.strategy.on_bar(bar))
            if target is None or (target.direction, target.strength) == slot.published:
                continue
            if bar.is_backfill or bar.ts_event <= slot.emitted_until:
                continue
            if not (slot.always or self._sessions.is_open(slot.asset_class, bar.ts_event)):
                continue
            slot.published = (target.direction, target.strength)
            slot.emitted_until = bar.ts_event
            signals.append(self._signal(slot, bar, target.direction, target.strength, target.reason))
        self.counters.signals += len(signals)
        return signals

    def alerts(self) -> list[Alert]:
        """Give what a person should be told since the last call."""
        alerts, self._alerts = self._alerts, []
        return alerts

    def _sensible(self, slot: _Slot, bar: Bar, target: Target | None) -> Target | None:
        """Give the target if it rests on numbers; of one that does not, only that it wants to be flat."""
        if target is None:
            return None
        fault = _fault(slot, target)
        if fault and not slot.is_senseless and not bar.is_backfill and bar.ts_event > slot.emitted_until:
            what = (
                f"bot {slot.bot.name}, strategy {slot.bot.strategy}, {bar.symbol}: {fault}; nothing is opened on that: "
                "mend the strategy or its parameters"
            )
            alert_id = make_id(self._account, self._run, slot.bot.name, "senseless", bar.symbol, bar.ts_event)
            self._alerts.append(Alert(alert_id, "error", "signals", what, bar.ts_event))
        slot.is_senseless = bool(fault)
        if fault:
            return Target(Direction.FLAT, 0.0, target.reason) if target.direction is Direction.FLAT else None
        return target

    def _signal(self, slot: _Slot, bar: Bar, direction: Direction, strength: float, reason: str) -> Signal:
        key = bar_key(bar.symbol, bar.timeframe, bar.ts_event, bar.revision)
        return Signal(
            id=make_id(self._account, self._run, slot.bot.name, "signal", key, 0),
            bot=slot.bot.name,
            symbol=bar.symbol,
            strategy=slot.bot.strategy,
            direction=direction,
            strength=strength,
            price=bar.close,
            reason=reason,
            bar=key,
            ts_event=bar.ts_event,
            indicators={name: value for name, value in slot.strategy.snapshot().items() if math.isfinite(value)},
        )


def _fault(slot: _Slot, target: Target) -> str:
    """Say which number a target rests on is none; empty when all are."""
    if not (math.isfinite(target.strength) and 0 <= target.strength <= 1):
        return f"strength must be a number from 0 to 1, was {target.strength!r}"
    if (target.direction, target.strength) == slot.published:
        return ""  # nothing would be said: its indicators are not asked for
    values = slot.strategy.snapshot()
    wrong = next((f"{name} = {value!r}" for name, value in values.items() if not math.isfinite(value)), "")
    return f"indicator {wrong} is no number" if wrong else ""
