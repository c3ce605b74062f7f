"""The checks of an order that need no account: quantity, prices, type, time in force, and the legs of a group.

Rules and wordings follow Alpaca ("Orders at Alpaca", OpenAPI 2026-08, and error bodies seen by other clients). Called
by the book for new orders and for replacements. Pure.
"""

from __future__ import annotations

from decimal import Decimal

from adapters.exchange.orders import OrderRequest, OrderTerms, Refusal, decimals
from adapters.exchange.steps import steps_of
from engine.values import AssetClass, OrderType, Side, TimeInForce, asset_class_of, plain, price_tick

CLIENT_ORDER_ID_LENGTH_MAX = 128
CLASSES = ("bracket", "oco", "oto")
TRAIL_PERCENT_MIN = Decimal("0.1")
_TYPES = tuple(kind for kind in OrderType if kind is not OrderType.OTHER)
_TIMES = tuple(lifetime for lifetime in TimeInForce if lifetime is not TimeInForce.OTHER)
_CRYPTO_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT})
_TRAIL_TIMES = frozenset({TimeInForce.DAY, TimeInForce.GTC})
_PLAIN_ONLY = frozenset({TimeInForce.IOC, TimeInForce.FOK, TimeInForce.OPG, TimeInForce.CLS})


def check_request(request: OrderRequest, symbol: str | None) -> OrderTerms | Refusal:
    """Check everything that needs no account.

    Args:
        request: The body.
        symbol: The asset's canonical symbol; None when the exchange does not know it.
    """
    if not request.symbol:
        return Refusal(422, 40010001, "symbol is required")
    if request.order_class == "mleg":
        return Refusal(422, 42210000, "mleg orders are for options only")
    if request.order_class not in (None, "", "simple", *CLASSES):
        return Refusal(422, 40010001, f"invalid order_class {request.order_class}")
    for name, value, known in (
        ("side", request.side, tuple(Side)),
        ("type", request.type, _TYPES),
        ("time_in_force", request.time_in_force, _TIMES),
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
        request.qty, request.notional, _limit_of(request), request.stop_price, bool(request.extended_hours),
        request.trail_price, request.trail_percent,
    )  # fmt: skip
    return check_terms(terms)


def check_terms(terms: OrderTerms) -> OrderTerms | Refusal:
    """Check quantity, prices and time in force against each other and the asset class."""
    return (
        _quantity_refusal(terms) or _price_refusal(terms) or _trail_refusal(terms) or _lifetime_refusal(terms) or terms
    )


def _limit_of(request: OrderRequest) -> Decimal | None:
    """Of an OCO, whose parent is the take-profit order, the limit stands there (alpaca-py sends it nowhere else)."""
    if request.order_class == "oco" and request.take_profit is not None:
        return request.take_profit.limit_price
    return request.limit_price


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
    if terms.qty is not None and terms.asset_class is AssetClass.CRYPTO:
        steps = steps_of(terms.symbol)
        if terms.qty < steps.qty_min or terms.qty % steps.qty_step:
            least, step = plain(steps.qty_min), plain(steps.qty_step)
            return Refusal(422, 42210000, f"qty must be at least {least} and a multiple of {step}")
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
        refusal = price_refusal(f"{name}_price", price, terms.symbol)
        if refusal is not None:
            return refusal
    return None


def price_refusal(name: str, price: Decimal, symbol: str) -> Refusal | None:
    """Why a price cannot stand: not above 0, or finer than the venue's step; `name` is its key in the body."""
    if not price.is_finite() or price <= 0:
        return Refusal(422, 42210000, f"{name} must be positive")
    is_crypto = asset_class_of(symbol) is AssetClass.CRYPTO
    if price % (steps_of(symbol).price_step if is_crypto else price_tick(symbol, price)):
        message = f"invalid {name} {plain(price)}. sub-penny increment does not fulfill minimum pricing criteria"
        return Refusal(422, 42210000, message)
    return None


def _trail_refusal(terms: OrderTerms) -> Refusal | None:
    trails = [trail for trail in (terms.trail_px, terms.trail_percent) if trail is not None]
    if terms.order_type is not OrderType.TRAILING_STOP:
        if trails:
            return Refusal(422, 40010001, f"{terms.order_type.value} orders require no trail_price or trail_percent")
        return None
    if len(trails) != 1:
        return Refusal(422, 40010001, "trailing stop orders must specify one of trail_price or trail_percent")
    if terms.trail_px is not None:
        return price_refusal("trail_price", terms.trail_px, terms.symbol)
    percent = trails[0]
    if not percent.is_finite() or percent < TRAIL_PERCENT_MIN:
        return Refusal(422, 40010001, "trail_percent must be greater than or equal to 0.1")
    if terms.side is Side.SELL and percent >= 100:
        return Refusal(422, 40010001, "trail_percent must be less than 100")
    return None


def _lifetime_refusal(terms: OrderTerms) -> Refusal | None:
    lifetime, kind = terms.time_in_force, terms.order_type
    if terms.asset_class is AssetClass.CRYPTO:
        if lifetime not in (TimeInForce.GTC, TimeInForce.IOC):
            return Refusal(422, 42210000, "invalid crypto time_in_force")
        if kind not in _CRYPTO_TYPES:
            return Refusal(422, 42210000, "invalid order type for crypto order")
        return None
    if terms.is_fractional and lifetime is not TimeInForce.DAY:
        return Refusal(422, 42210000, "fractional orders must be DAY orders")
    if terms.is_fractional and kind is OrderType.TRAILING_STOP:
        return Refusal(422, 42210000, "fractional trailing stop orders are not supported")
    if kind is OrderType.TRAILING_STOP and lifetime not in _TRAIL_TIMES:
        return Refusal(422, 42210000, "trailing stop orders must be DAY or GTC orders")
    if lifetime in _PLAIN_ONLY and kind not in (OrderType.MARKET, OrderType.LIMIT):
        return Refusal(422, 42210000, f"time_in_force {lifetime.value} requires a market or limit order")
    may_extend = kind is OrderType.LIMIT and lifetime in (TimeInForce.DAY, TimeInForce.GTC)
    if terms.extended_hours and not may_extend:
        return Refusal(422, 42210000, "extended hours order must be DAY limit orders")
    return None
