"""When a bot may say what it wants: in its hours, at its frequency, and at moments that come without a bar.

Invariants:
1. What a strategy wanted between two moments at which it is asked waits as a wish; the newest one counts.
2. A bar that was fetched late makes no wish: the first live bar after it does.
3. Outside of the hours of a bot that closes its positions the only thing it wants is to be flat; what could not be said
   there is owed until it is.
Pure; called by engine.signals, which has the strategies.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from engine.bots import Bot, BotStatus
from engine.hours import Hours
from engine.messages import Sessions
from engine.sessions import SessionTable
from engine.strategies import Target
from engine.values import MINUTE_BAR, NS_PER_S, AssetClass, Direction
from engine.versions import Slot, Version

FLAT = (Direction.FLAT, 0.0)


class Pace:
    """The calendar, and the moments that are due."""

    def __init__(self) -> None:
        self.sessions = SessionTable()
        self._hours = Hours(self.sessions)
        self._agenda: list[tuple[int, str, str, int, Slot]] = []
        self._planned = 0
        self.is_known = True
        """Whether nothing was heard since `plan_all`."""

    def on_sessions(self, sessions: Sessions) -> None:
        """Take in the venue's calendar."""
        self.sessions.add(sessions)
        self._hours.forget()
        self.is_known = False

    def session_of(self, asset_class: AssetClass, ts_ns: int) -> tuple[int, int]:
        """Give opening and close of the session that a bar which closes then is of, or comes after; (0, 0): unknown."""
        return self.sessions.of_bar(asset_class, ts_ns)

    def said(
        self,
        slot: Slot,
        active: Version,
        ts_ns: int,
        target: Target | None,
        values: dict[str, float],
        *,
        is_late: bool = False,
    ) -> tuple[Target, dict[str, float]] | None:
        """Give what a bot says at a moment, and note that it was said; None: nothing new, or not now.

        Args:
            slot: Bot and symbol.
            active: The version that decides.
            ts_ns: Close of a bar, or a moment without one.
            target: What the strategy wants; None: it has no opinion.
            values: What that rests on.
            is_late: Whether the bar was fetched long after its close: nothing is said at it.
        """
        bot, hours = active.bot, self._hours
        if not bot.trades(slot.symbol):
            return None
        is_running = active.status is BotStatus.RUNNING
        is_new = ts_ns > slot.emitted_until  # else what was said last is of later
        is_outside = self._is_outside(slot, active, ts_ns)
        may_owe = bot.window is not None and bot.window.flatten_before_s is not None and slot.published != FLAT
        slot.owes_flat = may_owe and (slot.owes_flat or (is_outside and is_new))
        may = hours.speaks
        if may_wait(bot) and (target is not None or is_late):
            is_wish = is_new and not is_late  # what was wished before something was said is over
            if target is not None and is_wish and (target.direction, target.strength) != slot.published:
                slot.wish = target, values
            else:
                slot.wish = None
        if not is_running:
            target = Target(*FLAT, f"{active.status}, with its positions closed") if active.flatten else None
            may = hours.trades
        elif slot.owes_flat or is_outside:
            target, values = Target(*FLAT, "outside of its window, with its positions closed"), {}
            may = hours.trades
        elif may_wait(bot):
            every_s = bot.trading_frequency
            if is_late or (isinstance(every_s, int) and ts_ns < _next(every_s, slot.seen)):
                return None
            slot.seen = ts_ns if isinstance(every_s, int) else slot.seen
            target, values = slot.wish or (None, {})
            if target is not None and (target.direction, target.strength) == slot.published:
                slot.wish = None  # it was said
        if target is None or (target.direction, target.strength) == slot.published:
            return None
        if is_late or ts_ns <= max(slot.emitted_until, slot.silent_until):
            return None
        if not may(bot, slot.asset_class, ts_ns):
            return None
        slot.published, slot.emitted_until, slot.wish = (target.direction, target.strength), ts_ns, None
        slot.owes_flat = False
        return target, values

    def _is_outside(self, slot: Slot, active: Version, ts_ns: int) -> bool:
        is_running = active.status is BotStatus.RUNNING
        return is_running and self._hours.must_be_flat(active.bot, slot.asset_class, ts_ns)

    # --- moments without a bar ---------------------------------------------------------------------------------------

    def follow(self, slot: Slot) -> None:
        """Plan anew where what a bot in a symbol is has changed: what is planned follows from that alone."""
        if slot.due or slot.coming or (slot.active is not None and keeps_time(slot.active.bot)):
            self.plan(slot)

    def plan(self, slot: Slot) -> None:
        """Note the next moment at which a bot may have to speak without a bar."""
        before, slot.due = slot.due, 0 if slot.last is None else self._next_moment(slot)
        if slot.due and slot.due != before:
            self._planned += 1
            heapq.heappush(self._agenda, (slot.due, slot.bot, slot.symbol, self._planned, slot))

    def _next_moment(self, slot: Slot) -> int:
        """Give the first moment at which the version that decides by then may have something to say; 0: none."""
        versions = slot.versions()
        known = max(slot.seen, slot.emitted_until, 0 if slot.last is None else slot.last[0])
        wish = slot.wish
        if wish is not None and (wish[0].direction, wish[0].strength) == slot.published:
            wish = None  # it was said
        for number, version in enumerate(versions):
            if version is not slot.active and version.is_fresh:
                wish = None  # it was another strategy's
            if version.status is not BotStatus.RUNNING or not keeps_time(version.bot):
                continue
            if not version.bot.trades(slot.symbol):
                continue
            since = max(known, version.from_ts)
            moment = self._moment_of(slot, version, since, has_wish=wish is not None)
            if moment and (version is versions[-1] or moment <= versions[number + 1].from_ts):
                return moment
        return 0

    def _moment_of(self, slot: Slot, version: Version, since: int, *, has_wish: bool) -> int:
        dues, bot, hours = list[int](), version.bot, self._hours
        if slot.published != FLAT:
            at_once = slot.owes_flat or self._is_outside(slot, version, since + 1)
            ask = hours.next_trade if at_once else hours.next_flat
            dues.append(ask(bot, slot.asset_class, since))
        if has_wish and isinstance(bot.trading_frequency, int):
            moment = _next(bot.trading_frequency, hours.next_open(bot, slot.asset_class, since) - 1)
            dues += [moment] if hours.speaks(bot, slot.asset_class, moment) else []
        return min((due for due in dues if due), default=0)

    def plan_all(self, slots: Iterable[Slot]) -> None:
        """Note them all anew."""
        self.is_known, self._agenda = True, []
        for slot in slots:
            slot.due = 0
            self.plan(slot)

    def next_due(self) -> int:
        """Give the next moment that may come without a bar, ns UTC; 0: none is known."""
        while self._agenda and self._agenda[0][4].due != self._agenda[0][0]:
            heapq.heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else 0

    def take_due(self) -> tuple[int, str, list[Slot]]:
        """Take the next moment out, with the bot and the symbols it is of."""
        ts, bot = self.next_due(), self._agenda[0][1]
        slots: list[Slot] = []
        while self.next_due() == ts and self._agenda[0][1] == bot:
            slot = heapq.heappop(self._agenda)[4]
            slot.due = 0
            slots.append(slot)
        return ts, bot, slots


def may_wait(bot: Bot) -> bool:
    """Whether what a strategy wants may have to wait for a moment that is not the close of a bar it looks at."""
    return isinstance(bot.trading_frequency, int) or bot.timeframe != MINUTE_BAR


def keeps_time(bot: Bot) -> bool:
    """Whether a bot may have to speak without a bar."""
    return isinstance(bot.trading_frequency, int) or (
        bot.window is not None and bot.window.flatten_before_s is not None
    )


def _next(frequency_s: int, ts_ns: int) -> int:
    """Give the first multiple of a frequency after a moment, ns UTC."""
    return (ts_ns // (frequency_s * NS_PER_S) + 1) * frequency_s * NS_PER_S
