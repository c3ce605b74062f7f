"""What the account and each bot stand to lose: worst-case exposure, net exposure, P&L; kept up holding by holding.

Marks are the last prices risk was told (marks, signals, fills, the ledger's opening); one that is too old counts as
unknown. Worst case of a holding is the largest of |held|, |held + buys| and |held - sells| that work: they may fill one
without the other. Sums are exact, so that they are the same after a restart. Derived from the portfolio: never
checkpointed, built anew. Called by engine.risk.core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from engine.messages import Split
from engine.portfolio import Portfolio, exactly
from engine.risk.aging import Ages, oldest_that_counts
from engine.sessions import SessionTable
from engine.splits import divided
from engine.values import ZERO, AssetClass, multiplier, normal


class Sums(msgspec.Struct):
    """USD. `unknown`: holdings without a price, by `bot|symbol`; while there are any, the sums are too small.

    Attributes:
        value: Of what is held, shorts negative.
        short: Of what is held short, positive.
        unknown_shorts: How many of the unknown are short.
    """

    gross: Decimal = ZERO
    net: Decimal = ZERO
    pnl: Decimal = ZERO
    realized: Decimal = ZERO
    value: Decimal = ZERO
    short: Decimal = ZERO
    open_symbols: int = 0
    unknown_shorts: int = 0
    unknown: dict[str, None] = msgspec.field(default_factory=dict[str, None])


class _Part(msgspec.Struct, frozen=True):
    gross: Decimal = ZERO
    net: Decimal = ZERO
    pnl: Decimal = ZERO
    realized: Decimal = ZERO
    value: Decimal = ZERO
    is_open: bool = False
    is_unknown: bool = False
    is_short: bool = False


_NOTHING = _Part()
_NOBODY: tuple[tuple[Decimal, ...], tuple[Decimal, ...]] = ((), ())


class Exposure:
    """Sums over the holdings of a portfolio.

    Args:
        portfolio: The ledger; whoever changes it calls `touch`.
        marks: Last known price by symbol, with its time; changed here only.
        earlier: The one before it that is older; the same.
    """

    def __init__(
        self,
        portfolio: Portfolio,
        marks: dict[str, tuple[int, Decimal]],
        earlier: dict[str, tuple[int, Decimal]] | None = None,
    ) -> None:
        self._portfolio = portfolio
        self._marks = marks
        self._earlier = {} if earlier is None else earlier
        self._ages = Ages(marks)
        self._stale: dict[str, None] = {}
        self.on_move: Callable[[str, tuple[int, Decimal], tuple[int, Decimal]], None] = _ignore
        """Told of each new price with the one before it: symbol, (time, price) before, (time, price) now."""
        self._parts: dict[str, _Part] = {}
        self._bots: dict[str, dict[str, None]] = {}
        self.account = Sums()
        self._of: dict[str, Sums] = {}
        for key in (*portfolio.holdings, *portfolio.working, *portfolio.selling):
            self.touch(*key.split("|", 1))

    def of(self, bot: str) -> Sums:
        """Give the sums of a bot."""
        sums = self._of.get(bot)
        if sums is None:
            sums = self._of[bot] = Sums()
        return sums

    def pnl(self) -> dict[str, Decimal]:
        """Give P&L of the account ("") and of every bot, USD; those that are 0 left out."""
        every = {"": self.account.pnl, **{bot: sums.pnl for bot, sums in self._of.items()}}
        return {scope: normal(pnl) for scope, pnl in every.items() if pnl}

    def mark(self, symbol: str, price: Decimal, ts_event: int, *, also_equal: bool = True) -> None:
        """Take in a price, USD, unless a later one is known; at equal times only with `also_equal`.

        So the order in which signals and fills are applied does not matter, and a late fill is no new price; one that
        came between the last two is the earlier one from then on.
        """
        known, earlier = self._marks.get(symbol), self._earlier.get(symbol)
        is_newer = earlier is None or earlier[0] < ts_event or (also_equal and earlier[0] == ts_event)
        if price > 0 and known is not None and ts_event < known[0] and is_newer:
            self._earlier[symbol] = (ts_event, price)
        if price <= 0 or (known is not None and (ts_event < known[0] or (ts_event == known[0] and not also_equal))):
            return
        self._marks[symbol] = (ts_event, price)
        if known is not None and known[0] < ts_event:
            self._earlier[symbol] = known
        if symbol in self._stale:
            del self._stale[symbol]
            self._ages.note(symbol)
            known = None if known is None else (known[0], ZERO)  # counted anew though the price may be the same
        if known is not None and known[1]:
            self.on_move(symbol, known, (ts_event, price))
        if known is not None and known[1] == price:
            return
        for bot in self._bots.get(symbol, ()):
            self.touch(bot, symbol)

    def split(self, split: Split) -> None:
        """Turn the last price of a symbol, if it is older than a split, into one of after it; the caller touches."""
        for table in (self._marks, self._earlier):
            known = table.get(split.symbol)
            if known is not None and known[0] <= split.ts_event:
                del table[split.symbol]
                table[split.new_symbol] = (known[0], divided(known[1], split.ratio))

    def age(self, now_ns: int, sessions: SessionTable, age_ms_max: int) -> None:
        """Let prices that are too old count as unknown, until newer ones come; what they were stays in the sums."""
        for kind in AssetClass:
            for symbol in self._ages.before(kind, oldest_that_counts(sessions, kind, now_ns, age_ms_max)):
                bots = self.holders(symbol)
                if bots:
                    self._stale[symbol] = None
                for bot in bots:
                    self.touch(bot, symbol)

    def holders(self, symbol: str) -> list[str]:
        """Name the bots that hold something in a symbol, or have orders in it."""
        return [bot for bot in self._bots.get(symbol, ()) if self._parts[f"{bot}|{symbol}"].is_open]

    def last(self, symbol: str) -> Decimal | None:
        """Give the last known price, USD."""
        known = self._marks.get(symbol)
        return None if known is None else known[1]

    def last_before(self, symbol: str, ts_event: int) -> Decimal | None:
        """Give the last known price that is older than this, USD."""
        known = self._marks.get(symbol)
        if known is not None and known[0] >= ts_event:
            known = self._earlier.get(symbol)
        return None if known is None else known[1]

    def others(self, bot: str, symbol: str) -> tuple[Sequence[Decimal], Sequence[Decimal]]:
        """Give what every other bot holds and has working in a symbol, signed."""
        holders = self._bots.get(symbol)
        if not holders or (len(holders) == 1 and bot in holders):
            return _NOBODY
        names = [name for name in holders if name != bot]
        book = self._portfolio
        return [book.signed_qty(name, symbol) for name in names], [book.working_qty(name, symbol) for name in names]

    def symbol_gross(self, symbol: str) -> Decimal:
        """Worst-case exposure of the account in one symbol, over all bots, USD."""
        return sum((self._parts[f"{bot}|{symbol}"].gross for bot in self._bots.get(symbol, ())), ZERO)

    @exactly
    def touch(self, bot: str, symbol: str) -> None:
        """Count a holding anew after it, its working orders or its price changed."""
        key = f"{bot}|{symbol}"
        holders = self._bots.get(symbol)
        if holders is None:
            self._bots[symbol] = {bot: None}
        else:
            holders[bot] = None
        old, new = self._parts.get(key, _NOTHING), self._part(key, symbol)
        self._parts[key] = new
        gross, net, pnl = new.gross - old.gross, new.net - old.net, new.pnl - old.pnl
        realized, opened = new.realized - old.realized, new.is_open - old.is_open
        value, short = new.value - old.value, max(-new.value, ZERO) - max(-old.value, ZERO)
        for sums in (self.account, self.of(bot)):
            # Trailing zeros stay: equal amounts are written equally where they leave, here it costs the most.
            if gross:
                sums.gross += gross
            if net:
                sums.net += net
            if pnl:
                sums.pnl += pnl
            if realized:
                sums.realized += realized
            if value:
                sums.value += value
            if short:
                sums.short += short
            sums.open_symbols += opened
            sums.unknown_shorts += (new.is_unknown and new.is_short) - (old.is_unknown and old.is_short)
            if new.is_unknown:
                sums.unknown[key] = None
            elif old.is_unknown:
                del sums.unknown[key]
        if opened > 0:
            self._ages.note(symbol)

    def _part(self, key: str, symbol: str) -> _Part:
        held = self._portfolio.holdings.get(key)
        working = self._portfolio.working.get(key, ZERO)
        quantity, realized, cost = ZERO, ZERO, ZERO
        if held is not None:
            quantity, realized, cost = held.signed_qty, held.realized_pnl, held.cost
        expected = quantity + working
        selling = self._portfolio.selling.get(key, ZERO)
        if not quantity and not expected and not selling:
            return _Part(pnl=realized, realized=realized)
        known = self._marks.get(symbol)
        if known is None:
            return _Part(pnl=realized, realized=realized, is_open=True, is_unknown=True, is_short=quantity < 0)
        price = known[1] * multiplier(symbol)
        value = quantity * price
        after = value if expected == quantity else expected * price
        worst = max(abs(value), abs(after))
        if selling and working != selling:  # both sides work: they may fill one without the other
            worst = max(worst, abs(quantity + selling) * price, abs(expected - selling) * price)
        return _Part(
            worst,
            after,
            realized + value - cost,
            realized,
            value,
            is_open=True,
            is_unknown=symbol in self._stale,
            is_short=quantity < 0,
        )


def _ignore(symbol: str, before: tuple[int, Decimal], now: tuple[int, Decimal]) -> None:
    """Nobody asked."""
