"""An order intent as Alpaca's request body, and what Alpaca is known to refuse.

Quantities and prices travel as text, which the API takes as well as numbers: alpaca-py's own request models hold
floats, and 0.1 + 0.2 would arrive as 0.30000000000000004. Nothing is rounded here: engine.rounding did that, and a
price finer than the venue's step is refused. Pure; called by adapters.alpaca.trading. Rules: "Orders at Alpaca" and
"Fractional trading" of Alpaca's documentation, OpenAPI 2026-08.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.messages import OrderIntent
from engine.ports import VenueOrder
from engine.values import AssetClass, OrderClass, OrderType, Side, TimeInForce, asset_class_of, plain, price_tick

DECIMALS_MAX = 9
CLIENT_ORDER_ID_MAX = 48
"""Alpaca's older limit; the newer one is 128."""
NOTIONAL_USD_MIN = Decimal(1)
NOTIONAL_DECIMALS_MAX = 2
TRAIL_PERCENT_MIN = Decimal("0.1")
_CENT = Decimal("0.01")
_LASTING = (TimeInForce.DAY, TimeInForce.GTC)
_CRYPTO_TIMES = (TimeInForce.GTC, TimeInForce.IOC)
_CRYPTO_TYPES = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT)
_PLAIN_TYPES = (OrderType.MARKET, OrderType.LIMIT)
_WITH_LIMIT = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_WITH_STOP = (OrderType.STOP, OrderType.STOP_LIMIT)


# --- bodies ----------------------------------------------------------------------------------------------------------


def order_body(intent: OrderIntent) -> dict[str, Any]:
    """Write the body of POST /v2/orders."""
    amount = ("qty", intent.quantity) if intent.notional is None else ("notional", intent.notional)
    body: dict[str, Any] = {
        "symbol": intent.symbol,
        amount[0]: plain(amount[1]),
        "side": intent.side.value,
        "type": intent.order_type.value,
        "time_in_force": intent.time_in_force.value,
        "client_order_id": intent.id,
    }
    # Of an OCO, whose parent is the take-profit order, the limit stands in `take_profit`.
    limit_px = None if intent.order_class is OrderClass.OCO else intent.limit_px
    for key, value in (
        ("limit_price", limit_px),
        ("stop_price", intent.stop_px),
        ("trail_price", intent.trail_px),
        ("trail_percent", intent.trail_percent),
    ):
        if value is not None:
            body[key] = plain(value)
    if intent.extended_hours:
        body["extended_hours"] = True
    if intent.order_class is not OrderClass.SIMPLE:
        body["order_class"] = intent.order_class.value
    return body | _exits(intent)


def _exits(intent: OrderIntent) -> dict[str, Any]:
    exits: dict[str, Any] = {}
    if intent.take_profit_px is not None:
        exits["take_profit"] = {"limit_price": plain(intent.take_profit_px)}
    if intent.stop_loss_px is not None:
        exits["stop_loss"] = {"stop_price": plain(intent.stop_loss_px)}
        if intent.stop_loss_limit_px is not None:
            exits["stop_loss"]["limit_price"] = plain(intent.stop_loss_limit_px)
    return exits


def replace_body(intent: OrderIntent, old: VenueOrder) -> dict[str, Any]:
    """Write the body of PATCH /v2/orders/{id}: the new client_order_id, and what differs from the order as it is."""
    body: dict[str, Any] = {"client_order_id": intent.id}
    for key, wanted, has in (
        ("qty", intent.quantity, old.quantity),
        ("limit_price", intent.limit_px, old.limit_px),
        ("stop_price", intent.stop_px, old.stop_px),
        ("trail", intent.trail_px, old.trail_px),
        ("trail", intent.trail_percent, old.trail_percent),
    ):
        if wanted is not None and wanted != has:
            body[key] = plain(wanted)
    if intent.time_in_force is not old.time_in_force:
        body["time_in_force"] = intent.time_in_force.value
    return body


# --- refusals --------------------------------------------------------------------------------------------------------


def refusal(intent: OrderIntent) -> str:
    """Say why this order must not be sent to Alpaca at all, in one sentence with the value; empty if it may."""
    if not 0 < len(intent.id) <= CLIENT_ORDER_ID_MAX:
        return f"client_order_id must have 1 to {CLIENT_ORDER_ID_MAX} characters, had {len(intent.id)}"
    for name in ("order_type", "time_in_force", "order_class"):
        if getattr(intent, name) == "other":
            return f"{name} other is read from the venue and never sent"
    return (
        _amount_fault(intent)
        or _price_fault(intent)
        or _type_fault(intent)
        or _class_fault(intent)
        or (_crypto_fault(intent) if asset_class_of(intent.symbol) is AssetClass.CRYPTO else _stock_fault(intent))
    )


