"""The orders of one account, folded from the trading stream: what was stored, and nothing else, moves them.

`apply` is idempotent; after a restart the same fold over the stream gives the same orders. Called by
engine.execution.core.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from engine.adoption import FLATTEN, UNATTRIBUTED
from engine.bots import BotStatus
from engine.execution.book import FROM_FEES, Book
from engine.ids import make_id
from engine.messages import (
    AccountOpened,
    AnyBody,
    BotDefined,
    CancelOrder,
    Correction,
    Fee,
    Fill,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    Sessions,
    Split,
    SymbolStatus,
    TradingState,
    VenueFunds,
)
from engine.orders import TERMINAL, OrderStatus, move
from engine.ports import VenueOrder
from engine.splits import goes_along, restated
from engine.values import ZERO, TradingMode

DONE_MAX = 100_000
_STATUS_OF: dict[type[AnyBody], OrderStatus] = {
    OrderAccepted: OrderStatus.ACCEPTED,
    OrderRejected: OrderStatus.REJECTED,
    OrderFilled: OrderStatus.FILLED,
    OrderCanceled: OrderStatus.CANCELED,
    OrderExpired: OrderStatus.EXPIRED,
    OrderReplaced: OrderStatus.REPLACED,
}


class ExecOrder(msgspec.Struct):
    """One order, of an intent or adopted.

    Attributes:
        spent: Sum of quantity x price of its fills.
        counted_qty: What `spent` is of; less than `filled_qty` for an order that was there before the ledger.
        filled_ns: Time of the last fill.
        is_unwanted: Somebody wishes it to end.
    """

    intent: OrderIntent | OrderAdopted
    status: OrderStatus = OrderStatus.INITIALIZED
    venue_order_id: str = ""
    filled_qty: Decimal = ZERO
    spent: Decimal = ZERO
    counted_qty: Decimal = ZERO
    filled_ns: int = 0
    is_unwanted: bool = False

    @property
    def is_open(self) -> bool:
        """Whether no terminal event was stored yet."""
        return self.status not in TERMINAL


class ExecState(msgspec.Struct):
    """Everything the executor must remember; written to checkpoints as it is.

    Attributes:
        ended: Orders that the venue had and that ended; what it refused or never got is not counted.
        foreign: Reports about orders that are not known (yet).
        unwanted: Ids of orders that somebody wishes to end, while they are open.
        assets: What the venue said last of each symbol, and
        assets_ns: when that was.
        bots: Symbols of the bots that were defined.
        swept_ns: Venue time up to which the venue's list of orders is known to hold no other.
        book: What the account should hold.
        splits: Those stored, by id.
        sessions: Close of each regular session by its opening.
        funds: What the venue said last of what may be spent, as stored.
    """

    account: str = ""
    run: str = ""
    opened_ns: int = 0
    orders: dict[str, ExecOrder] = msgspec.field(default_factory=dict[str, ExecOrder])
    open_ids: dict[str, None] = msgspec.field(default_factory=dict[str, None])
    by_venue_id: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    fees: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    last_bot: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    last_execution_ns: int = 0
    last_activity_ns: int = 0
    sessions_until: int = 0
    mode: TradingMode = TradingMode.ACTIVE
    fills: int = 0
    ended: int = 0
    foreign: int = 0
    unwanted: dict[str, None] = msgspec.field(default_factory=dict[str, None])
    swept_ns: int = 0
    assets: dict[str, SymbolStatus] = msgspec.field(default_factory=dict[str, SymbolStatus])
    assets_ns: int = 0
    book: Book = msgspec.field(default_factory=Book)
    splits: dict[str, Split] = msgspec.field(default_factory=dict[str, Split])
    sessions: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    funds: VenueFunds | None = None
    bots: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])


class ExecutionFold:
    """The orders of one account, as the stream tells them.

    Args:
        state: State from a checkpoint, or None to start from the stream's beginning.
        done_max: Of as many orders that ended, and of as many fees, it is known that they were.
    """

    def __init__(self, state: ExecState | None = None, *, done_max: int = DONE_MAX) -> None:
        self.state = state or ExecState()
        self._done_max = done_max

    # --- fold ------------------------------------------------------------------------------------------------------

    def apply(self, body: AnyBody) -> None:
        """Let a stored message change the state. Idempotent."""
        state = self.state
        match body:
            case AccountOpened() if not state.account:
                state.account, state.run, state.opened_ns = body.account_number, body.run, body.ts_event
                state.book.open(body)
            case Sessions():
                state.sessions.update(body.spans)
                state.sessions_until = max(state.sessions_until, max((c for _, c in body.spans), default=0))
            case VenueFunds():
                state.funds = body
            case SymbolStatus() if body.source == "assets":
                state.assets[body.symbol] = body
                state.assets_ns = max(state.assets_ns, body.ts_event)
            case BotDefined():
                state.bots[body.bot] = () if body.status is BotStatus.REMOVED else body.definition.symbols
            case TradingState() if not body.bot:
                state.mode = body.mode
            case OrderIntent() if body.id not in state.orders:
                state.orders[body.id] = ExecOrder(body)
                state.open_ids[body.id] = None
            case OrderAdopted() if body.id not in state.orders:
                state.orders[body.id] = ExecOrder(body, OrderStatus.ACCEPTED, filled_qty=body.filled_qty)
                state.open_ids[body.id] = None
                self._learn_venue_id(body.id, body.venue_order_id)
            case CancelOrder():
                order = state.orders.get(body.client_order_id)
                if order is not None and order.is_open:
                    state.unwanted[body.client_order_id] = None
            case OrderSubmitted():
                self._move(body.client_order_id, OrderStatus.SUBMITTED)
            case OrderAccepted() | OrderRejected() | OrderFilled() | OrderCanceled() | OrderExpired() | OrderReplaced():
                self._learn_venue_id(body.client_order_id, body.venue_order_id)
                self._move(body.client_order_id, _STATUS_OF[type(body)])
            case Fill():
                self._apply_fill(body)
            case Fee() if body.id not in state.fees:
                self._apply_fee(body)
            case Split() if body.id not in state.splits:
                self._apply_split(body)
            case Correction() if body.id not in state.book.known:
                reverses = next((key for key in state.book.corrected if self.reversal_id(key) == body.id), "")
                state.book.correct(body, is_advance=body.source == FROM_FEES, reverses=reverses)
            case _:
                pass

    def reversal_id(self, of: str) -> str:
        """Give the id of the correction that takes an earlier one back."""
        return make_id(self.state.account, self.state.run, "reversal", of)

    def _move(self, client_order_id: str, to: OrderStatus) -> None:
        order = self.state.orders.get(client_order_id)
        if order is None:
            return
        was_open = order.is_open
        order.status = move(order.status, to) or order.status
        if not order.is_open:
            self.state.open_ids.pop(client_order_id, None)
            self.state.unwanted.pop(client_order_id, None)
            self.state.ended += was_open and bool(order.venue_order_id)
            self._forget_old()

    def _forget_old(self) -> None:
        orders = self.state.orders
        if len(orders) > self._done_max + len(self.state.open_ids):
            oldest = next(key for key, order in orders.items() if not order.is_open)
            self.state.by_venue_id.pop(orders.pop(oldest).venue_order_id, None)

    def _learn_venue_id(self, client_order_id: str, venue_order_id: str) -> None:
        order = self.state.orders.get(client_order_id)
        if order is not None and venue_order_id and not order.venue_order_id:
            order.venue_order_id = venue_order_id
            self.state.by_venue_id[venue_order_id] = client_order_id

    def _apply_fill(self, fill: Fill) -> None:
        order = self.state.orders.get(fill.client_order_id)
        self.state.last_execution_ns = max(self.state.last_execution_ns, fill.ts_event)
        if fill.bot != FLATTEN:  # what is charged for it belongs to those whose positions it closed
            self.state.last_bot[fill.symbol] = fill.bot
        if order is None or fill.cum_qty <= order.filled_qty:
            return
        self._learn_venue_id(fill.client_order_id, fill.venue_order_id)
        self.state.fills += 1
        self.state.book.fill(fill, self.state.last_bot.get(fill.symbol, UNATTRIBUTED))
        order.filled_qty = fill.cum_qty
        order.spent += fill.last_qty * fill.last_px
        order.counted_qty += fill.last_qty
        order.filled_ns = fill.ts_event
        if order.filled_qty < order.intent.quantity:
            order.status = move(order.status, OrderStatus.PARTIALLY_FILLED) or order.status

    def _apply_fee(self, fee: Fee) -> None:
        state = self.state
        state.book.fee(fee)
        state.fees[fee.id] = fee.ts_event
        state.last_activity_ns = max(state.last_activity_ns, fee.ts_event)
        while len(state.fees) > self._done_max:
            del state.fees[next(iter(state.fees))]

    def _apply_split(self, split: Split) -> None:
        """Restate the open orders that the venue takes along."""
        state = self.state
        state.splits[split.id] = split
        state.book.split(split)
        if split.symbol in state.last_bot:
            state.last_bot[split.new_symbol] = state.last_bot[split.symbol]
        for key in state.open_ids:
            order = state.orders[key]
            is_there = order.intent.symbol == split.symbol and order.venue_order_id and since(order) < split.ts_event
            if is_there and goes_along(order.intent, split.ratio):
                order.intent = restated(order.intent, split, order.filled_qty)

    def _open(self) -> Iterable[ExecOrder]:
        return (self.state.orders[key] for key in self.state.open_ids)

    def _order_of(self, report: VenueOrder) -> ExecOrder | None:
        """Give the order by its id; an order placed without one, or a leg, is named by the venue."""
        orders = self.state.orders
        return orders.get(report.client_order_id) or orders.get(self.state.by_venue_id.get(report.venue_order_id, ""))


def since(order: ExecOrder) -> int:
    """Give when an order was decided, or placed."""
    return order.intent.decided_ns if isinstance(order.intent, OrderIntent) else order.intent.ts_event
