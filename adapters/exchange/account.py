"""What the account has and may do: ledger, reservations, switches, open orders by symbol, and every refusal from them.

The book asks it before it takes an order in and tells it about fills and ends. It changes no order's state. Wordings
and codes follow Alpaca ("User Protection" 2026-09, error bodies seen by other clients).

Promise: the reserved amount of an order falls with each fill and is 0 in its terminal state.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_UP, Decimal

import msgspec

from adapters.exchange import margin
from adapters.exchange.ledger import Ledger
from adapters.exchange.orders import LEAVING, Order, OrderTerms, Refusal, order_key
from engine.costs import NO_FEES, NO_SLIPPAGE, FeeModel, Slippage
from engine.matching import FillRule
from engine.values import ZERO, AssetClass, OrderType, Side, plain

_NANO = Decimal("0.000000001")
_SHORT_EQUITY_MIN = Decimal(2000)
_NOTIONAL_MIN = {AssetClass.US_EQUITY: Decimal(1), AssetClass.CRYPTO: Decimal(10)}


class BookRules(msgspec.Struct, frozen=True):
    """The settings that decide fills and money; those with a default are of simulations alone."""

    seed: int
    cash: Decimal
    multiplier: int
    crypto_fee_bps: Decimal
    partial_fill_probability: Decimal
    volume_share_max: Decimal | None
    slippage: Slippage = NO_SLIPPAGE
    rule: FillRule = FillRule.NEXT_OPEN
    fees: FeeModel = NO_FEES


class AccountSwitches(msgspec.Struct, frozen=True):
    """What PATCH /v2/account/configurations can change."""

    suspend_trade: bool = False
    no_shorting: bool = False
    fractional_trading: bool = True


class Account:
    """The one account of the exchange.

    Args:
        rules: Settings.
        price_of: Last price of a symbol, None before its first bar.
    """

    def __init__(self, rules: BookRules, price_of: Callable[[str], Decimal | None]) -> None:
        self.rules = rules
        self.ledger = Ledger(rules.cash, rules.seed, rules.crypto_fee_bps, rules.fees)
        self.switches = AccountSwitches()
        self.open_by_symbol: dict[str, dict[str, Order]] = {}
        self.last_equity = rules.cash
        self._price_of = price_of
        self._reserved = {AssetClass.US_EQUITY: ZERO, AssetClass.CRYPTO: ZERO}
        self._valuation: margin.Valuation | None = None

    # --- open orders and reservations -------------------------------------------------------------------------------

    def add(self, order: Order) -> None:
        """An order was taken in."""
        self.open_by_symbol.setdefault(order.terms.symbol, {})[order.id] = order
        if order.opens:
            cost = self.cost(order.terms)
            self.reserve(order, max(ZERO, order.leaves_qty * order.reserve_px) if order.filled_qty else cost)

    def remove(self, order: Order) -> None:
        """An order has ended."""
        self.reserve(order, ZERO)
        orders = self.open_by_symbol[order.terms.symbol]
        del orders[order.id]
        if not orders:
            del self.open_by_symbol[order.terms.symbol]

    def reserve(self, order: Order, amount: Decimal) -> None:
        """Set what an order reserves, USD."""
        amount = amount.quantize(_NANO, rounding=ROUND_UP)  # more digits than the context holds would not add up
        self._reserved[order.terms.asset_class] += amount - order.reserved
        order.reserved = amount

    def reserve_px(self, terms: OrderTerms) -> Decimal:
        """Price at which the order is reserved: its limit, its stop, else the last price (0 before the first bar)."""
        last = self._price_of(terms.symbol) or ZERO
        if terms.limit_px is not None:
            # A short is reserved at the market when that is worse than its limit (Alpaca: max of limit and ask).
            return max(terms.limit_px, last) if terms.side is Side.SELL else terms.limit_px
        return max(terms.stop_px, last) if terms.stop_px is not None else last

    def cost(self, terms: OrderTerms) -> Decimal:
        """What the order would cost at that price, USD."""
        if terms.notional is not None:
            return terms.notional
        return (terms.qty or ZERO) * self.reserve_px(terms)

    # --- worth ------------------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Prices have moved: value the positions anew at the next question."""
        self._valuation = None

    def valuation(self) -> margin.Valuation:
        """Positions at last prices."""
        if self._valuation is None:
            self._valuation = margin.value(self.ledger, self._price_of)
        return self._valuation

    def means(self) -> margin.Means:
        """What may be spent now."""
        return margin.means(
            self.valuation(), self.ledger.cash, self.rules.multiplier, self._reserved[AssetClass.US_EQUITY],
            self._reserved[AssetClass.CRYPTO],
        )  # fmt: skip

    def held_for_orders(self, symbol: str) -> tuple[Decimal, list[Order]]:
        """Quantity that open orders against the position hold, and those orders; the exits of a group hold it once."""
        against = Side.SELL if self.ledger.qty(symbol) > 0 else Side.BUY
        holding = [
            order for order in self.open_by_symbol.get(symbol, {}).values()
            if order.terms.side is against and not order.opens and order.status not in ("held", *LEAVING)
        ]  # fmt: skip
        held: dict[str, Decimal] = {}
        for order in holding:
            head = (order.parent or order).id
            held[head] = max(held.get(head, ZERO), order.leaves_qty)
        return sum(held.values(), ZERO), sorted(holding, key=order_key)

    # --- refusals that need the account -----------------------------------------------------------------------------

    def refusal(self, terms: OrderTerms, instead_of: Order | None = None, *, order_class: str = "") -> Refusal | None:
        """Why the account may not have this order, None when it may; `instead_of` is the order it would replace."""
        if self.switches.suspend_trade:
            return Refusal(403, 40310000, "new orders are rejected by user request")
        is_fractional = terms.is_fractional
        if is_fractional and not self.switches.fractional_trading and terms.asset_class is AssetClass.US_EQUITY:
            return Refusal(403, 40310000, "fractional trading is not enabled for this account")
        is_exempt = bool(order_class) or terms.order_type is OrderType.TRAILING_STOP
        crossing = None if is_exempt else self._wash_trade(terms)
        if crossing is not None:
            kind = crossing.terms.order_type.value
            return Refusal(
                403, 40310000, "potential wash trade detected. use complex orders",
                {"existing_order_id": crossing.id, "reject_reason": f"opposite side {kind} order exists"},
            )  # fmt: skip
        held = self.ledger.qty(terms.symbol)
        is_exit = held * terms.side.sign < 0
        if instead_of is None and order_class and is_exit != (order_class == "oco"):
            role = "exit" if order_class == "oco" else "entry"
            return Refusal(422, 42210000, f"{order_class} orders must be {role} orders")
        if is_exit:
            return self._reducing_refusal(terms, held, instead_of)
        cost = self.cost(terms)
        if terms.side is Side.BUY and cost < _NOTIONAL_MIN[terms.asset_class] and self.reserve_px(terms) > 0:
            smallest = plain(_NOTIONAL_MIN[terms.asset_class])
            if terms.asset_class is AssetClass.CRYPTO or terms.notional is not None:
                return Refusal(403, 40310000, f"cost basis must be >= minimal amount of order {smallest}")
        if terms.side is Side.SELL:
            refusal = self._short_refusal(terms, is_fractional=is_fractional)
            if refusal is not None:
                return refusal
        return self._means_refusal(terms, cost, instead_of)

    def _wash_trade(self, terms: OrderTerms) -> Order | None:
        """The first open order on the other side that could trade with this one."""
        for order in sorted(self.open_by_symbol.get(terms.symbol, {}).values(), key=order_key):
            if order.terms.side is terms.side or order.status in ("held", *LEAVING):
                continue
            ours, theirs = terms.limit_px, order.terms.limit_px
            if ours is None or theirs is None:
                return order
            buy, sell = (ours, theirs) if terms.side is Side.BUY else (theirs, ours)
            if buy >= sell:
                return order
        return None

    def _reducing_refusal(self, terms: OrderTerms, held: Decimal, instead_of: Order | None) -> Refusal | None:
        """An order against a position may use what no other order holds, and never crosses zero."""
        on_hold, holding = self.held_for_orders(terms.symbol)
        if instead_of is not None and any(order is instead_of for order in holding):
            on_hold -= max(order.leaves_qty for order in holding if order in instead_of.group)
        available = abs(held) - on_hold
        price = self.reserve_px(terms)
        notional_qty = (terms.notional or ZERO) / price if price > 0 else ZERO
        wanted = terms.qty if terms.qty is not None else notional_qty
        if wanted <= available:
            return None
        if terms.asset_class is AssetClass.CRYPTO:
            coin = terms.symbol.split("/")[0]
            message = f"insufficient balance for {coin} (requested: {plain(wanted)}, available: {plain(available)})"
        else:
            message = (
                f"insufficient qty available for order (requested: {plain(wanted)}, available: {plain(available)})"
            )
        return Refusal(
            403, 40310000, message,
            {
                "available": plain(available), "existing_qty": plain(abs(held)), "held_for_orders": plain(on_hold),
                "symbol": terms.symbol, "related_orders": [order.id for order in holding],
            },
        )  # fmt: skip

    def _short_refusal(self, terms: OrderTerms, *, is_fractional: bool) -> Refusal | None:
        if terms.asset_class is AssetClass.CRYPTO:
            coin = terms.symbol.split("/")[0]
            wanted = plain(terms.qty) if terms.qty is not None else f"{plain(terms.notional or ZERO)} USD"
            return Refusal(403, 40310000, f"insufficient balance for {coin} (requested: {wanted}, available: 0)")
        if is_fractional:
            return Refusal(403, 40310000, "fractional orders cannot be sold short")
        if self.switches.no_shorting:
            return Refusal(403, 40310000, "account is not allowed to short")
        if self.rules.multiplier == 1 or self.valuation().equity < _SHORT_EQUITY_MIN:
            return Refusal(403, 40310000, "account is not allowed to short: equity must be at least 2000 on margin")
        return None

    def _means_refusal(self, terms: OrderTerms, cost: Decimal, instead_of: Order | None) -> Refusal | None:
        freed = instead_of.reserved if instead_of else ZERO
        means = self.means()
        if terms.asset_class is AssetClass.CRYPTO:
            if cost <= means.non_marginable + freed:
                return None
            message = (
                f"insufficient balance for USD (requested: {plain(cost)}, available: {plain(means.non_marginable)})"
            )
            return Refusal(403, 40310000, message, {"balance": plain(means.non_marginable), "cost_basis": plain(cost)})
        if cost <= means.buying_power + freed:
            return None
        extra = {"buying_power": plain(means.buying_power), "cost_basis": plain(cost)}
        return Refusal(403, 40310000, "insufficient buying power", extra)
