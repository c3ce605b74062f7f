"""Stops and targets that risk watches itself: what the venue does not hold of a position, a guard closes.

A guard exists while a bot with `stops` holds something. It is moved by stored messages only (fills, marks, ends of
orders), so that it is the same after a restart. When a mark touches its stop or target it fires: a signal with target
flat, answered as every other signal. Stop and target within one mark: the stop counts.

Invariants:
1. Protected quantity: what orders at the venue cover plus what the guard watches is what is held.
2. A guard fires once; it is armed again only when its exit was denied, refused or has ended with something still held,
   and then it waits longer each time.
3. Prices from before the position was opened never fire it.
Called by engine.risk.core. Never sends, never reads a clock.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.bots import Bot, Stops
from engine.ids import make_id
from engine.messages import Mark, Protection, Signal, Split
from engine.ordering import levels
from engine.portfolio import Portfolio
from engine.risk.working import Working
from engine.splits import divided
from engine.values import NS_PER_S, ZERO, Direction, plain

STRATEGY = "guard"
"""Name in the `strategy` field of signals that guards make."""
_WAIT_S_MAX = 60
_PAIR, _LOST_MAX, _EXITS_WAIT_S_MAX = 2, 50, 300


class Guard(msgspec.Struct):
    """What is watched of one position.

    Attributes:
        sign: +1 long, -1 short.
        opened_ns: Venue time from which prices count.
        peak_px: Best price since then.
        cause: Key of the fill that changed the position last.
        fired: Id of the signal it made; empty while armed.
        attempts: How often it fired for this position.
        not_before: Venue time before which it does not fire again.
        exits: How often the venue was asked for exits of this position; part of their ids.
        refused: `cause` for which the venue did not take exits; then risk watches instead.
        told: What was reported last: holder, quantity at the venue, quantity watched.
        lost: How many exits at the venue ended by themselves since the position changed last.
        exits_not_before: Venue time before which the venue is not asked for exits again.
    """

    sign: int
    opened_ns: int
    peak_px: Decimal
    cause: str
    fired: str = ""
    attempts: int = 0
    not_before: int = 0
    exits: int = 0
    refused: str = ""
    told: tuple[str, Decimal, Decimal] = ("", ZERO, ZERO)
    lost: int = 0
    exits_not_before: int = 0


class Guards:
    """All guards of an account.

    Args:
        bots: By name, as they are now; those without stops have no guards.
        guards: By `bot|symbol`; changed here only.
        portfolio: What is held.
        working: Orders that protect it.
    """

    def __init__(self, bots: dict[str, Bot], guards: dict[str, Guard], portfolio: Portfolio, working: Working) -> None:
        self._bots = bots
        self._guards = guards
        self._portfolio = portfolio
        self._working = working
        self.touched: dict[str, None] = dict.fromkeys(guards)
        """Positions for which the venue may have to be asked for exits."""

    def get(self, bot: str, symbol: str) -> Guard | None:
        """Give the guard of a position."""
        return self._guards.get(f"{bot}|{symbol}")

    def moved(self, bot: str, symbol: str, price: Decimal, cause: str, ts_event: int) -> list[Protection]:
        """Follow a position that changed.

        Args:
            bot: Whose.
            symbol: In what.
            price: Price of the fill, or the average price.
            cause: Key of the fill, fee or correction.
            ts_event: Its venue time.
        """
        if self._stops(bot) is None:
            return []
        key, held = f"{bot}|{symbol}", self._portfolio.signed_qty(bot, symbol)
        guard = self._guards.get(key)
        sign = (held > 0) - (held < 0)
        if guard is not None and guard.sign != sign:
            del self._guards[key]
            guard = None
            if sign == 0:
                return [Protection(bot, symbol, "none", ZERO, ZERO, cause, ts_event)]
        if sign == 0:
            return []
        if guard is None:
            guard = self._guards[key] = Guard(sign, ts_event, price, cause)
        guard.cause, guard.lost, guard.exits_not_before = cause, 0, 0
        return self.told(bot, symbol, cause, ts_event)

    def restop(self, bot: str, symbol: str, cause: str, ts_event: int) -> list[Protection]:
        """Follow other stops of a position that is held already.

        Args:
            bot: Whose.
            symbol: In what.
            cause: What changed them.
            ts_event: Its venue time; prices before it do not count where there were no stops.
        """
        key, held = f"{bot}|{symbol}", self._portfolio.signed_qty(bot, symbol)
        if held == 0:
            return []
        if self._stops(bot) is None:
            is_news = self._guards.pop(key, None) is not None
            return [Protection(bot, symbol, "none", ZERO, ZERO, cause, ts_event)] if is_news else []
        guard = self._guards.get(key)
        if guard is None:
            entry = self._portfolio.holding(bot, symbol).avg_px_open
            guard = self._guards[key] = Guard(1 if held > 0 else -1, ts_event, entry, cause)
        guard.cause, guard.lost, guard.exits_not_before, guard.told = cause, 0, 0, ("", ZERO, ZERO)
        return self.told(bot, symbol, cause, ts_event)

    def _stops(self, bot: str) -> Stops | None:
        return self._bots[bot].stops if bot in self._bots else None

    def told(self, bot: str, symbol: str, cause: str, ts_event: int) -> list[Protection]:
        """Report who protects a position, if that changed."""
        guard = self.get(bot, symbol)
        if guard is None:
            return []
        self.touched[f"{bot}|{symbol}"] = None
        held = abs(self._portfolio.signed_qty(bot, symbol))
        at_venue = min(self._working.coverage(bot, symbol), held)
        watched = held - at_venue
        holder = "risk" if at_venue == 0 else "venue" if watched == 0 else "both"
        if guard.told == (holder, at_venue, watched):
            return []
        guard.told = (holder, at_venue, watched)
        stop, target = self.levels(bot, symbol, guard)
        if holder == "venue":  # exits that went with their entry lie where its price was expected
            lies_stop, lies_target = self._working.levels_at_venue(bot, symbol)
            stop, target = lies_stop or stop, lies_target or target
        return [Protection(bot, symbol, holder, at_venue, watched, cause, ts_event, stop, target, guard.peak_px)]

    def uncovered(self, bot: str, symbol: str) -> Decimal:
        """Give the quantity of a position that no order at the venue protects."""
        held = abs(self._portfolio.signed_qty(bot, symbol))
        return max(held - self._working.coverage(bot, symbol), ZERO)

    def bare(self) -> dict[str, str]:
        """Say, by `bot|symbol`, what has no stop at the venue; to be told while trading is halted."""
        found: dict[str, str] = {}
        for key in self._guards:
            bot, symbol = key.split("|", 1)
            if lacks := self.uncovered(bot, symbol):
                found[key] = (
                    f"trading is halted, and {plain(lacks)} {symbol} of {bot} have no stop at the venue: risk does "
                    "nothing for them until `tapeline resume`; close them by hand or with `tapeline halt --flatten`"
                )
        return found

    def levels(self, bot: str, symbol: str, guard: Guard) -> tuple[Decimal | None, Decimal | None]:
        """Give stop and target of a position, on the venue's tick."""
        entry = self._portfolio.holding(bot, symbol).avg_px_open
        stops = self._stops(bot)
        if stops is None:
            return None, None
        return levels(stops, symbol, guard.sign, entry, guard.peak_px)

    def watching(self, symbol: str) -> list[str]:
        """Name the bots that have a guard in a symbol."""
        return [bot for bot in self._bots if f"{bot}|{symbol}" in self._guards]

    def take(self, mark: Mark, ledger: str, *, may_fire: bool) -> list[Signal]:
        """Take in prices; give the signals of the guards that fire.

        Args:
            mark: The prices.
            ledger: Account and run, for the ids.
            may_fire: Whether an exit could leave now; where not, only the peaks move.
        """
        fired: list[Signal] = []
        for bot in self.watching(mark.symbol):
            touched = self._on_mark(bot, mark, may_fire=may_fire)
            if touched is not None:
                signal_id = make_id(ledger, bot, STRATEGY, mark.symbol, mark.ts_event)
                fired.append(self._fire(bot, mark, touched, signal_id))
        return fired

    def _on_mark(self, bot: str, mark: Mark, *, may_fire: bool) -> tuple[Decimal, str] | None:
        """Give the price that touched, and what it touched, if the guard fires."""
        guard = self._guards[f"{bot}|{mark.symbol}"]
        worst, best, last = _prices(mark, guard)
        if last is None:
            return None
        stop, target = self.levels(bot, mark.symbol, guard)
        touched = _touched(guard.sign, stop, target, worst, best)
        if (best - guard.peak_px) * guard.sign > 0:
            guard.peak_px = best
            moved, _ = self.levels(bot, mark.symbol, guard)
            # What came first in a mark, the best or the worst price, is not known; the last price came last.
            touched = touched or _touched(guard.sign, moved, None, last, last)
        if touched is None or not may_fire or guard.fired or mark.ts_event < guard.not_before:
            return None
        if self.uncovered(bot, mark.symbol) == 0:
            return None  # the venue holds all of it
        return touched

    def _fire(self, bot: str, mark: Mark, touched: tuple[Decimal, str], signal_id: str) -> Signal:
        """Make the signal that closes a position, and remember it."""
        guard = self._guards[f"{bot}|{mark.symbol}"]
        guard.fired, guard.attempts = signal_id, guard.attempts + 1
        guard.not_before = mark.ts_event + min(2**guard.attempts, _WAIT_S_MAX) * NS_PER_S
        price, what = touched
        watched = self.uncovered(bot, mark.symbol)
        return Signal(
            id=signal_id,
            bot=bot,
            symbol=mark.symbol,
            strategy=STRATEGY,
            direction=Direction.FLAT,
            strength=0.0,
            price=float(price),
            reason=f"{what} touched by {plain(price)}, {plain(watched)} watched by risk",
            bar=f"mark|{mark.symbol}|{mark.ts_from}|{mark.ts_event}",
            ts_event=mark.ts_event,
        )

    def arm(self, bot: str, symbol: str, signal_id: str) -> None:
        """Let a guard fire again: its exit came to nothing."""
        guard = self.get(bot, symbol)
        if guard is not None and guard.fired == signal_id:
            guard.fired = ""

    def asked(self, bot: str, symbol: str) -> None:
        """Note that the venue is asked for exits: the next ones are others."""
        guard = self.get(bot, symbol)
        if guard is not None:
            guard.exits += 1

    def refuse(self, bot: str, symbol: str) -> None:
        """Note that the venue does not take exits for the position as it is: risk watches it."""
        guard = self.get(bot, symbol)
        if guard is not None:
            guard.refused = guard.cause

    def lose(self, bot: str, symbol: str, ts_event: int) -> bool:
        """Note that an exit at the venue ended by itself; give whether the venue is not asked any more from here on.

        A pair is asked for again at once, what ends again and again later and later.
        """
        guard = self.get(bot, symbol)
        if guard is None:
            return False
        guard.lost += 1
        if guard.lost > _PAIR:
            wait_s = min(2 ** min(guard.lost - _PAIR, 32), _EXITS_WAIT_S_MAX)
            guard.exits_not_before = max(guard.exits_not_before, ts_event + wait_s * NS_PER_S)
        if guard.lost == _LOST_MAX:
            guard.refused = guard.cause
        return guard.lost == _LOST_MAX

    def split(self, split: Split) -> None:
        """Move the peaks with a split: prices from before it do not count any more."""
        for bot in self.watching(split.symbol):
            guard = self._guards.pop(f"{bot}|{split.symbol}")
            guard.peak_px, guard.opened_ns = divided(guard.peak_px, split.ratio), max(guard.opened_ns, split.ts_event)
            self._guards[f"{bot}|{split.new_symbol}"] = guard


def _prices(mark: Mark, guard: Guard) -> tuple[Decimal, Decimal, Decimal | None]:
    """Give worst, best and last price for the position: trades, else the quote at which it could be closed."""
    last = mark.last_px
    if last is None:
        last = mark.bid_px if guard.sign > 0 else mark.ask_px
    if last is None or mark.ts_event <= guard.opened_ns:
        return ZERO, ZERO, None
    low, high = mark.low_px, mark.high_px
    if mark.ts_from < guard.opened_ns or low is None or high is None:
        return last, last, last  # some of the span lies before the position
    return (low, high, last) if guard.sign > 0 else (high, low, last)


def _touched(
    sign: int, stop: Decimal | None, target: Decimal | None, worst: Decimal, best: Decimal
) -> tuple[Decimal, str] | None:
    if stop is not None and (worst - stop) * sign <= 0:
        return worst, f"stop {plain(stop)}"
    if target is not None and (best - target) * sign >= 0:
        return best, f"target {plain(target)}"
    return None
