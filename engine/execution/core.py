"""What the executor knows and concludes: the orders of one account, folded from the trading stream and the venue.

Invariants:
1. `apply` folds stored messages (intents and our own events) and is idempotent; after a restart the same fold over the
   stream gives the same orders.
2. Every `on_...` function returns the new events a report of the venue implies, given what is known; a repeated, late
   or reordered report implies nothing.
3. Each intent ends in exactly one terminal event, also when it was never sent.
4. A fill is named by (venue_order_id, cumulative quantity after it); a hole before it asks for the executions.
5. An order nobody knows is adopted from the venue's list of orders and from nothing else: an event does not say whose
   leg it is of.
Called by streams/services/executor. Never sends anything, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from engine.adoption import adopt, filled_before, is_of_another_tapeline
from engine.execution.accounting import Accounting
from engine.execution.conclusion import Conclusion
from engine.execution.events import accepted_events, filled_event, is_whole, submitted_events
from engine.execution.fold import DONE_MAX, ExecOrder, ExecState, since
from engine.ids import make_id
from engine.messages import (
    NOTHING_TO_CLOSE,
    Alert,
    AnyBody,
    Fill,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
)
from engine.orders import TERMINAL, OrderStatus, from_venue
from engine.ports import (
    Accepted,
    LookupOutcome,
    NotFound,
    Rejected,
    VenueExecution,
    VenueOrder,
    VenueUpdate,
)
from engine.values import ZERO, AssetClass, OrderClass, Purpose, TradingMode, asset_class_of, plain


class ExecutionCore(Accounting):
    """What follows for the orders of one account from what the venue says."""

    # --- what to do ------------------------------------------------------------------------------------------------

    def __init__(self, state: ExecState | None = None, *, done_max: int = DONE_MAX) -> None:
        super().__init__(state, done_max=done_max)
        self._not_found: dict[str, int] = {}

    def unsent(self) -> list[OrderIntent]:
        """Intents that no OrderSubmitted was stored for, oldest first."""
        return [
            order.intent
            for order in self._open()
            if order.status is OrderStatus.INITIALIZED and isinstance(order.intent, OrderIntent)
        ]

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
        oldest = min((since(order) for order in self._open()), default=state.last_execution_ns)
        return max(min(state.last_execution_ns, oldest, state.swept_ns), state.opened_ns)

    def orders_since(self) -> int:
        """Venue time from which orders of others may be unknown."""
        return max(self.state.swept_ns, self.state.opened_ns)

    def swept(self, ns: int) -> None:
        """Note that the venue's list of orders was taken in as it was at this venue time."""
        self.state.swept_ns = max(self.state.swept_ns, ns)

    def unwanted(self, *, latched: bool) -> list[str]:
        """Ids of orders to cancel: those somebody wishes to end and, while halted, what opens positions of our bots.

        What protects a position stays while halted, and what closes one: its protection was taken away for it. Orders
        of others are theirs to end.
        """
        at_venue = self.open_at_venue()
        wished, orders = self.state.unwanted, self.state.orders
        if not self.is_halted(latched=latched):
            return [key for key in at_venue if key in wished]
        return [key for key in at_venue if key in wished or self._may_open(orders[key].intent)]

    def _may_open(self, body: OrderIntent | OrderAdopted) -> bool:
        """Whether an order of a bot may open a position: no exit, or one that finds nothing to close any more."""
        closes = isinstance(body, OrderIntent) and body.reserved == 0 and self.still_reduces(body)
        return body.purpose is Purpose.TARGET and not closes

    def is_missing(self, client_order_id: str) -> bool:
        """Whether an order that the venue does not find may be one it never got: once it accepted it, it has it."""
        order = self.state.orders.get(client_order_id)
        return order is not None and order.is_open and not order.venue_order_id

    def is_halted(self, *, latched: bool) -> bool:
        """Whether nothing may leave and what is open should end."""
        return latched or self.state.mode is TradingMode.HALTED

    def may_leave(self, intent: OrderIntent, *, latched: bool) -> bool:
        """Whether the trading mode lets the order out; what reduces the position reserves nothing."""
        if self.is_halted(latched=latched):
            return False
        return self.state.mode is TradingMode.ACTIVE or intent.reserved == 0

    def still_reduces(self, intent: OrderIntent) -> bool:
        """Whether what reserves nothing still finds something to close.

        `halt --flatten` may have closed it since risk decided, and risk may not have heard of that: what was judged as
        an exit would open a position. (Coins cannot be sold short: the venue sees to it.)
        """
        is_exit = not intent.reserved and asset_class_of(intent.symbol) is AssetClass.US_EQUITY
        return not is_exit or self.state.book.held(intent.symbol) * intent.side.sign < 0

    def submit(
        self, intent: OrderIntent, now_ns: int, *, latched: bool = False, may_oppose: bool = False
    ) -> OrderSubmitted | OrderExpired:
        """Give the event that must be stored before the request leaves, or the end of an intent that may not leave.

        Args:
            intent: What to send.
            now_ns: Venue time.
            latched: Whether the latch file is there.
            may_oppose: Whether bots may be on opposite sides; then the account's net says nothing of one of them.
        """
        replaced = self.state.orders.get(intent.replaces)
        is_pointless = bool(intent.replaces) and (replaced is None or not replaced.is_open)
        if is_pointless or now_ns > intent.valid_until or not self.may_leave(intent, latched=latched):
            return OrderExpired(intent.id, intent.bot, intent.symbol, "not_sent", now_ns)
        if not (may_oppose or self.still_reduces(intent)):
            return OrderExpired(intent.id, intent.bot, intent.symbol, NOTHING_TO_CLOSE, now_ns)
        return OrderSubmitted(intent.id, intent.bot, intent.symbol, intent.decided_ns)

    def not_sent(self, client_order_id: str, now_ns: int) -> Conclusion:
        """Give the end of an intent that the venue never got and will not get any more."""
        order = self.state.orders.get(client_order_id)
        if order is None or not order.is_open:
            return Conclusion()
        intent = order.intent
        return Conclusion((OrderExpired(intent.id, intent.bot, intent.symbol, "not_sent", now_ns),))

    def stuck(self, client_order_id: str, now_ns: int) -> list[Alert]:
        """Give what a person should know of an order that was asked to end long ago; nothing once it ended."""
        order = self.state.orders.get(client_order_id)
        if order is None or not order.is_open:
            return []
        of, state = order.intent, self.state
        order_said = f"{of.side} {plain(of.quantity)} {of.symbol}"
        what = (
            f"order {of.id} of {of.bot} ({order_said}) was asked to end long ago and is open at the venue, so "
            "what waits for its end waits on: look at it at the venue, or run `tapeline halt --flatten`"
        )
        return [Alert(make_id(state.account, state.run, "stuck", of.id), "error", "executor", what, now_ns)]

    def on_missing(self, client_order_id: str, outcome: LookupOutcome, now_ns: int) -> Conclusion:
        """Conclude from a lookup that brought no order: ask again after a wait, then post the same id again."""
        if not self.is_missing(client_order_id):
            self._not_found.pop(client_order_id, None)
            return Conclusion()
        if not isinstance(outcome, NotFound):
            return Conclusion(ask_again=True)
        asked = self._not_found[client_order_id] = self._not_found.get(client_order_id, 0) + 1
        if asked < 2:
            return Conclusion(ask_again=True)
        del self._not_found[client_order_id]
        intent = self.state.orders[client_order_id].intent
        if isinstance(intent, OrderAdopted) or now_ns > intent.valid_until:
            return self.not_sent(client_order_id, now_ns)
        return Conclusion(send_again=intent)

    # --- what the venue says ---------------------------------------------------------------------------------------

    def on_outcome(self, client_order_id: str, outcome: Accepted | Rejected, now_ns: int) -> Conclusion:
        """Conclude from the answer to a submission."""
        self._not_found.pop(client_order_id, None)
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
        order = self._order_of(report)
        if order is None:
            self.state.foreign += 1
            return Conclusion(needs_orders=True)
        status = from_venue(report.status)
        if status is OrderStatus.REJECTED:
            end = self._end(order, status, report, reason or "rejected")
            return Conclusion((*submitted_events(order), *end.events))
        events: list[AnyBody] = [*accepted_events(order, report), *self._adopt_legs(order, report)]
        if report.filled_qty > max(order.filled_qty, self._begun_with(order)):
            return Conclusion(tuple(events), needs_executions=True)
        if order.is_open and order.counted_qty and is_whole(order, order.filled_qty, status):
            # Killed between its last fill and its end, which were stored singly; or a notional order, whose whole
            # only the venue knows.
            events.append(filled_event(order, order.filled_qty, report.venue_order_id, order.filled_ns))
            return Conclusion(tuple(events))
        if status in TERMINAL:
            events.extend(self._end(order, status, report, "venue").events)
        return Conclusion(tuple(events))

    def lacks_legs(self, report: VenueOrder) -> bool:
        """Whether an order that carries exits came without them, as a lookup brings it; the list of orders has them."""
        order = self.state.orders.get(report.client_order_id)
        if order is None or not order.is_open or report.legs or not isinstance(order.intent, OrderIntent):
            return False
        if order.intent.order_class is OrderClass.SIMPLE:
            return False
        bodies = (other.intent for other in self.state.orders.values())
        return not any(isinstance(body, OrderAdopted) and body.parent == order.intent.id for body in bodies)

    def on_orders(
        self, reports: Iterable[VenueOrder], executions: Iterable[VenueExecution], *, foreign: str
    ) -> Conclusion:
        """Adopt the orders of the venue's list that are not known; what happened to them follows from `on_order`.

        Args:
            reports: Open orders, and ended ones since `orders_since`; legs within their parents.
            executions: Those since the ledger was opened, as far as they are of orders in `reports`.
            foreign: Whose an order of others is: `manual` or `unattributed`.
        """
        done = list(executions)
        events: list[AnyBody] = []
        intruders: list[str] = []
        for report in reports:
            order = self._order_of(report)
            if order is not None:
                events += [*self._adopt_legs(order, report), *self.otherwise_split(order, report)]
                continue
            if from_venue(report.status) in TERMINAL and not report.filled_qty:
                continue  # it came and went without a trace in the account
            if is_of_another_tapeline(report.client_order_id):
                intruders.append(report.client_order_id)
            is_older = report.submitted_ns < self.state.opened_ns
            before = filled_before(report, done) if is_older else ZERO
            adopted = adopt(report, None, foreign=foreign, before=before)
            events.append(adopted)
            for leg in report.legs:
                if self._order_of(leg) is None:
                    before = filled_before(leg, done) if is_older else ZERO
                    events.append(adopt(leg, adopted, foreign=foreign, before=before))
        return Conclusion(tuple(events), intruders=tuple(intruders))

    def _adopt_legs(self, order: ExecOrder, report: VenueOrder) -> list[AnyBody]:
        return [
            adopt(leg, order.intent, foreign=order.intent.bot, before=ZERO)
            for leg in report.legs
            if self._order_of(leg) is None
        ]

    def on_update(self, update: VenueUpdate) -> Conclusion:
        """Conclude from one trade_updates event."""
        order = self._order_of(update.order)
        if order is None:
            self.state.foreign += 1
            return Conclusion(needs_orders=True)
        if update.execution is None:
            return self.on_order(update.order, update.reason)
        events: list[AnyBody] = [*accepted_events(order, update.order), *self._adopt_legs(order, update.order)]
        fills = self._fills(order, [update.execution], from_venue(update.order.status))
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
            order = self.state.orders[key]
            fills = self._fills(order, found)
            missing = missing or fills is None
            reached = 0
            for body in (*submitted_events(order), *fills) if fills else ():
                # By time over all orders, but never an order's own fills out of order, whatever the venue's times say.
                reached = max(reached, body.ts_event)
                events.append((reached, body))
        events.sort(key=_time_of)
        return Conclusion(tuple(body for _, body in events), needs_executions=missing)

    def _begun_with(self, order: ExecOrder) -> Decimal:
        """Give what a replacement had filled from the start: it counts on from the orders before it (Alpaca)."""
        begun = ZERO
        while isinstance(order.intent, OrderIntent) and order.intent.replaces in self.state.orders:
            order = self.state.orders[order.intent.replaces]
            begun = max(begun, order.filled_qty)
        return begun

    def _fills(
        self, order: ExecOrder, executions: list[VenueExecution], status: OrderStatus = OrderStatus.PARTIALLY_FILLED
    ) -> list[Fill | OrderFilled] | None:
        """Give the fills not known yet and the end they bring; None where one is missing in between."""
        intent = order.intent
        filled, spent, counted = max(order.filled_qty, self._begun_with(order)), ZERO, ZERO
        events: list[Fill | OrderFilled] = []
        for execution in sorted(executions, key=lambda e: e.cum_qty):
            if execution.cum_qty <= filled:
                continue
            if execution.cum_qty - execution.last_qty != filled:
                return None
            filled = execution.cum_qty
            spent += execution.last_qty * execution.last_px
            counted += execution.last_qty
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
                    commission=execution.commission,
                )
            )
            if order.is_open and is_whole(order, filled, status):  # else it was canceled before: that was its end
                events.append(
                    filled_event(order, filled, execution.venue_order_id, execution.ts_event, (spent, counted))
                )
        return events

    def _end(self, order: ExecOrder, status: OrderStatus, report: VenueOrder, reason: str) -> Conclusion:
        if not order.is_open or status is OrderStatus.FILLED:
            return Conclusion()  # filled follows from the last fill and from nothing else
        intent, ts_ns, venue_id = order.intent, report.updated_ns, report.venue_order_id
        filled = max(order.filled_qty, self._begun_with(order))
        match status:
            case OrderStatus.REJECTED:
                end: AnyBody = OrderRejected(intent.id, intent.bot, intent.symbol, "", reason, ts_ns, venue_id)
            case OrderStatus.EXPIRED:
                end = OrderExpired(intent.id, intent.bot, intent.symbol, reason, ts_ns, venue_id, filled)
            case OrderStatus.REPLACED:
                end = OrderReplaced(intent.id, intent.bot, intent.symbol, venue_id, filled, ts_ns, report.replaced_by)
            case _:
                end = OrderCanceled(intent.id, intent.bot, intent.symbol, venue_id, filled, ts_ns)
        return Conclusion((end,))


def _time_of(event: tuple[int, AnyBody]) -> int:
    return event[0]
