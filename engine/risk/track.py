"""What bots and the account have done lately: approved orders, and P&L against the day's beginning and the peak.

Part of risk's state, written to checkpoints as it is; moved by verdicts and fills only. A scope is a bot's name, or ""
for the account. Memory is bounded: times older than the longest window are dropped at the next order of their kind.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from engine.messages import OrderIntent
from engine.portfolio import normal
from engine.risk.exposure import Exposure
from engine.values import NS_PER_MINUTE, ZERO, Purpose, Side

ACCOUNT = ""


class Track(msgspec.Struct):
    """Counts and marks.

    Attributes:
        day: When the trading day began, ns UTC.
        minute: Per scope, when the orders of the last minute were approved, ascending.
        today: Per scope, orders approved in this trading day.
        sides: Per `bot|symbol|side`, when its orders within the window were approved, ascending.
        day_pnl: Per scope, P&L when the day began; 0 where absent.
        peak: Per scope, the highest P&L seen; 0 where absent.
    """

    day: int = 0
    minute: dict[str, list[int]] = msgspec.field(default_factory=dict[str, list[int]])
    today: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    sides: dict[str, list[int]] = msgspec.field(default_factory=dict[str, list[int]])
    day_pnl: dict[str, Decimal] = msgspec.field(default_factory=dict[str, Decimal])
    peak: dict[str, Decimal] = msgspec.field(default_factory=dict[str, Decimal])

    def turn(self, day: int, exposure: Exposure) -> None:
        """Begin a new trading day, before its first price is taken in: what happened overnight belongs to it."""
        if day <= self.day:
            return
        self.day = day
        self.today.clear()
        self.day_pnl = exposure.pnl()

    def observe(self, bot: str, exposure: Exposure) -> None:
        """Move the peaks after a price or a fill."""
        for scope, pnl in ((ACCOUNT, exposure.account.pnl), (bot, exposure.of(bot).pnl)):
            if pnl > self.peak.get(scope, ZERO):
                self.peak[scope] = normal(pnl)

    def approved(self, intent: OrderIntent, window_ns: int) -> None:
        """Count an order."""
        at = intent.decided_ns
        for scope in (ACCOUNT, intent.bot):
            _note(self.minute, scope, at, NS_PER_MINUTE)
            self.today[scope] = self.today.get(scope, 0) + 1
        self._note_side(intent, window_ns)

    def in_minute(self, scope: str, now_ns: int) -> int:
        """Orders of the minute before now."""
        return _count_after(self.minute.get(scope), now_ns - NS_PER_MINUTE)

    def same_side(self, bot: str, symbol: str, side: Side, after_ns: int) -> int:
        """Orders of one bot, symbol and side since then."""
        return _count_after(self.sides.get(f"{bot}|{symbol}|{side}"), after_ns)

    def loss(self, scope: str, pnl: Decimal) -> Decimal:
        """Loss since the day began, USD."""
        return self.day_pnl.get(scope, ZERO) - pnl

    def drawdown(self, scope: str, pnl: Decimal) -> Decimal:
        """Fall from the peak, USD."""
        return self.peak.get(scope, ZERO) - pnl

    def forgive(self, exposure: Exposure, unstored: Iterable[OrderIntent], window_ns: int) -> None:
        """Measure from here on: a person resumed, knowing what had happened.

        Args:
            exposure: As it is now.
            unstored: Orders approved and not stored yet: in the stream they come after the resume.
            window_ns: Of the rule on repeats.
        """
        self.day_pnl = exposure.pnl()
        self.peak = exposure.pnl()
        self.sides.clear()
        for intent in unstored:
            if intent.purpose is not Purpose.PROTECT:
                self._note_side(intent, window_ns)

    def _note_side(self, intent: OrderIntent, window_ns: int) -> None:
        _note(self.sides, f"{intent.bot}|{intent.symbol}|{intent.side}", intent.decided_ns, window_ns)


def _note(table: dict[str, list[int]], key: str, at: int, window_ns: int) -> None:
    """Add a time and drop those that left the window."""
    times = table.get(key)
    if times is None:
        table[key] = [at]
        return
    if times[0] <= at - window_ns:
        del times[: bisect_right(times, at - window_ns)]
    if times and at < times[-1]:  # the clock was set back
        insort(times, at)
    else:
        times.append(at)


def _count_after(times: list[int] | None, ns: int) -> int:
    if not times:
        return 0
    return len(times) if times[0] > ns else len(times) - bisect_right(times, ns)