def replace_refusal(intent: OrderIntent, old: VenueOrder) -> str:
    """Say why this order must not take the place of that one; empty if it may.

    Of a group's orders only prices, and of its entry the quantity, may change; the intent is then of the same class
    and names none of the others' prices.
    """
    name = old.client_order_id
    for key, wanted, has in (
        ("symbol", intent.symbol, old.symbol),
        ("side", intent.side, old.side),
        ("order_type", intent.order_type, old.order_type),
    ):
        if wanted != has:
            return f"{key} of an order cannot be replaced: {name} has {has}, not {wanted}"
    if old.notional is not None:
        return f"a notional order cannot be replaced: {name} is for {plain(old.notional)} USD; cancel it"
    if old.order_class is OrderClass.OTO:
        return f"an OTO order cannot be replaced: cancel {name}"
    if (intent.trail_px is None) != (old.trail_px is None):
        return f"the trail of {name} stays what it is, USD or percent"
    is_stock = asset_class_of(intent.symbol) is AssetClass.US_EQUITY
    if is_stock and intent.quantity != old.quantity and not _are_whole(intent.quantity, old.quantity):
        return f"a fractional quantity cannot be replaced: {name} has {old.quantity}, not {plain(intent.quantity)}"
    if intent.quantity <= old.filled_qty:
        return f"quantity must be > what is filled of {name}, {plain(old.filled_qty)}, was {plain(intent.quantity)}"
    if len(replace_body(intent, old)) == 1:
        return f"nothing of {name} would change"
    # What is left is what a new order must fulfill; the class and its exits are the old order's.
    alone = {"order_class": OrderClass.SIMPLE, "take_profit_px": None, "stop_loss_px": None, "stop_loss_limit_px": None}
    return refusal(_with(intent, alone))


def _with(intent: OrderIntent, changes: dict[str, Any]) -> OrderIntent:
    fields = {name: getattr(intent, name) for name in intent.__struct_fields__}
    return OrderIntent(**(fields | changes))


def _are_whole(*quantities: Decimal | None) -> bool:
    return all(quantity is not None and quantity == quantity.to_integral_value() for quantity in quantities)


def is_fractional(intent: OrderIntent) -> bool:
    """Whether it is for a part of a share, or for an amount of money."""
    return intent.notional is not None or not _are_whole(intent.quantity)


def _amount_fault(intent: OrderIntent) -> str:
    if fault := _number_fault(intent.quantity):
        return f"quantity must {fault}, was {intent.quantity}"
    if (notional := intent.notional) is None:
        return ""
    if fault := _number_fault(notional, NOTIONAL_DECIMALS_MAX):
        return f"notional must {fault}, was {notional}"
    if notional < NOTIONAL_USD_MIN:
        return f"notional must be >= {NOTIONAL_USD_MIN} USD, was {plain(notional)}"
    return ""


def _price_fault(intent: OrderIntent) -> str:
    for name in ("limit_px", "stop_px", "trail_px", "take_profit_px", "stop_loss_px", "stop_loss_limit_px"):
        price: Decimal | None = getattr(intent, name)
        if price is None:
            continue
        if fault := _number_fault(price):
            return f"{name} must {fault}, was {price}"
        tick = price_tick(intent.symbol, price)
        if price % tick:
            return f"{name} must be a multiple of {plain(tick)}, was {plain(price)}"
    percent = intent.trail_percent
    if percent is None:
        return ""
    if fault := _number_fault(percent):
        return f"trail_percent must {fault}, was {percent}"
    if percent < TRAIL_PERCENT_MIN:
        return f"trail_percent must be >= {TRAIL_PERCENT_MIN}, was {plain(percent)}"
    if intent.side is Side.SELL and percent >= 100:
        return f"trail_percent of a sale must be < 100, was {plain(percent)}"
    return ""


def _type_fault(intent: OrderIntent) -> str:
    kind = intent.order_type
    needs_limit = kind in _WITH_LIMIT and intent.order_class is not OrderClass.OCO
    may_limit = kind in _WITH_LIMIT
    if (needs_limit and intent.limit_px is None) or (intent.limit_px is not None and not may_limit):
        return f"a {kind} order {'needs' if needs_limit else 'has no'} limit_px"
    if (kind in _WITH_STOP) != (intent.stop_px is not None):
        return f"a {kind} order {'needs' if kind in _WITH_STOP else 'has no'} stop_px"
    trails = [trail for trail in (intent.trail_px, intent.trail_percent) if trail is not None]
    if kind is OrderType.TRAILING_STOP and len(trails) != 1:
        return f"a trailing_stop order needs one of trail_px and trail_percent, had {len(trails)}"
    if kind is not OrderType.TRAILING_STOP and trails:
        return f"a {kind} order has no trail_px or trail_percent"
    return ""


