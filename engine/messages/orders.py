"""Bodies of an order's life, and of wishes to end or change one."""

from __future__ import annotations

from decimal import Decimal

from engine.messages.base import Body
from engine.values import OrderClass, OrderType, Purpose, Side, TimeInForce


class OrderSubmitted(Body, frozen=True):
    """The executor is about to send the order; stored before the request leaves."""

    client_order_id: str
    bot: str
    symbol: str
    ts_event: int


class OrderAccepted(Body, frozen=True):
    """The venue has the order."""

    client_order_id: str
    bot: str
    symbol: str
    venue_order_id: str
    ts_event: int


class OrderRejected(Body, frozen=True):
    """The venue refused the order; terminal."""

    client_order_id: str
    bot: str
    symbol: str
    code: str
    reason: str
    ts_event: int
    venue_order_id: str = ""


class OrderFilled(Body, frozen=True):
    """The whole quantity is filled; terminal."""

    client_order_id: str
    bot: str
    symbol: str
    venue_order_id: str
    filled_qty: Decimal
    avg_px: Decimal
    ts_event: int


class OrderCanceled(Body, frozen=True):
    """The venue canceled the rest; terminal, though a late fill may still follow."""

    client_order_id: str
    bot: str
    symbol: str
    venue_order_id: str
    filled_qty: Decimal
    ts_event: int


NOTHING_TO_CLOSE = "nothing_to_close"


class OrderExpired(Body, frozen=True):
    """The order's time ended; terminal. `reason` is `venue`, `not_sent` (in time) or `nothing_to_close` (any more)."""

    client_order_id: str
    bot: str
    symbol: str
    reason: str
    ts_event: int
    venue_order_id: str = ""
    filled_qty: Decimal = Decimal(0)


class OrderReplaced(Body, frozen=True):
    """The venue put another order in its place; terminal, though a late fill may still follow.

    Attributes:
        replaced_by: venue_order_id of the other.
    """

    client_order_id: str
    bot: str
    symbol: str
    venue_order_id: str
    filled_qty: Decimal
    ts_event: int
    replaced_by: str = ""


class OrderAdopted(Body, frozen=True):
    """An order at the venue that no intent of ours stands for, known from here on: a leg, a flattening, a foreign one.

    Attributes:
        id: Its client_order_id, as the venue has it.
        bot: Whose it is: the parent's bot, `flatten`, `manual` or `unattributed`.
        quantity: Ordered quantity; of a notional order what is filled so far.
        filled_qty: What of it was filled before the ledger was opened, and is in its opening.
        parent: client_order_id of the order it is a leg of.
        order_class: Of a leg its group's.
    """

    id: str
    bot: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    time_in_force: TimeInForce
    venue_order_id: str
    purpose: Purpose
    ts_event: int
    filled_qty: Decimal = Decimal(0)
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    trail_px: Decimal | None = None
    trail_percent: Decimal | None = None
    notional: Decimal | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    parent: str = ""


class CancelOrder(Body, frozen=True):
    """A wish to end a working order, of a person or of risk; always allowed.

    Attributes:
        id: Chosen once by who wishes it.
        by: A user name, or the role.
    """

    id: str
    client_order_id: str
    reason: str
    by: str
    ts_event: int


class ReplaceOrder(Body, frozen=True):
    """A person's wish to change a working order; risk answers with an OrderIntent that `replaces`, or a RiskDenied.

    Attributes:
        id: Chosen once by who wishes it.
        quantity: Of the whole order, what is filled of it included; None leaves it.
        limit_px: The new limit; None leaves it. The same for the others.
    """

    id: str
    client_order_id: str
    reason: str
    by: str
    ts_event: int
    quantity: Decimal | None = None
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    trail_px: Decimal | None = None
    trail_percent: Decimal | None = None
