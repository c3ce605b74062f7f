"""Orders of the exchange: the request as it comes in, the terms that were checked, and the order itself.

An order here is mutable and changed by the book and its settlement alone; everybody else reads it. A bracket, OCO or
OTO is a parent with `legs`; all of them are orders of their own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from engine.matching import trail_stop
from engine.values import EQUITY_TICK, ZERO, AssetClass, OrderType, Side, TimeInForce, asset_class_of

TERMINAL = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})
CANCELABLE = frozenset({"pending_new", "accepted", "new", "partially_filled", "held"})
LEAVING = frozenset({"pending_cancel", "pending_replace"})
REPLACEABLE = frozenset({"new", "partially_filled", "held"})
ENTRY, STOP_LOSS, TAKE_PROFIT = 0, 1, 2
"""Places in a group, in the order in which they are decided: of two exits in one minute, the stop comes first."""


class Refusal(msgspec.Struct, frozen=True):
    """A request that the venue refuses: HTTP status, Alpaca's code, text, and further keys of the body."""

    status: int
    code: int
    message: str
    extra: dict[str, Any] = {}


class TakeProfit(msgspec.Struct, frozen=True):
    """The exit at a gain, as requested."""

    limit_price: Decimal | None = None


class StopLoss(msgspec.Struct, frozen=True):
    """The exit at a loss, as requested: a stop, or a stop-limit order where a limit is given."""

    stop_price: Decimal | None = None
    limit_price: Decimal | None = None


class OrderRequest(msgspec.Struct):
    """Body of POST /v2/orders. Numbers may be JSON numbers or numeric strings; nothing is checked yet."""

    symbol: str | None = None
    qty: Decimal | None = None
    notional: Decimal | None = None
    side: str | None = None
    type: str | None = None
    time_in_force: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    extended_hours: bool | None = None
    client_order_id: str | None = None
    order_class: str | None = None
    position_intent: str | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None


class ReplaceRequest(msgspec.Struct):
    """Body of PATCH /v2/orders/{id}."""

    qty: Decimal | None = None
    time_in_force: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


class OrderTerms(msgspec.Struct, frozen=True):
    """What the client wants, checked: a replacement is checked by the same function as a new order."""

    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    qty: Decimal | None
    notional: Decimal | None
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    extended_hours: bool = False
    trail_px: Decimal | None = None
    trail_percent: Decimal | None = None

    @property
    def is_fractional(self) -> bool:
        """True for dollars, and for a quantity that is no whole number."""
        return self.notional is not None or (self.qty is not None and decimals(self.qty) > 0)

    @property
    def asset_class(self) -> AssetClass:
        """Stock or crypto."""
        return asset_class_of(self.symbol)


class Order(msgspec.Struct, eq=False):
    """An order at the venue. Times are ns UTC, 0 = has not happened."""

    id: str
    client_order_id: str
    root: str
    """client_order_id of the first order of a chain of replacements: the chain's events are kept together."""
    sequence: int
    """Place in the chain of replacements."""
    terms: OrderTerms
    position_intent: str
    status: str
    submitted_ns: int
    expires_ns: int
    """0 = never (crypto gtc)."""
    eligible_ns: int
    """From when it may trade: the open of its session when it was received outside."""
    reserve_px: Decimal
    updated_ns: int = 0
    filled_ns: int = 0
    canceled_ns: int = 0
    expired_ns: int = 0
    failed_ns: int = 0
    replaced_ns: int = 0
    cancel_requested_ns: int = 0
    replaced_by: str | None = None
    replaces: str | None = None
    filled_qty: Decimal = ZERO
    filled_cost: Decimal = ZERO
    is_triggered: bool = False
    opens: bool = True
    """True when it opens or adds to a position, and so reserves buying power."""
    reserved: Decimal = ZERO
    hwm: Decimal | None = None
    """Best price since a trailing stop came in; None while there was no price at all."""
    order_class: str = ""
    place: int = ENTRY
    parent: Order | None = None
    legs: list[Order] = msgspec.field(default_factory=list["Order"])
    active_ns: int = 0
    """Bars that open earlier do not fill it: a leg waits for the minute after its parent's fill."""
    resumes: str = ""
    """Status to go back to when a request to leave is refused."""
    leaves_ns: int = 0
    """When a request to leave that the venue is slow about is carried out; 0 = at once."""
    fills_while_leaving: bool = False
    waiting: Order | None = None
    """A replacement that begins only when this order has left."""
    predecessor: Order | None = None

    @property
    def stop_px(self) -> Decimal | None:
        """The stop as it stands now: of a trailing stop, what trails its best price."""
        terms = self.terms
        if terms.order_type is not OrderType.TRAILING_STOP or self.hwm is None:
            return terms.stop_px
        return trail_stop(terms.side, self.hwm, terms.trail_px, terms.trail_percent, EQUITY_TICK)

    @property
    def is_waiting(self) -> bool:
        """True for a replacement whose predecessor may still fill."""
        return self.predecessor is not None and self.predecessor.waiting is self

    @property
    def group(self) -> list[Order]:
        """Every order of its bracket, OCO or OTO, itself included."""
        head = self.parent or self
        return [head, *head.legs]

    @property
    def exits(self) -> list[Order]:
        """The open orders of its group that close the position."""
        return [order for order in self.group if order.place != ENTRY and order.is_open]

    @property
    def is_open(self) -> bool:
        """True until a terminal state."""
        return self.status not in TERMINAL

    @property
    def leaves_qty(self) -> Decimal:
        """What is left of the quantity; of a notional order an estimate at the reservation price."""
        if self.terms.qty is not None:
            return self.terms.qty - self.filled_qty
        return self.leaves_notional / self.reserve_px if self.reserve_px > 0 else ZERO

    @property
    def leaves_notional(self) -> Decimal:
        """What is left of the notional amount, USD."""
        return (self.terms.notional or ZERO) - self.filled_cost

    @property
    def avg_px(self) -> Decimal | None:
        """Average price of all fills, rounded to 9 decimals."""
        return round(self.filled_cost / self.filled_qty, 9) if self.filled_qty else None


def decimals(value: Decimal) -> int:
    """Number of decimal places that count: 1.50 has one."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def order_key(order: Order) -> tuple[str, str, int, int]:
    """The order in which orders are decided and told: symbol, client_order_id, place in group and in replacements."""
    return order.terms.symbol, order.root, order.place, order.sequence
