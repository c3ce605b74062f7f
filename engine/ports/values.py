"""What adapters answer: orders, executions, accounts, prices, and the outcomes of requests."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.values import OrderClass, OrderType, Side, TimeInForce


class VenueOrder(msgspec.Struct, frozen=True):
    """An order as the venue reports it. `status` is the venue's own word; the engine maps it (engine.orders).

    Attributes:
        quantity: None for a notional order.
        trail_percent: 1.5 is 1.5 %.
        legs: Orders of its group that wait for it or for each other; the venue names them itself.
        replaced_by: venue_order_id of the order that took its place.
        replaces: venue_order_id of the order it took the place of. Its `quantity` is the whole quantity and its
            `filled_qty` begins with what that order had filled, as Alpaca counts along a chain of replacements.
        unknown: What the venue says of it that we have no word for (`order_class mleg`); those fields are `OTHER`.
    """

    client_order_id: str
    venue_order_id: str
    symbol: str
    side: Side
    status: str
    quantity: Decimal | None
    filled_qty: Decimal
    avg_px: Decimal | None
    submitted_ns: int
    updated_ns: int
    order_type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    order_class: OrderClass = OrderClass.SIMPLE
    notional: Decimal | None = None
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    trail_px: Decimal | None = None
    trail_percent: Decimal | None = None
    legs: tuple[VenueOrder, ...] = ()
    replaced_by: str = ""
    replaces: str = ""
    unknown: tuple[str, ...] = ()


class VenueExecution(msgspec.Struct, frozen=True):
    """One execution as the venue reports it, by trade_updates or by the FILL activities.

    `commission` is what the venue took of the cash with it, USD; Alpaca takes none.
    """

    venue_order_id: str
    cum_qty: Decimal
    symbol: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    ts_event: int
    execution_id: str = ""
    activity_id: str = ""
    client_order_id: str = ""
    commission: Decimal = Decimal(0)


class VenueUpdate(msgspec.Struct, frozen=True):
    """One trade_updates event: what happened, the order after it, and the execution if it was one.

    `event` is the venue's own word (new, fill, partial_fill, canceled, expired, rejected, replaced, ...).
    """

    event: str
    order: VenueOrder
    ts_event: int
    execution: VenueExecution | None = None
    reason: str = ""


class VenueActivity(msgspec.Struct, frozen=True):
    """A non-trade activity (CFEE, FEE, DIV, SPLIT, ...). `cash` and `quantity` are changes, negative for a cost.

    Attributes:
        kind: The venue's own word.
        sub_kind: Its finer word, where it says one (SDIV, RSPLIT, SNC).
        cash: Change of cash, USD.
        quantity: Change of the holding in `symbol`; a number of shares that is only told (a dividend's) is not here.
        group: What the rows of one corporate action have in common, where the venue says it.
        is_known: False for a kind we have no word for: its cash is booked, its quantity is not, and a person must look.
    """

    id: str
    kind: str
    symbol: str
    cash: Decimal
    quantity: Decimal
    ts_event: int
    sub_kind: str = ""
    description: str = ""
    group: str = ""
    is_known: bool = True


class VenueAsset(msgspec.Struct, frozen=True):
    """What the venue says of a symbol; one it does not know is not tradable. None where it does not say."""

    symbol: str
    is_tradable: bool
    is_shortable: bool
    is_fractionable: bool
    qty_min: Decimal | None = None
    qty_step: Decimal | None = None
    price_step: Decimal | None = None


class VenueSplit(msgspec.Struct, frozen=True):
    """A split or change of name, announced or done: `ratio` shares of `new_symbol` for one of `symbol`.

    Attributes:
        ratio: 4 for a 4-for-1, 0.1 for a 1-for-10, 1 for a new name.
        effective_ns: From when prices and quantities are the new ones.
        removed: Of one that is done: what was held of `symbol`, signed; None of an announced one.
        added: Of one that is done: what is held of `new_symbol` instead, signed.
        activities: Of one that is done: the ids of its activities.
    """

    id: str
    symbol: str
    new_symbol: str
    ratio: Decimal
    effective_ns: int
    removed: Decimal | None = None
    added: Decimal | None = None
    activities: tuple[str, ...] = ()


class ClockOffset(msgspec.Struct, frozen=True):
    """How far this machine's clock is ahead of the venue's, ns (negative: behind), and how far that may be wrong."""

    offset_ns: int
    error_ns: int


class VenueAccount(msgspec.Struct, frozen=True):
    """The account as the venue reports it; by canonical symbol (BTC/USD) signed quantities and prices in USD."""

    account_number: str
    cash: Decimal
    equity: Decimal
    buying_power: Decimal
    positions: dict[str, Decimal]
    prices: dict[str, Decimal] = {}
    is_shorting_enabled: bool = True


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A trade that counts for the last price: odd lots, late and averaged ones are left out by the adapter."""

    symbol: str
    ts_event: int
    px: float
    size: float = 0.0


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask now; 0 where there is none on that side."""

    symbol: str
    ts_event: int
    bid_px: float
    ask_px: float


class Accepted(msgspec.Struct, frozen=True):
    """The venue has the order (also the answer to a duplicate client_order_id, after a lookup)."""

    order: VenueOrder


class Rejected(msgspec.Struct, frozen=True):
    """The venue refused the order for good."""

    code: str
    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """The request may or may not have reached the venue (timeout, reset, 5xx): look it up, never send it blindly."""

    reason: str


class RateLimited(msgspec.Struct, frozen=True):
    """Not processed, for the rate; ask again after `retry_after_s`."""

    retry_after_s: float


class NotFound(msgspec.Struct, frozen=True):
    """The venue knows no such order (yet)."""


class CancelRequested(msgspec.Struct, frozen=True):
    """The venue took the request; the order's end comes as an event, and a fill may still come before it."""

    venue_order_id: str


CancelOutcome = CancelRequested | NotFound | Rejected | Unknown | RateLimited
SubmitOutcome = Accepted | Rejected | Unknown | RateLimited
LookupOutcome = VenueOrder | NotFound | Unknown | RateLimited


class OpenOrder(msgspec.Struct, frozen=True):
    """What a fence must know of an order that is open at the venue, whoever placed it. `status` is the venue's word."""

    venue_order_id: str
    client_order_id: str
    symbol: str
    status: str
