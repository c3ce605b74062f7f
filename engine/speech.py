"""The words of signals: signals and alerts, with ids that follow from their causes. Pure; called by engine.signals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from engine.ids import bar_key, make_id
from engine.messages import Alert, Bar, BotDefined, Fill, FillTold, IndicatorValues, Position, Signal, Timer
from engine.ports import Trade
from engine.strategies import Target
from engine.values import MINUTE_BAR
from engine.versions import Slot, Version


class Speech:
    """Makes what is said.

    Args:
        account: Account number, part of every id.
        run: Run id of the data directory, part of every id.
    """

    def __init__(self, account: str, run: str) -> None:
        self._ledger = account, run

    def of_bar(self, version: Version, bar: Bar, target: Target, values: Mapping[str, float]) -> Signal:
        """Say a target that follows from a bar."""
        key = bar_key(bar.symbol, bar.timeframe, bar.ts_event, bar.revision)
        signal_id = make_id(*self._ledger, version.bot.name, "signal", key, 0)
        return _signal(signal_id, version, target, values, (key, bar.close, bar.ts_event))

    def values(self, version: Version, bar: Bar, values: Mapping[str, float]) -> IndicatorValues:
        """Say what a strategy sees at a bar."""
        key = bar_key(bar.symbol, bar.timeframe, bar.ts_event, bar.revision)
        return IndicatorValues(version.bot.name, bar.symbol, key, _finite(values), bar.ts_event)

    def at_moment(
        self, slot: Slot, version: Version, ts_ns: int, target: Target, values: Mapping[str, float]
    ) -> Signal | None:
        """Say a target at a moment without a bar, with the last price known; None where none is known."""
        if slot.last is None:
            return None
        bar_ts, revision, close = slot.last
        key = bar_key(slot.symbol, MINUTE_BAR, bar_ts, revision)
        signal_id = make_id(*self._ledger, slot.bot, "timer", slot.symbol, ts_ns)
        return _signal(signal_id, version, target, values, (key, close, ts_ns))

    def at_tick(
        self, version: Version, minute: Bar, trade: Trade, target: Target, values: Mapping[str, float]
    ) -> Signal:
        """Say a target that follows from a trade; its bar is that of the minute, which is forming."""
        key = bar_key(minute.symbol, minute.timeframe, minute.ts_event, minute.revision)
        signal_id = make_id(*self._ledger, version.bot.name, "tick", trade.symbol, trade.ts_event)
        return _signal(signal_id, version, target, values, (key, trade.px, trade.ts_event))

    def flat(self, slot: Slot, version: Version, target: Target) -> Signal | None:
        """Say that a bot closes a position because its new version says so; None where no price is known."""
        if slot.last is None:
            return None
        bar_ts, revision, close = slot.last
        key = bar_key(slot.symbol, MINUTE_BAR, bar_ts, revision)
        signal_id = make_id(*self._ledger, slot.bot, "flatten", slot.symbol, version.revision)
        ts_ns = max(bar_ts, slot.emitted_until, version.from_ts)  # of two signals the later one counts
        return _signal(signal_id, version, target, {}, (key, close, ts_ns))

    def timer(self, bot: str, ts_ns: int, slots: Sequence[Slot]) -> Timer:
        """Say that a moment came without a bar."""
        last = sorted((slot.symbol, 0 if slot.last is None else slot.last[0]) for slot in slots)
        parts = (f"{symbol}|{closed}" for symbol, closed in last)
        return Timer(make_id(*self._ledger, bot, "timer", ts_ns, *parts), bot, dict(last), ts_ns)

    def told(self, slot: Slot, fill: Fill, held: Position, life: str) -> FillTold:
        """Say that a bot's strategy is told of a fill, and after which bar."""
        return FillTold(
            id=make_id(*self._ledger, slot.bot, "told", slot.symbol, held.cause, life),
            bot=slot.bot,
            symbol=slot.symbol,
            fill=held.cause,
            number=slot.told + 1,
            side=fill.side,
            quantity=fill.last_qty,
            price=fill.last_px,
            commission=fill.commission,
            position=held.signed_qty,
            average_px=held.avg_px_open,
            order_id=fill.client_order_id,
            bar_ts=0 if slot.last is None else slot.last[0],
            frame_ts=slot.moved,
            ts_event=fill.ts_event,
            life=life,
        )

    def notice(self, defined: BotDefined, what: str) -> Alert:
        """Say what a person may want to know of a bot's new version."""
        alert_id = make_id(*self._ledger, defined.bot, "notice", defined.revision)
        return Alert(alert_id, "warning", "signals", what, defined.ts_event)

    def alert(self, kind: str, slot: Slot, what: str, ts_ns: int) -> Alert:
        """Say what a person should look at.

        Args:
            kind: Part of its id: one alert per kind, bot, symbol and time.
            slot: Bot and symbol.
            what: In words.
            ts_ns: Time of the cause.
        """
        return Alert(make_id(*self._ledger, slot.bot, kind, slot.symbol, ts_ns), "error", "signals", what, ts_ns)


def _signal(
    signal_id: str, version: Version, target: Target, values: Mapping[str, float], cause: tuple[str, float, int]
) -> Signal:
    """Make a signal of a target; the cause is a bar's key, its close, and the moment of the decision."""
    key, price, ts_ns = cause
    return Signal(
        id=signal_id,
        bot=version.bot.name,
        symbol=key.partition("|")[0],
        strategy=version.bot.strategy,
        direction=target.direction,
        strength=target.strength,
        price=price,
        reason=target.reason,
        bar=key,
        ts_event=ts_ns,
        indicators=_finite(values),
    )


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
