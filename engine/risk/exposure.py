"""What the account and each bot stand to lose: worst-case exposure, net exposure, P&L; kept up holding by holding.

Marks are the last prices risk was told (signals, fills, the opening of the ledger). Worst case of a holding is the
larger of |held| and |held + working|. Sums are exact, so that they are the same after a restart. Derived from the
portfolio: never checkpointed, built anew. Called by engine.risk.core.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.portfolio import Portfolio, exactly, normal
from engine.values import ZERO


class Sums(msgspec.Struct):
    """USD. `unknown`: holdings without a price, by `bot|symbol`; while there are any, the sums are too small."""

    gross: Decimal = ZERO
    net: Decimal = ZERO
    pnl: Decimal = ZERO
    open_symbols: int = 0
    unknown: dict[str, None] = msgspec.field(default_factory=dict[str, None])


class _Part(msgspec.Struct, frozen=True):
    gross: Decimal = ZERO
    net: Decimal = ZERO
    pnl: Decimal = ZERO
    is_open: bool = False
    is_unknown: bool = False


_NOTHING = _Part()


class Exposure:
    """Sums over the holdings of a portfolio.

    Args:
        portfolio: The ledger; whoever changes it calls `touch`.
        marks: Last known price by symbol, with its time; changed here only.
    """

    def __init__(self, portfolio: Portfolio, marks: dict[str, tuple[int, Decimal]]) -> None:
        self._portfolio = portfolio
        self._marks = marks
        self._parts: dict[str, _Part] = {}
        self._bots: dict[str, dict[str, None]] = {}
        self.account = Sums()
        self._of: dict[str, Sums] = {}
        for key in list(portfolio.holdings) + list(portfolio.working):
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
        return {scope: pnl for scope, pnl in every.items() if pnl}

    def mark(self, symbol: str, price: Decimal, ts_event: int, *, also_equal: bool = True) -> None:
        """Take in a price, USD, unless a later one is known; at equal times only with `also_equal`.

        So the order in which signals and fills are applied does not matter, and a late fill is no new price.
        """
        known = self._marks.get(symbol)
        if price <= 0 or (known is not None and (ts_event < known[0] or (ts_event == known[0] and not also_equal))):
            return
        self._marks[symbol] = (ts_event, price)
        if known is not None and known[1] == price:
            return
        for bot in self._bots.get(symbol, ()):
            self.touch(bot, symbol)

    def last(self, symbol: str) -> Decimal | None:
        """Give the last known price, USD."""
        known = self._marks.get(symbol)
        return None if known is None else known[1]

    def others(self, bot: str, symbol: str) -> tuple[list[Decimal], list[Decimal]]:
        """Give what every other bot holds and has working in a symbol, signed."""
        names = [name for name in self._bots.get(symbol, ()) if name != bot]
        book = self._portfolio
        return [book.signed_qty(name, symbol) for name in names], [book.working_qty(name, symbol) for name in names]

    def symbol_gross(self, symbol: str) -> Decimal:
        """Worst-case exposure of the account in one symbol, over all bots, USD."""
        return sum((self._parts[f"{bot}|{symbol}"].gross for bot in self._bots.get(symbol, ())), ZERO)

    @exactly
    def touch(self, bot: str, symbol: str) -> None:
        """Count a holding anew after it, its working orders or its price changed."""
        key = f"{bot}|{symbol}"
        self._bots.setdefault(symbol, {})[bot] = None
        old, new = self._parts.get(key, _NOTHING), self._part(bot, symbol)
        self._parts[key] = new
        for sums in (self.account, self.of(bot)):
            sums.gross = normal(sums.gross + new.gross - old.gross)
            sums.net = normal(sums.net + new.net - old.net)
            sums.pnl = normal(sums.pnl + new.pnl - old.pnl)
            sums.open_symbols += new.is_open - old.is_open
            if new.is_unknown:
                sums.unknown[key] = None
            else:
                sums.unknown.pop(key, None)

    def _part(self, bot: str, symbol: str) -> _Part:
        held = self._portfolio.holdings.get(f"{bot}|{symbol}")
        quantity = ZERO if held is None else held.signed_qty
        realized = ZERO if held is None else held.realized_pnl
        expected = quantity + self._portfolio.working_qty(bot, symbol)
        if quantity == 0 and expected == 0:
            return _Part(pnl=realized)
        price = self.last(symbol)
        if price is None:
            return _Part(pnl=realized, is_open=True, is_unknown=True)
        cost = ZERO if held is None else held.cost
        return _Part(
            gross=max(abs(quantity), abs(expected)) * price,
            net=expected * price,
            pnl=realized + quantity * price - cost,
            is_open=True,
        )