def _number_fault(value: Decimal, decimals_max: int = DECIMALS_MAX) -> str:
    if not value.is_finite() or value <= 0:
        return "be > 0"
    decimals = plain(value).partition(".")[2]
    return f"have at most {decimals_max} decimals" if len(decimals) > decimals_max else ""


# --- groups ----------------------------------------------------------------------------------------------------------


def _class_fault(intent: OrderIntent) -> str:
    kind = intent.order_class
    gain, loss = intent.take_profit_px, intent.stop_loss_px
    if intent.stop_loss_limit_px is not None and loss is None:
        return f"stop_loss_limit_px needs stop_loss_px, was {plain(intent.stop_loss_limit_px)} alone"
    given = [name for name, price in (("take_profit_px", gain), ("stop_loss_px", loss)) if price is not None]
    if kind is OrderClass.SIMPLE:
        return f"a simple order has no {given[0]}" if given else ""
    if len(given) != (1 if kind is OrderClass.OTO else 2):
        wanted = "one of" if kind is OrderClass.OTO else "both"
        return f"a {kind} order needs {wanted} take_profit_px and stop_loss_px, had {' and '.join(given) or 'none'}"
    types = (OrderType.LIMIT,) if kind is OrderClass.OCO else _PLAIN_TYPES
    if intent.order_type not in types:
        return f"a {kind} order is {' or '.join(types)} at Alpaca, was {intent.order_type}"
    if intent.time_in_force not in _LASTING:
        return f"a {kind} order is day or gtc at Alpaca, was {intent.time_in_force}"
    if asset_class_of(intent.symbol) is AssetClass.CRYPTO:
        return f"crypto orders are simple at Alpaca, was {kind}"
    if is_fractional(intent):
        return f"fractional orders are simple at Alpaca, was {kind} for {_amount(intent)}"
    if intent.extended_hours:
        return f"a {kind} order has no extended hours at Alpaca"
    return _exit_fault(intent)


def _exit_fault(intent: OrderIntent) -> str:
    """Each exit must lie on its own side of the entry's limit, a cent away; gain and loss on two sides."""
    is_oco = intent.order_class is OrderClass.OCO
    gain, loss = intent.take_profit_px, intent.stop_loss_px
    # +1 where the exits sell: the gain lies above.
    up = -intent.side.sign if is_oco else intent.side.sign
    if is_oco and intent.limit_px not in (None, gain):
        return f"limit_px of an oco order is its take_profit_px, {gain}, was {intent.limit_px}"
    if gain is not None and loss is not None and (gain - loss) * up < _CENT:
        where = "above" if up > 0 else "below"
        return f"take_profit_px must be at least {_CENT} {where} stop_loss_px {plain(loss)}, was {plain(gain)}"
    base = None if is_oco else intent.limit_px
    if base is not None:
        for name, price, away in (("take_profit_px", gain, up), ("stop_loss_px", loss, -up)):
            if price is not None and (price - base) * away < _CENT:
                where = "above" if away > 0 else "below"
                return f"{name} must be at least {_CENT} {where} limit_px {plain(base)}, was {plain(price)}"
    return ""


# --- asset classes ---------------------------------------------------------------------------------------------------


def _crypto_fault(intent: OrderIntent) -> str:
    if intent.time_in_force not in _CRYPTO_TIMES:
        return f"crypto orders are gtc or ioc at Alpaca, was {intent.time_in_force}"
    if intent.order_type not in _CRYPTO_TYPES:
        return f"crypto orders are market, limit or stop_limit at Alpaca, was {intent.order_type}"
    if intent.extended_hours:
        return f"crypto has no extended hours: {intent.symbol} trades at all hours"
    return ""


def _stock_fault(intent: OrderIntent) -> str:
    kind, lifetime = intent.order_type, intent.time_in_force
    if is_fractional(intent):
        if lifetime is not TimeInForce.DAY:
            return f"fractional orders are day at Alpaca, was {lifetime} for {_amount(intent)}"
        if kind is OrderType.TRAILING_STOP:
            return (
                f"fractional orders are market, limit, stop or stop_limit at Alpaca, was {kind} for {_amount(intent)}"
            )
    if kind is OrderType.TRAILING_STOP and lifetime not in _LASTING:
        return f"trailing_stop orders are day or gtc at Alpaca, was {lifetime}"
    if lifetime not in _LASTING and kind not in _PLAIN_TYPES:
        return f"{lifetime} orders are market or limit at Alpaca, was {kind}"
    if intent.extended_hours and not (kind is OrderType.LIMIT and lifetime in _LASTING):
        return f"extended hours take limit orders that are day or gtc, was {kind} {lifetime}"
    return ""


def _amount(intent: OrderIntent) -> str:
    return plain(intent.quantity) if intent.notional is None else f"{plain(intent.notional)} USD"
