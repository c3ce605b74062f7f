"""What the executor knows and concludes: the orders of one account, folded from the trading stream and the venue.

Invariants:
1. `apply` folds stored messages (intents and our own events) and is idempotent; after a restart the same fold over the
   stream gives the same orders.
2. Every `on_...` function returns the new events a report of the venue implies, given what is known; a repeated, late
   or reordered report implies nothing.
3. Each intent ends in exactly one terminal event, also when it was never sent.
4. A fill is named by (venue_order_id, cumulative quantity after it); a hole before it asks for the executions.
Called by streams/services/executor. Never sends anything, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from engine.messages import (
    AccountOpened,
    AnyBody,
    Fee,
    Fill,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderSubmitted,
    Sessions,
    TradingState,
)
from engine.orders import TERMINAL, OrderStatus, from_venue, move
from engine.ports import Accepted, Rejected, VenueActivity, VenueExecution, VenueOrder, VenueUpdate
from engine.values import ZERO, TradingMode

_DONE_MAX = 100_000


class ExecOrder(msgspec.Struct):
    """One order. `spent` is the sum of quantity x price of its fills, `filled_ns` the time of the last one."""

    intent: OrderIntent
    status: OrderStatus = OrderStatus.INITIALIZED
    venue_order_id: str = ""
    filled_qty: Decimal = ZERO
    spent: Decimal = ZERO
    filled_ns: int = 0

    @property
    def is_open(self) -> bool:
        """Whether no terminal event was stored yet."""
        return self.status not in TERMINAL


class ExecState(msgspec.Struct):
    """Everything the executor must remember; written to checkpoints as it is.

    Attributes:
        ended: Orders that the venue had and that ended; what it refused or never got is not counted.
        foreign: Reports about orders that are not ours.
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


class Conclusion(msgspec.Struct, frozen=True):
    """What a report implies: events to store, in order, and whether executions are missing and must be asked for."""

    events: tuple[AnyBody, ...] = ()
    needs_executions: bool = False


