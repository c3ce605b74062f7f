"""The ledger: positions by (bot, symbol), cash, reservations, realized P&L by average cost, right through zero.

Invariants:
1. cash = opening cash + sum over fills of -side x quantity x price - commission + cash of fees, corrections and splits
   (an option contract's price times 100).
   Exact Decimals: sums are made with 60 digits, for 19 of a quantity times 14 of a price are more than the 28 that
   decimal keeps.
2. Cost basis is kept exact; what a reduction takes out of it is rounded to 1e-9 and the rest stays, so that
   realized P&L + remaining cost never drifts.
3. A reservation exists from approval to the terminal event and shrinks with each fill.
Called by engine.risk and later by the backtester and reports. Never decides whether something may be traded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import ROUND_HALF_EVEN, Context, Decimal, getcontext, setcontext
from functools import wraps
from typing import ParamSpec, TypeVar

import msgspec

from engine.messages import Correction, Fee, Fill, OrderIntent, Split
from engine.splits import shared_out
from engine.values import ONE, ZERO, multiplier, normal

_STEP = Decimal("0.000000001")
_EXACT = Context(prec=60)
TRANSFERS = frozenset({"CSD", "CSW", "CSR", "TRANS", "JNL", "JNLC", "JNLS", "ACATC", "ACATS"})
"""Activities by which cash or shares come and go without a gain or a loss (Alpaca's names)."""
_OF_HOLDING = ("DIV", "INT", "PTC", "PTR")
"""How kinds of activities begin whose cash comes of holding shares, not of trading them (Alpaca's names)."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


def exactly(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Compute with enough digits for every sum here to be exact."""

    @wraps(function)
    def inner(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        before = getcontext()
        setcontext(_EXACT)  # not `localcontext`: a copy for every sum costs more than the sum
        try:
            return function(*args, **kwargs)
        finally:
            setcontext(before)

    return inner


class Holding(msgspec.Struct):
    """A position: `cost` is what the signed quantity cost (negative for a short), exact.

    Attributes:
        unit: What one of it times its price is worth, USD: 100 for an option contract, else 1.
    """

    signed_qty: Decimal = ZERO
    cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    unit: Decimal = ONE

    @property
    @exactly
    def avg_px_open(self) -> Decimal:
        """Average price of the open quantity, rounded to 1e-9; 0 when flat."""
        if self.signed_qty == 0:
            return ZERO
        return normal((self.cost / (self.signed_qty * self.unit)).quantize(_STEP, rounding=ROUND_HALF_EVEN))

    @exactly
    def unrealized_pnl(self, price: Decimal) -> Decimal:
        """Value at `price` minus cost."""
        return self.signed_qty * price * self.unit - self.cost

    @exactly
    def trade(self, signed_qty: Decimal, price: Decimal) -> None:
        """Add `signed_qty` at `price`; what closes is realized against average cost, what is over opens anew."""
        held, price = self.signed_qty, price * self.unit
        if held == 0 or (held > 0) == (signed_qty > 0):
            self.signed_qty = held + signed_qty
            self.cost += signed_qty * price
            return
        closing = signed_qty if abs(signed_qty) <= abs(held) else -held
        if closing == -held:
            taken = self.cost
        else:
            taken = (self.cost * -closing / held).quantize(_STEP, rounding=ROUND_HALF_EVEN)
        self.realized_pnl = normal(self.realized_pnl + (-closing * price) - taken)
        self.cost -= taken
        self.signed_qty = held + closing
        opening = signed_qty - closing
        if opening != 0:
            self.signed_qty += opening
            self.cost += opening * price


class Reservation(msgspec.Struct):
    """What a working order may still take: its leaves and the cash held for them."""

    key: str
    sign: int
    leaves_qty: Decimal
    quantity: Decimal
    reserved: Decimal
    held_cash: Decimal


class Portfolio(msgspec.Struct):
    """The whole ledger of one account.

    Attributes:
        working: Per `bot|symbol`, what orders may still trade, signed, buys and sells together;
        selling: the sells of it alone, negative.
    """

    cash: Decimal = ZERO
    holdings: dict[str, Holding] = msgspec.field(default_factory=dict[str, Holding])
    reservations: dict[str, Reservation] = msgspec.field(default_factory=dict[str, Reservation])
    working: dict[str, Decimal] = msgspec.field(default_factory=dict[str, Decimal])
    selling: dict[str, Decimal] = msgspec.field(default_factory=dict[str, Decimal])
    reserved: Decimal = ZERO

    def holding(self, bot: str, symbol: str) -> Holding:
        """Give the holding, flat if there never was one."""
        key = f"{bot}|{symbol}"
        held = self.holdings.get(key)
        if held is None:
            held = self.holdings[key] = Holding(unit=multiplier(symbol))
        return held

    def signed_qty(self, bot: str, symbol: str) -> Decimal:
        """Net quantity a bot holds in a symbol."""
        held = self.holdings.get(f"{bot}|{symbol}")
        return held.signed_qty if held else ZERO

    @exactly
    def net(self) -> dict[str, Decimal]:
        """Sum of every bot's quantity by symbol, flat ones left out: what the venue must report."""
        total: dict[str, Decimal] = {}
        for key, held in self.holdings.items():
            symbol = key.split("|", 1)[1]
            total[symbol] = total.get(symbol, ZERO) + held.signed_qty
        return {symbol: normal(qty) for symbol, qty in sorted(total.items()) if qty != 0}

    @property
    @exactly
    def realized_pnl(self) -> Decimal:
        """Realized P&L over all bots."""
        return normal(sum((held.realized_pnl for held in self.holdings.values()), ZERO))

    def working_qty(self, bot: str, symbol: str) -> Decimal:
        """Signed quantity still working at the venue or on its way there."""
        return self.working.get(f"{bot}|{symbol}", ZERO)

    def reserve(self, intent: OrderIntent) -> None:
        """Hold what an approved intent may take."""
        key = f"{intent.bot}|{intent.symbol}"
        self.reserve_for(intent.id, key, intent.side.sign * intent.quantity, intent.reserved)

    @exactly
    def reserve_for(self, client_order_id: str, key: str, signed_qty: Decimal, cash: Decimal) -> None:
        """Hold what an order may take: a signed quantity of `bot|symbol`, and USD. Twice for one id changes nothing."""
        if client_order_id in self.reservations:
            return
        quantity, sign = abs(signed_qty), 1 if signed_qty > 0 else -1
        self.reservations[client_order_id] = Reservation(key, sign, quantity, quantity, cash, cash)
        self._move(key, sign, signed_qty, cash)

    @exactly
    def release(self, client_order_id: str) -> None:
        """End a reservation at a terminal event."""
        gone = self.reservations.pop(client_order_id, None)
        if gone is not None:
            self._move(gone.key, gone.sign, -gone.sign * gone.leaves_qty, -gone.held_cash)

    @contextmanager
    def without(self, client_order_id: str) -> Generator[None]:
        """Look at the ledger as if an order did not work; on leaving it is as before, to the order of its entries."""
        if client_order_id not in self.reservations:
            yield
            return
        before = (dict(self.reservations), dict(self.working), dict(self.selling), self.reserved)
        self.release(client_order_id)
        try:
            yield
        finally:
            self.reservations, self.working, self.selling, self.reserved = before

    def _shrink(self, client_order_id: str, filled: Decimal) -> None:
        order = self.reservations.get(client_order_id)
        if order is None or not order.quantity:  # what a replacement reserves more is of no quantity
            return
        filled = min(filled, order.leaves_qty)
        leaves = order.leaves_qty - filled
        held = (order.reserved * leaves / order.quantity).quantize(_STEP, rounding=ROUND_HALF_EVEN)
        self._move(order.key, order.sign, -order.sign * filled, held - order.held_cash)
        order.leaves_qty, order.held_cash = leaves, held

    def _move(self, key: str, sign: int, working: Decimal, cash: Decimal) -> None:
        for table in (self.working, self.selling) if sign < 0 else (self.working,):
            now = table.get(key, ZERO) + working
            if now == 0:
                table.pop(key, None)
            else:
                table[key] = now
        self.reserved = normal(self.reserved + cash)

    @exactly
    def apply_fill(self, fill: Fill) -> Holding:
        """Book one execution; the caller has made sure that it comes once."""
        held = self.holding(fill.bot, fill.symbol)
        held.trade(fill.side.sign * fill.last_qty, fill.last_px)
        self.cash = normal(self.cash - fill.side.sign * fill.last_qty * fill.last_px * held.unit - fill.commission)
        if fill.commission:
            held.realized_pnl = normal(held.realized_pnl - fill.commission)
        self._shrink(fill.client_order_id, fill.last_qty)
        return held

    @exactly
    def parts_of(self, fee: Fee) -> list[Fee]:
        """Share the cash that comes of holding a symbol out over those that hold it, by quantity, shorts negative.

        Everything else, and what nobody holds, stays as it is. Parts are on 1e-9, the last by name takes what is over.
        """
        held = {
            key.split("|", 1)[0]: holding.signed_qty
            for key, holding in sorted(self.holdings.items())
            if key.endswith(f"|{fee.symbol}") and holding.signed_qty
        }
        net = sum(held.values(), ZERO)
        if not fee.symbol or fee.quantity or not net or not fee.kind.startswith(_OF_HOLDING):
            return [fee]
        left, parts = fee.cash, list[Fee]()
        for number, (bot, quantity) in enumerate(held.items(), 1):
            part = (fee.cash * quantity / net).quantize(_STEP, rounding=ROUND_HALF_EVEN)
            cash = normal(left if number == len(held) else part)
            left -= cash
            parts.append(msgspec.structs.replace(fee, bot=bot, cash=cash))
        return parts

    @exactly
    def apply_fee(self, fee: Fee) -> Holding:
        """Book an activity: its cash, and a change of the holding.

        A fee is realized as a loss (a quantity with its cost), a dividend as a gain. What is transferred is neither:
        shares come and go at the average price of those that are held.
        """
        held, is_transfer = self.holding(fee.bot, fee.symbol), fee.kind in TRANSFERS
        if fee.quantity:
            held.trade(fee.quantity, held.avg_px_open if is_transfer else ZERO)
        if not is_transfer:
            held.realized_pnl = normal(held.realized_pnl + fee.cash)
        self.cash = normal(self.cash + fee.cash)
        return held

    @exactly
    def apply_correction(self, correction: Correction) -> Holding:
        """Book a correction: no gain and no loss, shares at their price, or at the average of those that are held.

        Not at the last price that risk knows: which that is, may be another one after a restart.
        """
        held = self.holding(correction.bot, correction.symbol)
        if correction.quantity:
            held.trade(correction.quantity, held.avg_px_open if correction.price is None else correction.price)
        self.cash = normal(self.cash + correction.cash)
        return held

    @exactly
    def apply_split(self, split: Split) -> list[str]:
        """Turn every bot's holding into what a split makes of it; cost and realized P&L stay, save of what is paid out.

        Give the keys (`bot|symbol`) of changed holdings.
        """
        held = {key: h for key, h in self.holdings.items() if key.endswith(f"|{split.symbol}") and h.signed_qty}
        parts = shared_out({key: h.signed_qty for key, h in held.items()}, split)
        dropped = sum((abs(part.given) for part in parts.values()), ZERO)
        price = split.cash_in_lieu / dropped if dropped else ZERO
        self.cash = normal(self.cash + split.cash_in_lieu)
        changed: list[str] = []
        for key, part in parts.items():
            holding, bot = held[key], key.split("|", 1)[0]
            holding.signed_qty = part.quantity
            if part.given:
                holding.trade(-part.given, price)
            holding.signed_qty = normal(holding.signed_qty)
            changed.append(key)
            if split.new_symbol != split.symbol:
                self._rename(holding, self.holding(bot, split.new_symbol))
                changed.append(f"{bot}|{split.new_symbol}")
        return changed

    def _rename(self, old: Holding, new: Holding) -> None:
        """Move a holding to its new name; what was earned under the old one stays there."""
        if new.signed_qty and (new.signed_qty > 0) != (old.signed_qty > 0):
            new.trade(old.signed_qty, old.cost / (old.signed_qty * old.unit))
        else:
            new.signed_qty, new.cost = normal(new.signed_qty + old.signed_qty), new.cost + old.cost
        old.signed_qty, old.cost = ZERO, ZERO

    @exactly
    def restate(self, client_order_id: str, key: str, leaves_qty: Decimal) -> None:
        """Let a working order have other leaves, after a split; what it holds of the cash stays."""
        order = self.reservations.get(client_order_id)
        if order is None or not order.leaves_qty:
            return
        self._move(order.key, order.sign, -order.sign * order.leaves_qty, ZERO)
        order.quantity = order.quantity * leaves_qty / order.leaves_qty
        order.leaves_qty, order.key = leaves_qty, key
        self._move(key, order.sign, order.sign * leaves_qty, ZERO)
