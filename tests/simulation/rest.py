"""REST of the simulated venue: answers the executor as AlpacaVenue does for a venue that times out, answers 429, 500
or a page, and takes orders of which it says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.exchange.orders import Refusal
from adapters.told import order_of
from engine.errors import UnreachableError
from engine.messages import OrderIntent
from engine.ports import (
    Accepted,
    CancelOutcome,
    CancelRequested,
    LookupOutcome,
    NotFound,
    RateLimited,
    Rejected,
    SubmitOutcome,
    Unknown,
    VenueAccount,
    VenueActivity,
    VenueAsset,
    VenueExecution,
    VenueOrder,
    VenueSplit,
)
from engine.values import NS_PER_DAY, NS_PER_S, AssetClass, Side, asset_class_of
from tests.simulation.venue import Exchange

_TIMEOUT_S = 10.0
_LAG_S_MAX = 0.3
"""An order may be invisible to lookups this long after it was taken."""


class VenueRest:
    """engine.ports.Venue; each call is one virtual moment of a worker thread."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._faults = exchange.faults
        self._loop = exchange.loop

    def submit(self, intent: OrderIntent) -> SubmitOutcome:
        exchange, faults = self._exchange, self._faults
        exchange.posts += 1
        exchange.on_post(intent)
        if faults.hits("post_limited"):
            exchange.unclear.discard(intent.id)
            return RateLimited(faults.draw.choice((0.5, 5.0, 40.0)))
        if faults.hits("post_lost"):
            return self._timed_out()
        if faults.hits("post_late"):
            exchange.in_flight.add(intent.id)
            self._loop.call_later(faults.draw.uniform(0.1, 0.9 * _TIMEOUT_S), exchange.take, intent)
            return self._timed_out()
        if faults.hits("post_html"):
            if faults.draw.random() < 0.5:
                exchange.take(intent)
            return Unknown("POST /orders: answer is not JSON")
        answer = exchange.take(intent)
        if faults.hits("post_unknown"):
            return self._timed_out()
        if not isinstance(answer, Refusal):
            return Accepted(order_of(answer, is_nested=True))
        if answer.status == 422 and "must be unique" in answer.message:
            return self._duplicate(intent)
        return Rejected(str(answer.code), answer.message)

    def _timed_out(self) -> Unknown:
        self._loop.slow_s = _TIMEOUT_S
        return Unknown("ReadTimeout")

    def _duplicate(self, intent: OrderIntent) -> SubmitOutcome:
        found = self.lookup(intent.id)
        if isinstance(found, NotFound | Unknown | RateLimited):
            return Unknown("the venue knows the client_order_id; it cannot be looked up")
        return Accepted(found)

    def replace(self, intent: OrderIntent) -> SubmitOutcome:
        """A PATCH goes wrong in the same ways; as the adapter, look the new id up before a refusal counts."""
        outcome = self.submit(intent)
        if not isinstance(outcome, Rejected):
            return outcome
        self._exchange.unclear.discard(intent.id)  # refused: this request did nothing
        match self.lookup(intent.id):
            case VenueOrder() as found:
                return Accepted(found)
            case NotFound():
                return outcome
            case Unknown() | RateLimited() as unclear:
                return unclear

    def cancel(self, client_order_id: str) -> CancelOutcome:
        """As the adapter: look the order up by our id, then ask for its end by the venue's."""
        exchange, faults = self._exchange, self._faults
        order = self.lookup(client_order_id)
        if not isinstance(order, VenueOrder):
            return order
        if faults.hits("cancel_limited"):
            return RateLimited(1.0)
        if faults.hits("cancel_lost"):
            return self._timed_out()
        refusal = exchange.book.cancel(order.venue_order_id, exchange.now_ns)
        exchange.acknowledge_soon()
        if faults.hits("cancel_unknown"):
            return self._timed_out()
        return CancelRequested(order.venue_order_id) if refusal is None else Rejected("", refusal.message)

    def lookup(self, client_order_id: str) -> LookupOutcome:
        faults = self._faults
        if faults.hits("lookup_unknown"):
            return Unknown("GET /orders:by_client_order_id: ReadTimeout")
        if faults.hits("lookup_limited"):
            return RateLimited(1.0)
        order = self._exchange.book.by_client_id.get(client_order_id)
        if order is None:
            self._exchange.unclear.discard(client_order_id)
            return NotFound()
        lag_ns = faults.draw.random() * _LAG_S_MAX * NS_PER_S if faults.is_on else 0
        if self._exchange.now_ns - order.submitted_ns < lag_ns:
            self._exchange.unclear.discard(client_order_id)
            return NotFound()
        return order_of(order, is_nested=True)

    def orders(self, after_ns: int) -> Sequence[VenueOrder]:
        self._may_fail()
        found = [
            order_of(order, is_nested=True) for order in self._exchange.book.orders.values()
            if order.parent is None
            and (order.submitted_ns >= after_ns or any(part.is_open for part in (order, *order.legs)))
        ]  # fmt: skip
        return sorted(found, key=lambda order: (order.submitted_ns, order.venue_order_id))

    def assets(self, symbols: Sequence[str]) -> Sequence[VenueAsset]:
        self._may_fail()
        return [
            VenueAsset(symbol, is_tradable=True, is_shortable="/" not in symbol, is_fractionable=True)
            for symbol in dict.fromkeys(symbols)
        ]

    def universe(self, asset_class: AssetClass) -> Sequence[str]:
        self._may_fail()
        return [symbol for symbol in self._exchange.market.symbols if asset_class_of(symbol) is asset_class]

    def splits(self, symbols: Sequence[str], from_ns: int, to_ns: int) -> Sequence[VenueSplit]:
        self._may_fail()
        return []

    def account(self) -> VenueAccount:
        self._may_fail()
        book = self._exchange.book
        cash, held = self._exchange.shown_account()
        return VenueAccount(book.account_number, cash, cash, cash, held, dict(book.prices))

    def executions(self, after_ns: int) -> Sequence[VenueExecution]:
        self._may_fail()
        return [
            VenueExecution(
                it.order_id,
                it.cum_qty,
                it.symbol,
                Side(it.side),
                it.qty,
                it.price,
                it.ns // 1000 * 1000,
                "",
                it.id,
                "",
            )
            for it in self._exchange.book.ledger.activities
            if it.kind == "FILL" and it.ns >= after_ns // 1000 * 1000
        ]

    def activities(self, after_ns: int) -> Sequence[VenueActivity]:
        self._may_fail()
        return [
            VenueActivity(it.id, it.kind, it.symbol, it.net_amount, it.qty, it.ns)
            for it in self._exchange.book.ledger.activities
            if it.kind != "FILL" and it.ns >= after_ns - NS_PER_DAY and self._exchange.is_listed(it)
        ]

    def sessions(self, from_ns: int, to_ns: int) -> Sequence[tuple[int, int]]:
        self._may_fail()
        return [span for span in self._exchange.market.sessions if span[0] <= to_ns and span[1] >= from_ns]

    def _may_fail(self) -> None:
        if self._faults.hits("read_fails"):
            msg = "no answer after 3 tries"
            raise UnreachableError(msg)
