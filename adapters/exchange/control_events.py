"""Control URLs for what happens to an account without an order of its own: splits, transfers, dividends, interest.

Not part of Alpaca's API and needs no key. What they cause shows where Alpaca shows it: activities, positions, cash,
orders, bars and announcements. Called by the tests, the demo and whoever wants to see how a bot lives through it.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from aiohttp import web

from adapters.exchange import rest, wire
from adapters.exchange.corporate import SplitError, SplitRequest
from adapters.exchange.driver import Driver
from adapters.exchange.ledger import Activity
from adapters.exchange.orders import Refusal
from adapters.exchange.rest_corporate import split_json
from adapters.exchange.venue import Venue
from engine.values import ZERO, plain

_MOVING = frozenset({"ACATS", "JNLS", "SPIN", "MA", "NC", "SSO", "SSP", "REORG", "VOF", "CFEE"})


class ActivityRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /control/activities.

    Attributes:
        net_amount: Change of cash, USD.
        qty: Shares; a change of the holding where `moves_qty`, else only told.
        moves_qty: Null decides by the kind: shares that come or go (JNLS, ACATS, SPIN ...) do.
        price: Of shares that come in; null is the last price.
    """

    activity_type: str
    net_amount: Decimal = ZERO
    symbol: str = ""
    qty: Decimal = ZERO
    moves_qty: bool | None = None
    price: Decimal | None = None
    activity_sub_type: str = ""
    description: str = ""


class EventRoutes:
    """Handlers of /control/splits and /control/activities.

    Args:
        venue: Book and market.
        driver: Venue time.
    """

    def __init__(self, venue: Venue, driver: Driver) -> None:
        self._venue = venue
        self._driver = driver

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/control/splits", self.splits, allow_head=False),
            web.post("/control/splits", self.split),
            web.post("/control/activities", self.activity),
        ]

    async def splits(self, _request: web.Request) -> web.StreamResponse:
        """GET /control/splits: all that were announced."""
        return rest.json_response([split_json(split) for split in self._venue.splits.announced])

    async def split(self, request: web.Request) -> web.StreamResponse:
        """POST /control/splits {"symbol": "AAPL", "ratio": 4}: told now, done before the ex-date's first minute."""
        try:
            body = await rest.read_body(request, SplitRequest)
        except rest.BadParameterError as error:
            return rest.refused(error.refusal)
        symbol = self._venue.symbol_of(body.symbol)
        if symbol is None:
            return rest.refused(Refusal(422, 42210000, f'asset "{body.symbol}" not found'))
        if body.at_once and self._venue.is_between:
            return rest.refused(Refusal(409, 40910000, "a minute is under way: POST phase bars first"))
        try:
            split = self._venue.splits.announce(body, symbol, self._driver.now_ns, self._venue.source.next_open())
        except SplitError as error:
            return rest.refused(Refusal(422, 40010001, str(error)))
        return rest.json_response(split_json(split))

    async def activity(self, request: web.Request) -> web.StreamResponse:
        """POST /control/activities {"activity_type": "CSD", "net_amount": 1000}: booked now, told by the activities."""
        try:
            body = await rest.read_body(request, ActivityRequest)
        except rest.BadParameterError as error:
            return rest.refused(error.refusal)
        kind = body.activity_type
        if not kind.isalnum() or not kind.isupper() or kind == "FILL":
            return rest.refused(Refusal(422, 40010001, f"activity_type must be a kind but FILL, was {kind!r}"))
        symbol = self._venue.symbol_of(body.symbol) if body.symbol else ""
        moves = body.moves_qty if body.moves_qty is not None else kind in _MOVING
        if symbol is None or (moves and body.qty and not symbol):
            return rest.refused(Refusal(422, 42210000, f'asset "{body.symbol}" not found'))
        if not body.net_amount.is_finite() or not body.qty.is_finite():
            return rest.refused(Refusal(422, 40010001, f"qty and net_amount must be numbers, were {plain(body.qty)}"))
        price = body.price if body.price is not None else self._venue.last_price(symbol) or ZERO
        posted = self._venue.book.ledger.post(
            Activity(
                "", kind, self._driver.now_ns, symbol, body.qty, price, body.net_amount,
                sub_kind=body.activity_sub_type, description=body.description or f"{kind} by control", moves_qty=moves,
            )
        )  # fmt: skip
        self._venue.book.account.mark()
        return rest.json_response(wire.activity_json(posted))
