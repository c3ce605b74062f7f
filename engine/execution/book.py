"""What the account should hold: cash and net per symbol as the stream tells it, to be compared with what the venue has.

Invariants:
1. Cash and positions are the opening plus every Fill, Fee, Split and Correction, each once, in exact Decimals: the same
   sums as risk's over all of its bots (rule 13).
2. `moves` counts those events: two looks at the venue with the same count had nothing stored between them.
Moved by the executor's fold only, which makes sure that each event comes once.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.execution.charges import FEE_FRACTION_MAX, Charge, added, give_back, match
from engine.messages import AccountOpened, Correction, Fee, Fill, Split
from engine.portfolio import exactly
from engine.splits import net_after
from engine.values import NS_PER_DAY, ZERO, AssetClass, Side, asset_class_of, multiplier, normal

FROM_FEES = "fees not posted"
"""Source of a correction that stands for a fee which the venue took and has not posted."""
USD = ""
"""In the place of a symbol."""
_POSTED_DAYS_MAX = 3
_KEPT_MAX = 1_000


class Book(msgspec.Struct):
    """The account as it should be.

    Attributes:
        traded: Per symbol, venue time of the last fill.
        unposted: Largest fees that the venue may have taken on coins and not posted yet, by day of the trade: per
            symbol in coins, under "" in USD.
        charges: Per symbol of coins, executions of which no fee was posted yet.
        advanced: Coins that corrections took off for fees that are not posted yet, by symbol and bot.
        corrected: Corrections that nothing explains so far, by id: symbol, quantity, cash.
        known: Ids of corrections, newest last.
    """

    cash: Decimal = ZERO
    positions: dict[str, Decimal] = msgspec.field(default_factory=dict[str, Decimal])
    moves: int = 0
    traded: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    unposted: dict[str, dict[int, Decimal]] = msgspec.field(default_factory=dict[str, dict[int, Decimal]])
    charges: dict[str, list[Charge]] = msgspec.field(default_factory=dict[str, list[Charge]])
    advanced: dict[str, dict[str, Decimal]] = msgspec.field(default_factory=dict[str, dict[str, Decimal]])
    corrected: dict[str, tuple[str, Decimal, Decimal]] = msgspec.field(
        default_factory=dict[str, tuple[str, Decimal, Decimal]]
    )
    known: dict[str, None] = msgspec.field(default_factory=dict[str, None])

    def held(self, symbol: str) -> Decimal:
        """Give the net quantity of a symbol."""
        return self.positions.get(symbol, ZERO)

    def open(self, opened: AccountOpened) -> None:
        """Start from what the venue had."""
        self.cash = normal(opened.cash)
        self.positions = {symbol: normal(quantity) for symbol, quantity in opened.positions.items() if quantity}

    def fill(self, fill: Fill, payer: str) -> None:
        """Count an execution, for which somebody pays what the venue charges."""
        value = self._trade(fill)
        self.traded[fill.symbol] = max(self.traded.get(fill.symbol, 0), fill.ts_event)
        if asset_class_of(fill.symbol) is AssetClass.CRYPTO:
            is_buy = fill.side is Side.BUY
            basis = fill.last_qty if is_buy else value
            self._allow(fill.symbol if is_buy else USD, fill.ts_event, basis)
            charge = Charge(payer, is_buy, basis, fill.ts_event)
            self.charges[fill.symbol] = added(self.charges.get(fill.symbol, []), charge)

    @exactly
    def _trade(self, fill: Fill) -> Decimal:
        value = fill.last_qty * fill.last_px * multiplier(fill.symbol)
        self._move(fill.symbol, fill.side.sign * fill.last_qty, -fill.side.sign * value - fill.commission)
        return value

    def fee(self, fee: Fee) -> None:
        """Count an activity; a posted fee explains what was missing before."""
        self._move(fee.symbol, fee.quantity, fee.cash)
        if asset_class_of(fee.symbol) is AssetClass.CRYPTO:
            amount = -(fee.quantity or fee.cash)
            self._posted(fee.symbol if fee.quantity else USD, amount)
            charges = self.charges.get(fee.symbol, [])
            place = match(charges, amount, is_buy=bool(fee.quantity), bot=fee.bot)
            if place is not None:
                del charges[place]

    def split(self, split: Split) -> None:
        """Count a split."""
        before = self.positions.pop(split.symbol, ZERO)
        self._move(split.new_symbol, net_after(before, split) if before else ZERO, split.cash_in_lieu)

    def correct(self, correction: Correction, *, is_advance: bool, reverses: str = "") -> None:
        """Count a correction.

        Args:
            correction: What was found.
            is_advance: It stands for a fee that is not posted yet, or takes such a one back.
            reverses: Id of the unexplained correction it takes back, if any.
        """
        self._move(correction.symbol, correction.quantity, correction.cash)
        _keep(self.known, correction.id, None)
        if is_advance:
            of_bots = self.advanced.setdefault(correction.symbol, {})
            if correction.quantity > 0:
                give_back(of_bots, correction.bot, correction.quantity)
            else:
                of_bots[correction.bot] = normal(of_bots.get(correction.bot, ZERO) - correction.quantity)
            if not of_bots:
                del self.advanced[correction.symbol]
        elif reverses:
            self.corrected.pop(reverses, None)
        else:
            _keep(self.corrected, correction.id, (correction.symbol, correction.quantity, correction.cash))

    def may_miss(self, symbol: str) -> Decimal:
        """Give the largest fees that may be taken and not posted yet: coins of a symbol, or USD under ""."""
        return sum(self.unposted.get(symbol, {}).values(), ZERO)

    def _allow(self, key: str, ts_event: int, amount: Decimal) -> None:
        days, day = self.unposted.setdefault(key, {}), ts_event // NS_PER_DAY
        days[day] = days.get(day, ZERO) + FEE_FRACTION_MAX * amount
        for old in [known for known in days if known < day - _POSTED_DAYS_MAX]:
            del days[old]

    def _posted(self, key: str, amount: Decimal) -> None:
        days = self.unposted.get(key, {})
        for day in sorted(days):
            part = min(days[day], max(amount, ZERO))
            days[day] -= part
            amount -= part

    @exactly
    def _move(self, symbol: str, quantity: Decimal, cash: Decimal) -> None:
        self.moves += 1
        self.cash = normal(self.cash + cash)
        if quantity:
            after = normal(self.held(symbol) + quantity)
            if after:
                self.positions[symbol] = after
            else:
                del self.positions[symbol]


def _keep[T](table: dict[str, T], key: str, value: T) -> None:
    table[key] = value
    if len(table) > _KEPT_MAX:
        del table[next(iter(table))]
