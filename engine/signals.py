"""From bars to signals: one strategy per (bot, symbol), a signal when its target changes.

Invariants:
1. A bar at or before the last one of its symbol and timeframe moves nothing (twice, late, out of order: refused).
2. A backfilled bar moves indicators and yields no signal; the first live bar after it speaks.
3. At or before the cause of the last signal in the stream nothing is emitted (restart emits nothing twice).
4. Outside its session a bot's bars move indicators; a changed target is published with the first bar in session.
Called by streams/services/signals and later by the backtester. Never sees a quantity or a clock.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engine.bots import Bot
from engine.ids import bar_key, make_id
from engine.messages import Bar, Sessions, Signal
from engine.sessions import SessionTable
from engine.strategies import Strategy, make
from engine.values import AssetClass, Direction, asset_class_of


class _Slot:
    """One bot on one symbol."""

    __slots__ = ("always", "asset_class", "bot", "emitted_until", "last_ts", "published", "strategy")

    def __init__(self, bot: Bot, symbol: str) -> None:
        self.bot = bot
        self.strategy: Strategy = make(bot.strategy, bot.params)
        self.asset_class = asset_class_of(symbol)
        self.always = bot.session == "any" or self.asset_class is AssetClass.CRYPTO
        self.last_ts = 0
        self.emitted_until = 0
        self.published: tuple[Direction, float] = (Direction.FLAT, 0.0)


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
        for bot in bots:
            for symbol in bot.symbols:
                self._slots.setdefault((symbol, bot.timeframe), []).append(_Slot(bot, symbol))
        self.counters = SignalCounters()

    def state(self) -> object:
        """Give everything that must survive a restart, for pickling."""
        return {
            key: [(slot.bot.name, slot.strategy, slot.last_ts, slot.emitted_until, slot.published) for slot in slots]
            for key, slots in self._slots.items()
        }

    def restore(self, state: object) -> None:
        """Take a state back; slots that it does not know start cold."""
        known: dict[tuple[str, str], list[tuple[str, Strategy, int, int, tuple[Direction, float]]]] = state  # type: ignore[assignment]
        for key, rows in known.items():
            slots = {slot.bot.name: slot for slot in self._slots.get(key, [])}
            for name, strategy, last_ts, emitted_until, published in rows:
                slot = slots.get(name)
                if slot is not None:
                    slot.strategy, slot.last_ts = strategy, last_ts
                    slot.emitted_until, slot.published = emitted_until, published

    def on_sessions(self, sessions: Sessions) -> None:
        """Take in the venue's calendar."""
        self._sessions.add(sessions)

    def on_own_signal(self, signal: Signal) -> None:
        """Learn from the stream what was already said, so that a restart does not say it again."""
        for (symbol, _), slots in self._slots.items():
            if symbol != signal.symbol:
                continue
            for slot in slots:
                if slot.bot.name == signal.bot and signal.ts_event >= slot.emitted_until:
                    slot.emitted_until = signal.ts_event
                    slot.published = (signal.direction, signal.strength)

    def on_bar(self, bar: Bar) -> list[Signal]:
        """Move every strategy on this symbol and timeframe by one bar; return the targets that changed."""
        self.counters.bars += 1
        slots = self._slots.get((bar.symbol, bar.timeframe))
        if slots is None:
            return []
        signals: list[Signal] = []
        for slot in slots:
            if bar.ts_event <= slot.last_ts:
                self.counters.refused += 1
                continue
            slot.last_ts = bar.ts_event
            self.counters.evaluated += 1
            target = slot.strategy.on_bar(bar)
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
            indicators=slot.strategy.snapshot(),
        )
