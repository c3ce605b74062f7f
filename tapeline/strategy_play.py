"""Playing a strategy over bars by itself, with the hooks that it has. Part of `tapeline strategies check`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from adapters.exchange.bars import VenueBar
from adapters.exchange.ticks import trades_of
from engine.messages import Bar
from engine.ports import Trade
from engine.sessions import SessionTable
from engine.strategies import OwnFill, Strategy, Target, checked, tell_session, values_of
from engine.values import NS_PER_MINUTE, AssetClass, Direction, Side

SIGNS = {Direction.LONG: 1, Direction.SHORT: -1, Direction.FLAT: 0}
Said = tuple[str, float, str] | None
"""Direction, strength and reason of what was wanted at a bar."""


class Moved:
    """A strategy that bars move, and where it has the hooks fills and trades.

    What it wanted was filled at the next bar's open. A bar has the trades that the local exchange makes of it.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.at_trades: list[Target | None] = []
        self._held, self._wanted = 0.0, 0.0

    def by(self, bar: Bar) -> Target | None:
        """Move it; with the first bar of a day of New York, which is its session here, it is told of that."""
        strategy = self.strategy
        if self._wanted != self._held:
            self._fill(bar)
        session = SessionTable().of_bar(AssetClass.CRYPTO, bar.ts_event)
        if session[0] == bar.ts_event - NS_PER_MINUTE:
            tell_session(strategy, 0, session)
        self._trade(bar)
        target = checked(strategy.on_bar(bar))
        if target is not None and math.isfinite(target.strength):
            self._wanted = SIGNS[target.direction] * 100.0 * target.strength
        return target

    def _trade(self, bar: Bar) -> None:
        hook: Callable[[Trade], object] | None = getattr(self.strategy, "on_tick", None)
        if hook is not None:
            prices = bar.open, bar.high, bar.low, bar.close
            of = VenueBar(bar.symbol, bar.ts_event - NS_PER_MINUTE, *prices, bar.volume, 0, bar.close)
            trades = (Trade(bar.symbol, trade["t"], trade["p"], trade["s"]) for trade in trades_of(of))
            self.at_trades = [checked(hook(trade), "on_tick") for trade in trades]

    def _fill(self, bar: Bar) -> None:
        change, self._held = self._wanted - self._held, self._wanted
        side, average = Side.BUY if change > 0 else Side.SELL, bar.open if self._held else 0.0
        at_ns = bar.ts_event - NS_PER_MINUTE
        hook: Callable[[OwnFill], object] | None = getattr(self.strategy, "on_fill", None)
        if hook is not None:
            hook(OwnFill(bar.symbol, side, abs(change), bar.open, self._held, average, 0.0, f"order {at_ns}", at_ns))


def play(strategy: Strategy, bars: Sequence[Bar]) -> list[Said]:
    """Give what a new strategy says at each bar."""
    return play_on(Moved(strategy), bars)


def play_on(moved: Moved, bars: Sequence[Bar]) -> list[Said]:
    """Give what one that goes on says at each bar."""
    said: list[Said] = []
    for bar in bars:
        said.append(_said([target for target in (moved.by(bar), *moved.at_trades) if target is not None]))
        values_of(moved.strategy)
    return said


def _said(targets: Sequence[Target]) -> Said:
    if not targets:
        return None
    first, *others = targets
    beside = "".join(f"; at a trade {other.direction} {other.strength:g} ({other.reason})" for other in others)
    return first.direction.value, float(first.strength), first.reason + beside
