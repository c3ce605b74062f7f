"""Orders of the exchange: the request as it comes in, the checks that need no account, and the order itself.

Rules and wordings follow Alpaca ("Orders at Alpaca", OpenAPI 2026-08, and error bodies seen by other clients). An order
here is mutable and changed by the book alone; everybody else reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from engine.values import ZERO, AssetClass, OrderType, Side, TimeInForce, asset_class_of, plain

TERMINAL = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})
CANCELABLE = frozenset({"pending_new", "accepted", "new", "partially_filled"})
LEAVING = frozenset({"pending_cancel", "pending_replace"})
REPLACEABLE = frozenset({"new", "partially_filled"})
_CRYPTO_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT})
_LATER_TYPES = frozenset({"trailing_stop"})
_LATER_CLASSES = frozenset({"bracket", "oco", "oto", "mleg"})
_LATER_TIFS = frozenset({"opg", "cls"})
CLIENT_ORDER_ID_LENGTH_MAX = 128


class Refusal(msgspec.Struct, frozen=True):
    """A request that the venue refuses: HTTP status, Alpaca's code, text, and further keys of the body."""

    status: int
    code: int
    message: str
    extra: dict[str, Any] = {}


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
    take_profit: dict[str, Any] | None = None
    stop_loss: dict[str, Any] | None = None


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

    @property
    def asset_class(self) -> AssetClass:
        """Stock or crypto."""
        return asset_class_of(self.symbol)


@dataclass(slots=True)
class Order:
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


def check_request(request: OrderRequest, symbol: str | None) -> OrderTerms | Refusal:
    """Check everything that needs no account.

    Args:
        request: The body.
        symbol: The asset's canonical symbol; None when the exchange does not know it.
    """
    if not request.symbol:
        return Refusal(422, 40010001, "symbol is required")
    if request.order_class in _LATER_CLASSES or request.take_profit or request.stop_loss:
        return _later(f"order_class {request.order_class or 'with legs'}")
    if request.type in _LATER_TYPES or request.trail_price or request.trail_percent:
        return _later(f"order type {request.type}")
    if request.time_in_force in _LATER_TIFS:
        return _later(f"time_in_force {request.time_in_force}")
    if request.order_class not in (None, "", "simple"):
        return Refusal(422, 40010001, f"invalid order_class {request.order_class}")
    for name, value, known in (
        ("side", request.side, tuple(Side)),
        ("type", request.type, tuple(OrderType)),
        ("time_in_force", request.time_in_force, ("day", "gtc", "ioc", "fok")),
    ):
        if value not in known:
            return Refusal(422, 40010001, f"{name} is required" if not value else f"invalid {name} {value}")
    if symbol is None:
        return Refusal(422, 42210000, f'asset "{request.symbol}" not found')
    if request.client_order_id and len(request.client_order_id) > CLIENT_ORDER_ID_LENGTH_MAX:
        return Refusal(422, 40010001, f"client_order_id must be no more than {CLIENT_ORDER_ID_LENGTH_MAX} characters")
    if request.qty is not None and request.notional is not None:
        return Refusal(400, 40010000, "only one of qty or notional is accepted")
    terms = OrderTerms(
        symbol, Side(request.side or ""), OrderType(request.type or ""), TimeInForce(request.time_in_force or ""),
        request.qty, request.notional, request.limit_price, request.stop_price, bool(request.extended_hours),
    )  # fmt: skip
    return check_terms(terms)


def check_terms(terms: OrderTerms) -> OrderTerms | Refusal:
    """Check quantity, prices and time in force against each other and the asset class."""
    return _quantity_refusal(terms) or _price_refusal(terms) or _lifetime_refusal(terms) or terms


def _later(what: str) -> Refusal:
    return Refusal(422, 42210000, f"{what} is not supported by this exchange yet")


def _quantity_refusal(terms: OrderTerms) -> Refusal | None:
    amount = terms.qty if terms.qty is not None else terms.notional
    name = "qty" if terms.qty is not None else "notional"
    if amount is None:
        return Refusal(422, 40010001, "qty or notional is required")
    if not amount.is_finite() or amount <= 0:
        return Refusal(422, 42210000, f"{name} must be positive")
    if decimals(amount) > 9:
        return Refusal(422, 42210000, f"{name} must have no more than 9 decimal places")
    if terms.notional is not None and decimals(terms.notional) > 2:
        return Refusal(422, 42210000, "notional must have no more than 2 decimal places")
    return None


def _price_refusal(terms: OrderTerms) -> Refusal | None:
    needs_limit = terms.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    needs_stop = terms.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    kind = terms.order_type.value
    for name, price, is_needed in (("limit", terms.limit_px, needs_limit), ("stop", terms.stop_px, needs_stop)):
        if price is None:
            if is_needed:
                return Refusal(422, 40010001, f"{kind} orders require a {name} price")
            continue
        if not is_needed:
            return Refusal(422, 40010001, f"{kind} orders require no {name} price")
        if not price.is_finite() or price <= 0:
            return Refusal(422, 42210000, f"{name}_price must be positive")
        places_max = 9 if terms.asset_class is AssetClass.CRYPTO else 2 if price >= 1 else 4
        if decimals(price) > places_max:
            message = (
                f"invalid {name}_price {plain(price)}. sub-penny increment does not fulfill minimum pricing criteria"
            )
            return Refusal(422, 42210000, message)
    return None


def _lifetime_refusal(terms: OrderTerms) -> Refusal | None:
    lifetime, kind = terms.time_in_force, terms.order_type
    if terms.asset_class is AssetClass.CRYPTO:
        if lifetime not in (TimeInForce.GTC, TimeInForce.IOC):
            return Refusal(422, 42210000, "invalid crypto time_in_force")
        if kind not in _CRYPTO_TYPES:
            return Refusal(422, 42210000, "invalid order type for crypto order")
        return None
    is_fractional = terms.notional is not None or (terms.qty is not None and decimals(terms.qty) > 0)
    if is_fractional and lifetime is not TimeInForce.DAY:
        return Refusal(422, 42210000, "fractional orders must be DAY orders")
    if lifetime in (TimeInForce.IOC, TimeInForce.FOK) and kind not in (OrderType.MARKET, OrderType.LIMIT):
        return Refusal(422, 42210000, f"time_in_force {lifetime.value} requires a market or limit order")
    may_extend = kind is OrderType.LIMIT and lifetime in (TimeInForce.DAY, TimeInForce.GTC)
    if terms.extended_hours and not may_extend:
        return Refusal(422, 42210000, "extended hours order must be DAY limit orders")
    return None


def decimals(value: Decimal) -> int:
    """Number of decimal places that count: 1.50 has one."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def order_key(order: Order) -> tuple[str, str, int]:
    """The order in which orders are decided and told: symbol, client_order_id, place in the chain of replacements."""
    return order.terms.symbol, order.root, order.sequence
