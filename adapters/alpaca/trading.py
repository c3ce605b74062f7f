"""Alpaca as a Venue: orders out, their replacement and their end, by REST; what it tells is in `reading`.

Decides what an answer means for an order: taken, refused for good, or unknown. It sends what it is told, exactly, and
once; it rounds nothing, repeats nothing that changes something, and keeps no state. Blocking and safe to call from
several threads; called by the executor role in a bounded thread pool. See `rest` for the rules of a request.
"""

from __future__ import annotations

from typing import Any

from adapters.alpaca.fields import Problem
from adapters.alpaca.orders import order_body, refusal, replace_body, replace_refusal
from adapters.alpaca.parse_orders import parse_order
from adapters.alpaca.reading import AlpacaReading
from adapters.alpaca.rest import Done, Limited, NoAnswer, Outcome, Refused
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
    VenueOrder,
)

_DUPLICATE = "client_order_id must be unique"


class AlpacaVenue(AlpacaReading):
    """Venue over Alpaca's trading REST."""

    def submit(self, intent: OrderIntent) -> SubmitOutcome:
        """Send the order once, with `intent.id` as client_order_id.

        Raises:
            ConfigError: The venue refuses the key; the order was not taken.
        """
        if reason := refusal(intent):
            return Rejected("not_sent", reason)
        return self._placed(self._rest.once("POST", "/orders", order_body(intent)), intent)

    def replace(self, intent: OrderIntent) -> SubmitOutcome:
        """Put an order in the place of the open one that `intent.replaces` names, with `intent.id` as its id, once.

        The order is looked up first: the venue wants its own id, and only what differs is sent. A refusal may be one of
        our own earlier request's doing, whose answer was lost ("order already replaced"): the new id is looked up
        before it counts.

        Raises:
            ConfigError: The venue refuses the key; nothing was changed.
        """
        old = self.lookup(intent.replaces)
        match old:
            case VenueOrder(status="replaced"):
                return self._refused_replacement(intent, "replaced", f"{intent.replaces} is replaced by another order")
            case VenueOrder():
                if reason := replace_refusal(intent, old):
                    return Rejected("not_sent", reason)
                sent = self._rest.once("PATCH", f"/orders/{old.venue_order_id}", replace_body(intent, old))
                if isinstance(sent, Refused):
                    return self._refused_replacement(intent, sent.code, sent.message)
                return self._placed(sent, intent)
            case NotFound():
                return Rejected("404", f"the venue finds no order {intent.replaces} to replace")
            case Unknown(reason):
                return Unknown(f"the order to replace cannot be looked up: {reason}")
            case RateLimited():
                return old

    def _placed(self, outcome: Outcome, intent: OrderIntent) -> SubmitOutcome:
        """Say what the answer to a POST or PATCH means."""
        match outcome:
            case Done(body):
                return self._accepted(body, intent)
            case Refused(422, _, message) if _DUPLICATE in message:
                return self._duplicate(intent)
            case Refused(_, code, message):
                return Rejected(code, message)
            case Limited(retry_after_s):
                return RateLimited(retry_after_s)
            case NoAnswer(reason):
                return Unknown(reason)

    def _refused_replacement(self, intent: OrderIntent, code: str, message: str) -> SubmitOutcome:
        """Refused for good, unless the venue has the new order all the same."""
        found = self.lookup(intent.id)
        match found:
            case VenueOrder():
                return self._ours(found, intent)
            case NotFound():
                return Rejected(code, message)
            case Unknown(reason):
                return Unknown(f"replacing was refused ({message}), and {intent.id} cannot be looked up: {reason}")
            case RateLimited():
                return found

    def lookup(self, client_order_id: str) -> LookupOutcome:
        """Ask for an order by our id, once.

        Raises:
            ConfigError: The venue refuses the key.
        """
        match self._rest.once("GET", "/orders:by_client_order_id", {"client_order_id": client_order_id}):
            case Done(body):
                order = parse_order(body)
                if isinstance(order, Problem):
                    return Unknown(f"answer is no order: {order.what}")
                if order.client_order_id != client_order_id:
                    return Unknown(f"answer is another order: {order.client_order_id!r}")
                return order
            case Refused(404, _, _):
                return NotFound()
            case Refused(status, _, message):
                return Unknown(f"lookup refused ({status}): {message}")
            case Limited(retry_after_s):
                return RateLimited(retry_after_s)
            case NoAnswer(reason):
                return Unknown(reason)

    def cancel(self, client_order_id: str) -> CancelOutcome:
        """Ask the venue to cancel an order, named by our id.

        Raises:
            ConfigError: The venue refuses the key.
        """
        order = self.lookup(client_order_id)
        if not isinstance(order, VenueOrder):
            return order
        match self._rest.once("DELETE", f"/orders/{order.venue_order_id}"):
            case Done():
                return CancelRequested(order.venue_order_id)
            case Refused(404, _, _):
                return NotFound()
            case Refused(_, code, message):
                return Rejected(code, message)
            case Limited(retry_after_s):
                return RateLimited(retry_after_s)
            case NoAnswer(reason):
                return Unknown(reason)

    def _accepted(self, body: Any, intent: OrderIntent) -> SubmitOutcome:
        order = parse_order(body)
        if isinstance(order, Problem):
            return Unknown(f"answer is no order: {order.what}")
        if order.client_order_id != intent.id:
            return Unknown(f"answer is another order: {order.client_order_id!r}")
        return Accepted(order)

    def _duplicate(self, intent: OrderIntent) -> SubmitOutcome:
        """An id the venue knows already: our own earlier request, whose answer was lost."""
        found = self.lookup(intent.id)
        match found:
            case VenueOrder():
                return self._ours(found, intent)
            case NotFound():
                return Unknown("the venue knows the client_order_id and finds no order by it")
            case Unknown(reason):
                return Unknown(f"the venue knows the client_order_id; {reason}")
            case RateLimited():
                return Unknown("the venue knows the client_order_id; the lookup met the rate limit")

    def _ours(self, found: VenueOrder, intent: OrderIntent) -> SubmitOutcome:
        if found.symbol == intent.symbol and found.side is intent.side:
            return Accepted(found)
        return Rejected("duplicate", f"{intent.id} names another order: {found.side} {found.symbol}")