class ExecutionCore:
    """The orders of one account.

    Args:
        state: State from a checkpoint, or None to start from the stream's beginning.
    """

    def __init__(self, state: ExecState | None = None) -> None:
        self.state = state or ExecState()

    # --- fold ------------------------------------------------------------------------------------------------------

    def apply(self, body: AnyBody) -> None:
        """Let a stored message change the state. Idempotent."""
        state = self.state
        match body:
            case AccountOpened() if not state.account:
                state.account, state.run, state.opened_ns = body.account_number, body.run, body.ts_event
            case Sessions():
                state.sessions_until = max(state.sessions_until, max((c for _, c in body.spans), default=0))
            case TradingState() if not body.bot:
                state.mode = body.mode
            case OrderIntent() if body.id not in state.orders:
                state.orders[body.id] = ExecOrder(body)
                state.open_ids[body.id] = None
            case OrderSubmitted():
                self._move(body.client_order_id, OrderStatus.SUBMITTED)
            case OrderAccepted():
                self._learn_venue_id(body.client_order_id, body.venue_order_id)
                self._move(body.client_order_id, OrderStatus.ACCEPTED)
            case OrderRejected():
                self._learn_venue_id(body.client_order_id, body.venue_order_id)
                self._move(body.client_order_id, OrderStatus.REJECTED)
            case OrderFilled():
                self._learn_venue_id(body.client_order_id, body.venue_order_id)
                self._move(body.client_order_id, OrderStatus.FILLED)
            case OrderCanceled():
                self._learn_venue_id(body.client_order_id, body.venue_order_id)
                self._move(body.client_order_id, OrderStatus.CANCELED)
            case OrderExpired():
                self._learn_venue_id(body.client_order_id, body.venue_order_id)
                self._move(body.client_order_id, OrderStatus.EXPIRED)
            case Fill():
                self._apply_fill(body)
            case Fee():
                state.fees[body.id] = body.ts_event
                state.last_activity_ns = max(state.last_activity_ns, body.ts_event)
                while len(state.fees) > _DONE_MAX:
                    del state.fees[next(iter(state.fees))]
            case _:
                pass

    def _move(self, client_order_id: str, to: OrderStatus) -> None:
        order = self.state.orders.get(client_order_id)
        if order is None:
            return
        was_open = order.is_open
        order.status = move(order.status, to) or order.status
        if not order.is_open:
            self.state.open_ids.pop(client_order_id, None)
            self.state.ended += was_open and bool(order.venue_order_id)
            self._forget_old()

    def _forget_old(self) -> None:
        orders = self.state.orders
        if len(orders) > _DONE_MAX + len(self.state.open_ids):
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
        self.state.last_bot[fill.symbol] = fill.bot
        if order is None or fill.cum_qty <= order.filled_qty:
            return
        self._learn_venue_id(fill.client_order_id, fill.venue_order_id)
        self.state.fills += 1
        order.filled_qty = fill.cum_qty
        order.spent += fill.last_qty * fill.last_px
        order.filled_ns = fill.ts_event
        if order.filled_qty < order.intent.quantity:
            order.status = move(order.status, OrderStatus.PARTIALLY_FILLED) or order.status

    # --- what to do ------------------------------------------------------------------------------------------------

    def unsent(self) -> list[OrderIntent]:
        """Intents that no OrderSubmitted was stored for, oldest first."""
        return [order.intent for order in self._open() if order.status is OrderStatus.INITIALIZED]

    def unresolved(self) -> list[str]:
        """Ids of orders that may or may not have reached the venue: submitted, and no answer stored."""
        return [order.intent.id for order in self._open() if order.status is OrderStatus.SUBMITTED]

    def open_at_venue(self) -> list[str]:
        """Ids of orders the venue acknowledged and did not end."""
        waiting = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED)
        return [order.intent.id for order in self._open() if order.status not in waiting]

    def executions_since(self) -> int:
        """Venue time from which executions may be missing: the last one known, or before it the oldest open order."""
        state = self.state
        oldest = min((order.intent.decided_ns for order in self._open()), default=state.last_execution_ns)
        return max(min(state.last_execution_ns, oldest), state.opened_ns)

    def is_missing(self, client_order_id: str) -> bool:
        """Whether an order that the venue does not find may be one it never got: once it accepted it, it has it."""
        order = self.state.orders.get(client_order_id)
        return order is not None and order.is_open and not order.venue_order_id

    def _open(self) -> Iterable[ExecOrder]:
        return (self.state.orders[key] for key in self.state.open_ids)

    def is_halted(self, *, latched: bool) -> bool:
        """Whether nothing may leave and what is open should end."""
        return latched or self.state.mode is TradingMode.HALTED

    def may_leave(self, intent: OrderIntent, *, latched: bool) -> bool:
        """Whether the trading mode lets the order out; what reduces the position reserves nothing."""
        if self.is_halted(latched=latched):
            return False
        return self.state.mode is TradingMode.ACTIVE or intent.reserved == 0

    def submit(self, intent: OrderIntent, now_ns: int, *, latched: bool = False) -> OrderSubmitted | OrderExpired:
        """Give the event that must be stored before the request leaves, or the end of an intent that may not leave.

        Args:
            intent: What to send.
            now_ns: Venue time.
            latched: Whether the latch file is there.
        """
        if now_ns > intent.valid_until or not self.may_leave(intent, latched=latched):
            return OrderExpired(intent.id, intent.bot, intent.symbol, "not_sent", now_ns)
        return OrderSubmitted(intent.id, intent.bot, intent.symbol, intent.decided_ns)

    def not_sent(self, client_order_id: str, now_ns: int) -> Conclusion:
        """Give the end of an intent that the venue never got and will not get any more."""
        order = self.state.orders.get(client_order_id)
        if order is None or not order.is_open:
            return Conclusion()
        intent = order.intent
        return Conclusion((OrderExpired(intent.id, intent.bot, intent.symbol, "not_sent", now_ns),))

    # --- what the venue says ---------------------------------------------------------------------------------------

    def on_outcome(self, client_order_id: str, outcome: Accepted | Rejected, now_ns: int) -> Conclusion:
        """Conclude from the answer to a submission."""
        order = self.state.orders.get(client_order_id)
        if order is None or not order.is_open:
            return Conclusion()
        if isinstance(outcome, Rejected):
            intent = order.intent
            return Conclusion(
                (OrderRejected(intent.id, intent.bot, intent.symbol, outcome.code, outcome.reason, now_ns),)
            )
        return self.on_order(outcome.order)

    def on_order(self, report: VenueOrder, reason: str = "") -> Conclusion:
        """Conclude from the venue's state of an order (answer to a POST, a lookup, a snapshot).

        Args:
            report: The order as the venue has it.
            reason: Why the venue refused it, where it says so.
        """
        order = self.state.orders.get(report.client_order_id)
        if order is None:
            self.state.foreign += 1
            return Conclusion()
        status = from_venue(report.status)
        if status is OrderStatus.REJECTED:
            return self._end(order, status, report.updated_ns, reason or "rejected", report.venue_order_id)
        events = _accepted(order, report)
        if report.filled_qty > order.filled_qty:
            return Conclusion(tuple(events), needs_executions=True)
        if order.is_open and order.filled_qty >= order.intent.quantity:
            # Killed between its last fill and its end, which were stored singly.
            events.append(_filled(order.intent, order.filled_qty, order.spent, report.venue_order_id, order.filled_ns))
            return Conclusion(tuple(events))
        if status in TERMINAL:
            end = self._end(order, status, report.updated_ns, "venue", report.venue_order_id)
            events.extend(end.events)
        return Conclusion(tuple(events))

    def on_update(self, update: VenueUpdate) -> Conclusion:
        """Conclude from one trade_updates event."""
        order = self.state.orders.get(update.order.client_order_id)
        if order is None:
            self.state.foreign += 1
            return Conclusion()
        if update.execution is None:
            return self.on_order(update.order, update.reason)
        events = _accepted(order, update.order)
        fills = self._fills(order, [update.execution])
        if fills is None:
            return Conclusion(tuple(events), needs_executions=True)
        return Conclusion((*events, *fills))

    def on_executions(self, executions: Iterable[VenueExecution]) -> Conclusion:
        """Conclude from the venue's list of executions, oldest first."""
        by_order: dict[str, list[VenueExecution]] = {}
        for execution in executions:
            key = self.state.by_venue_id.get(execution.venue_order_id) or execution.client_order_id
            if key in self.state.orders:
                by_order.setdefault(key, []).append(execution)
        events: list[tuple[int, AnyBody]] = []
        missing = False
        for key, found in by_order.items():
            fills = self._fills(self.state.orders[key], found)
            missing = missing or fills is None
            reached = 0
            for body in fills or ():
                # By time over all orders, but never an order's own fills out of order, whatever the venue's times say.
                reached = max(reached, body.ts_event)
                events.append((reached, body))
        events.sort(key=_time_of)
        return Conclusion(tuple(body for _, body in events), needs_executions=missing)

    def on_activities(self, activities: Iterable[VenueActivity]) -> Conclusion:
        """Turn fees, dividends and transfers into ledger events, each once."""
        fees = {
            activity.id: Fee(
                id=activity.id,
                kind=activity.kind,
                bot=self.state.last_bot.get(activity.symbol, "unattributed"),
                symbol=activity.symbol,
                cash=activity.cash,
                quantity=activity.quantity,
                ts_event=activity.ts_event,
            )
            for activity in activities
            if activity.id not in self.state.fees and (activity.cash or activity.quantity)
        }
        return Conclusion(tuple(fees.values()))

    def _fills(self, order: ExecOrder, executions: list[VenueExecution]) -> list[Fill | OrderFilled] | None:
        """Give the fills not known yet and the end they bring; None where one is missing in between."""
        intent = order.intent
        filled, spent = order.filled_qty, order.spent
        events: list[Fill | OrderFilled] = []
        for execution in sorted(executions, key=lambda e: e.cum_qty):
            if execution.cum_qty <= filled:
                continue
            if execution.cum_qty - execution.last_qty != filled:
                return None
            filled = execution.cum_qty
            spent += execution.last_qty * execution.last_px
            events.append(
                Fill(
                    venue_order_id=execution.venue_order_id,
                    cum_qty=execution.cum_qty,
                    client_order_id=intent.id,
                    bot=intent.bot,
                    symbol=intent.symbol,
                    side=intent.side,
                    last_qty=execution.last_qty,
                    last_px=execution.last_px,
                    ts_event=execution.ts_event,
                )
            )
            if filled >= intent.quantity and order.is_open:  # else it was canceled before: that was its end
                events.append(_filled(intent, filled, spent, execution.venue_order_id, execution.ts_event))
        return events

    def _end(self, order: ExecOrder, status: OrderStatus, ts_ns: int, reason: str, venue_id: str) -> Conclusion:
        if not order.is_open or status is OrderStatus.FILLED:
            return Conclusion()  # filled follows from the last fill and from nothing else
        intent = order.intent
        match status:
            case OrderStatus.REJECTED:
                end: AnyBody = OrderRejected(intent.id, intent.bot, intent.symbol, "", reason, ts_ns, venue_id)
            case OrderStatus.EXPIRED:
                end = OrderExpired(intent.id, intent.bot, intent.symbol, reason, ts_ns, venue_id, order.filled_qty)
            case _:
                end = OrderCanceled(intent.id, intent.bot, intent.symbol, venue_id, order.filled_qty, ts_ns)
        return Conclusion((end,))


def _filled(intent: OrderIntent, filled: Decimal, spent: Decimal, venue_order_id: str, ts_ns: int) -> OrderFilled:
    average = (spent / filled).quantize(Decimal("0.000000001"))
    return OrderFilled(intent.id, intent.bot, intent.symbol, venue_order_id, filled, average, ts_ns)


def _accepted(order: ExecOrder, report: VenueOrder) -> list[AnyBody]:
    """Give the acceptance that the report implies; none for an order that is known there or was refused."""
    if order.venue_order_id or order.status is OrderStatus.REJECTED:
        return []
    intent = order.intent
    return [OrderAccepted(intent.id, intent.bot, intent.symbol, report.venue_order_id, report.submitted_ns)]


def _time_of(event: tuple[int, AnyBody]) -> int:
    return event[0]
