"""Alpaca as a Venue: orders out, account, executions, activities and sessions in, by REST.

Decides what an answer means for an order: taken, refused for good, or unknown. It sends what it is told, exactly, and
once; it rounds nothing, repeats nothing that changes something, and keeps no state. Blocking and safe to call from
several threads; called by the executor role in a bounded thread pool. See `rest` for the rules of a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from alpaca.common.rest import RESTClient
from alpaca.trading.client import TradingClient

from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.orders import order_body, refusal
from adapters.alpaca.parse import (
    EXCHANGE_ZONE,
    Problem,
    parse_account,
    parse_activity,
    parse_fill,
    parse_order,
    parse_session,
    rfc3339,
)
from adapters.alpaca.rest import Done, Limited, NoAnswer, Refused, Rest
from engine.errors import BrokenPromiseError, UnreachableError
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
    VenueExecution,
    VenueOrder,
)
from engine.values import NS_PER_S

_DUPLICATE = "client_order_id must be unique"
_DAY_NS = 24 * 3600 * NS_PER_S
_MARGIN_NS = NS_PER_S
"""The venue filters by creation, perhaps exclusively: ask for a little more and filter here."""


class AlpacaVenue:
    """Venue over Alpaca's trading REST.

    Args:
        sleep: Waits between tries of a request that only reads.
    """

    def __init__(self, config: AlpacaConfig, sleep: Callable[[float], None] = time.sleep) -> None:
        def client() -> RESTClient:
            return TradingClient(config.key, config.secret, raw_data=True, url_override=config.rest_url)

        self._config = config
        self._rest = Rest(config, config.rest_url, client, sleep)

    # --- orders ------------------------------------------------------------------------------------------------------

    def submit(self, intent: OrderIntent) -> SubmitOutcome:
        """Send the order once, with `intent.id` as client_order_id.

        Raises:
            ConfigError: The venue refuses the key; the order was not taken.
        """
        if reason := refusal(intent):
            return Rejected("not_sent", reason)
        match self._rest.once("POST", "/orders", order_body(intent)):
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
            case VenueOrder() if found.symbol == intent.symbol and found.side is intent.side:
                return Accepted(found)
            case VenueOrder():
                return Rejected("duplicate", f"{intent.id} names another order: {found.side} {found.symbol}")
            case NotFound():
                return Unknown("the venue knows the client_order_id and finds no order by it")
            case Unknown(reason):
                return Unknown(f"the venue knows the client_order_id; {reason}")
            case RateLimited():
                return Unknown("the venue knows the client_order_id; the lookup met the rate limit")

    # --- account -----------------------------------------------------------------------------------------------------

    def account(self) -> VenueAccount:
        """Give cash and positions now; two requests, so an order between them may show in one only.

        Raises:
            UnreachableError: No usable answer within the retry limit.
            ConfigError: The venue refuses the key.
        """
        account = parse_account(self._rest.read("/account"), self._rest.read("/positions"))
        if isinstance(account, Problem):
            msg = f"account of {self._config.rest_url} cannot be read: {account.what}"
            raise UnreachableError(msg)
        return account

    def executions(self, after_ns: int) -> Sequence[VenueExecution]:
        """Give every execution at or after this venue time, oldest first.

        Raises:
            UnreachableError: No usable answer within the retry limit.
            BrokenPromiseError: An execution cannot be read: leaving it out would be guessing with money.
        """
        found: list[VenueExecution] = []
        for raw in self._activities("/account/activities/FILL", after_ns - _MARGIN_NS):
            execution = parse_fill(raw)
            if isinstance(execution, Problem):
                raise BrokenPromiseError(_unreadable("fill", raw, execution))
            if execution.ts_event >= after_ns // 1000 * 1000:
                found.append(execution)
        return sorted(found, key=lambda execution: execution.ts_event)

    def activities(self, after_ns: int) -> Sequence[VenueActivity]:
        """Give every non-trade activity at or after this venue time, oldest first.

        Most carry a date only, so everything since the begin of the day before is asked for and a dated one is kept
        while its day had not ended: the owner knows activities by their id.

        Raises:
            UnreachableError: No usable answer within the retry limit.
            BrokenPromiseError: An activity cannot be read.
        """
        found: list[VenueActivity] = []
        for raw in self._activities("/account/activities", after_ns - _DAY_NS, category="non_trade_activity"):
            if isinstance(raw, dict) and raw.get("activity_type") == "FILL":
                continue
            activity = parse_activity(raw)
            if isinstance(activity, Problem):
                raise BrokenPromiseError(_unreadable("activity", raw, activity))
            dated_only = not any(raw.get(key) for key in ("transaction_time", "created_at"))
            if activity.ts_event + (_DAY_NS if dated_only else 0) >= after_ns:
                found.append(activity)
        return sorted(found, key=lambda activity: activity.ts_event)

    def sessions(self, from_ns: int, to_ns: int) -> Sequence[tuple[int, int]]:
        """Give the regular sessions (open, close) in ns UTC that overlap the span, from the venue's calendar.

        Raises:
            UnreachableError: No usable answer within the retry limit, or a day that cannot be read.
        """
        start, end = (datetime.fromtimestamp(ns // NS_PER_S, UTC).astimezone(EXCHANGE_ZONE) for ns in (from_ns, to_ns))
        days = self._rest.read(
            "/calendar", {"start": start.date().isoformat(), "end": (end.date() + timedelta(days=1)).isoformat()}
        )
        if not isinstance(days, list):
            msg = f"calendar of {self._config.rest_url} is no list: the URL is not Alpaca's trading API"
            raise UnreachableError(msg)
        spans: list[tuple[int, int]] = []
        for raw in days:
            span = parse_session(raw)
            if isinstance(span, Problem):
                msg = f"calendar of {self._config.rest_url} cannot be read: {span.what}"
                raise UnreachableError(msg)
            if span[0] <= to_ns and span[1] >= from_ns:
                spans.append(span)
        return sorted(spans)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._rest.close()

    def _activities(self, path: str, after_ns: int, **more: str) -> Iterator[Any]:
        """Page through activities, oldest first, until a page holds nothing new; the last id names the next page."""
        params: dict[str, Any] = {
            "after": rfc3339(max(after_ns, 0) // 1000 * 1000),
            "direction": "asc",
            "page_size": self._config.activities_per_page,
            **more,
        }
        seen: set[str] = set()
        for _ in range(self._config.pages_max):
            page = self._rest.read(path, params)
            if not isinstance(page, list):
                msg = f"activities of {self._config.rest_url} are no list: the URL is not Alpaca's trading API"
                raise UnreachableError(msg)
            fresh = [raw for raw in page if not (isinstance(raw, dict) and raw.get("id") in seen)]
            yield from fresh
            seen.update(raw["id"] for raw in fresh if isinstance(raw, dict) and isinstance(raw.get("id"), str))
            last = page[-1].get("id") if page and isinstance(page[-1], dict) else None
            if not fresh or not isinstance(last, str):
                return
            params["page_token"] = last
        msg = f"pages of {self._config.rest_url}{path} do not end ({self._config.pages_max} read)"
        raise UnreachableError(msg)


def _unreadable(kind: str, raw: Any, problem: Problem) -> str:
    name = raw.get("id") if isinstance(raw, dict) else raw
    return f"{kind} {name!r} of the venue cannot be read: {problem.what}"
