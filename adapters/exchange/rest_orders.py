"""Trading REST: orders (submit, list, get, replace, cancel) and positions (list, get, close).

Handlers read the request, ask the book, and write Alpaca's answer; every rule is in the book.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from adapters.exchange import rest, wire
from adapters.exchange.calendar import day_start_ns
from adapters.exchange.driver import Driver
from adapters.exchange.ledger import Position
from adapters.exchange.orders import CANCELABLE, TERMINAL, Order, OrderRequest, Refusal, ReplaceRequest
from adapters.exchange.venue import Venue
from engine.values import CRYPTO_LOT, NS_PER_MINUTE, ZERO, asset_class_of, plain, round_to, to_decimal

_ORDERS_MAX = 500
_ORDERS_DEFAULT = 50
_STALE = frozenset({"stale_positions"})


class OrderRoutes:
    """Handlers of /v2/orders and /v2/positions.

    Args:
        venue: Book and market.
        driver: Venue time.
        accepted: Where it is noted when orders were taken in.
    """

    def __init__(self, venue: Venue, driver: Driver, accepted: rest.AcceptLog) -> None:
        self._accepted = accepted
        self._venue = venue
        self._book = venue.book
        self._driver = driver

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.post("/v2/orders", self.submit),
            web.get("/v2/orders", self.list_orders, allow_head=False),
            web.delete("/v2/orders", self.cancel_all),
            web.get("/v2/orders:by_client_order_id", self.by_client_order_id, allow_head=False),
            web.get("/v2/orders/{order_id}", self.get_order, allow_head=False),
            web.patch("/v2/orders/{order_id}", self.replace),
            web.delete("/v2/orders/{order_id}", self.cancel),
            web.get("/v2/positions", self.list_positions, allow_head=False),
            web.delete("/v2/positions", self.close_all),
            web.get("/v2/positions/{symbol}", self.get_position, allow_head=False),
            web.delete("/v2/positions/{symbol}", self.close_position),
        ]

    # --- orders -----------------------------------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """POST /v2/orders."""
        body = await rest.read_body(request, OrderRequest)
        outcome = self._book.submit(body, self._driver.now_ns)
        if isinstance(outcome, Order):
            self._accepted.note(outcome.client_order_id)
        return self._told(outcome)

    async def replace(self, request: web.Request) -> web.StreamResponse:
        """PATCH /v2/orders/{id}."""
        body = await rest.read_body(request, ReplaceRequest)
        return self._told(self._book.replace(request.match_info["order_id"], body, self._driver.now_ns))

    def _told(self, outcome: Order | Refusal) -> web.Response:
        if isinstance(outcome, Refusal):
            return rest.refused(outcome)
        response = rest.json_response(wire.order_json(outcome, is_nested=True))
        self._driver.tell()
        return response

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/orders/{id}."""
        refusal = self._book.cancel(request.match_info["order_id"], self._driver.now_ns)
        if refusal is not None:
            return rest.refused(refusal)
        self._driver.tell()
        return web.Response(status=204)

    async def cancel_all(self, _request: web.Request) -> web.StreamResponse:
        """DELETE /v2/orders."""
        answers = [
            {"id": order.id, "status": 200 if self._book.cancel(order.id, self._driver.now_ns) is None else 500}
            for order in self._sorted_open()
        ]
        self._driver.tell()
        return rest.json_response(answers, 207)

    def _sorted_open(self) -> list[Order]:
        orders = [order for orders in self._book.account.open_by_symbol.values() for order in orders.values()]
        return sorted((order for order in orders if order.status in CANCELABLE), key=_newest_key)

    async def get_order(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/orders/{id}."""
        name = request.match_info["order_id"]
        return _found(request, self._book.orders.get(name), name)

    async def by_client_order_id(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/orders:by_client_order_id."""
        name = request.query.get("client_order_id", "")
        return _found(request, self._book.by_client_id.get(name), name)

    async def list_orders(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/orders: newest first unless asked otherwise; after and until are exclusive; nested hides the legs."""
        query = request.query
        is_nested = rest.is_true(query, "nested")
        status = rest.choice(query, "status", "open", ("open", "closed", "all"))
        direction = rest.choice(query, "direction", "desc", ("asc", "desc"))
        limit = rest.integer(query, "limit", _ORDERS_DEFAULT, 1, _ORDERS_MAX)
        after, until = rest.time_ns(query, "after"), rest.time_ns(query, "until")
        symbols = {self._venue.symbol_of(name) for name in rest.listed(query, "symbols")}
        side, asset_class = query.get("side"), query.get("asset_class")
        found = [
            order for order in self._book.orders.values()
            if (status == "all" or (order.status in TERMINAL) == (status == "closed"))
            and (after is None or order.submitted_ns > after)
            and (until is None or order.submitted_ns < until)
            and (not symbols or order.terms.symbol in symbols)
            and (not side or order.terms.side.value == side)
            and (not asset_class or order.terms.asset_class.value == asset_class)
            and not (is_nested and order.parent is not None)
        ]  # fmt: skip
        found.sort(key=_newest_key, reverse=direction == "desc")
        found = self._paged(found, query.get("after_order_id"), query.get("before_order_id"), direction)
        return rest.json_response([wire.order_json(order, is_nested=is_nested) for order in found[:limit]])

    def _paged(self, orders: list[Order], after_id: str | None, before_id: str | None, direction: str) -> list[Order]:
        """Keep what was submitted after or before an order that is named, without that order."""
        for name, keeps_newer in ((after_id, True), (before_id, False)):
            if not name:
                continue
            mark = self._book.orders.get(name)
            if mark is None:
                raise rest.BadParameterError(Refusal(422, 40010001, f"order not found for {name}"))
            key = _newest_key(mark)
            orders = [
                order for order in orders if (_newest_key(order) > key if keeps_newer else _newest_key(order) < key)
            ]
        return sorted(orders, key=_newest_key, reverse=direction == "desc")

    # --- positions --------------------------------------------------------------------------------------------------

    async def list_positions(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/positions."""
        positions = self._shown_positions(request)
        return rest.json_response([self._position_json(positions[symbol]) for symbol in sorted(positions)])

    def _shown_positions(self, request: web.Request) -> dict[str, Position]:
        """The positions, or by fault those of some minutes ago (Alpaca's lag behind its orders)."""
        rule = self._venue.faults.for_request(_STALE, request.method, request.path)
        if rule is None:
            return self._book.ledger.positions
        return self._book.ledger.positions_at(self._driver.now_ns - rule.minutes * NS_PER_MINUTE)

    async def get_position(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/positions/{symbol or asset id}."""
        symbol = self._venue.symbol_of(request.match_info["symbol"])
        position = self._shown_positions(request).get(symbol) if symbol else None
        return rest.json_response(self._position_json(position)) if position else rest.refused(_no_position())

    def _position(self, spelling: str) -> Position | None:
        """A position by BTCUSD, BTC%2FUSD or asset id; a plain slash is another path (404, as at Alpaca)."""
        symbol = self._venue.symbol_of(spelling)
        return self._book.ledger.positions.get(symbol) if symbol else None

    async def close_position(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/positions/{symbol or asset id}?qty= or percentage=."""
        position = self._position(request.match_info["symbol"])
        if position is None:
            return rest.refused(_no_position())
        quantity = _share(request, position)
        body = self._book.close_request(position.symbol, quantity)
        return self._told(self._book.submit(body, self._driver.now_ns))

    async def close_all(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/positions?cancel_orders=: one answer per position."""
        now_ns = self._driver.now_ns
        if rest.is_true(request.query, "cancel_orders"):
            for order in self._sorted_open():
                self._book.cancel(order.id, now_ns)
        answers: list[dict[str, Any]] = []
        for symbol in sorted(self._book.ledger.positions):
            position = self._book.ledger.positions[symbol]
            outcome = self._book.submit(self._book.close_request(symbol, abs(position.qty)), now_ns)
            if isinstance(outcome, Refusal):
                body = {"code": outcome.code, "message": outcome.message, **outcome.extra, "symbol": symbol}
                answers.append({"symbol": symbol, "status": outcome.status, "body": body})
            else:
                answers.append({"symbol": symbol, "status": 200, "body": wire.order_json(outcome)})
        self._driver.tell()
        return rest.json_response(answers, 207)

    def _position_json(self, position: Position) -> dict[str, Any]:
        symbol, qty = position.symbol, position.qty
        is_crypto = "/" in symbol
        price = self._venue.last_price(symbol) or position.avg_px
        lastday = self._lastday_price(symbol) or price
        cost, value = qty * position.avg_px, qty * price
        on_hold, _ = self._book.account.held_for_orders(symbol)
        profit, today = value - cost, (price - lastday) * qty
        free = abs(qty) - on_hold
        return {
            "asset_id": wire.asset_id(symbol),
            "symbol": symbol.replace("/", ""),
            "exchange": "CRYPTO" if is_crypto else "NASDAQ",
            "asset_class": asset_class_of(symbol).value,
            "asset_marginable": not is_crypto,
            "avg_entry_price": plain(position.avg_px),
            "qty": plain(qty),
            "qty_available": plain(free if qty > 0 else -free),
            "side": "long" if qty > 0 else "short",
            "market_value": plain(value),
            "cost_basis": plain(cost),
            "unrealized_pl": plain(profit),
            "unrealized_plpc": _ratio(profit, abs(cost)),
            "unrealized_intraday_pl": plain(today),
            "unrealized_intraday_plpc": _ratio(today, abs(lastday * qty)),
            "current_price": plain(price),
            "lastday_price": plain(lastday),
            "change_today": _ratio(price - lastday, lastday),
        }

    def _lastday_price(self, symbol: str) -> Decimal | None:
        known = self._venue.history.of(symbol)
        if known is None:
            return None
        earlier = known.span(0, day_start_ns(known.open_ns[-1]) - 1)
        if not earlier:
            return None
        factor = self._venue.splits.factor_since(symbol, known.open_ns[earlier.stop - 1])
        return to_decimal(known.close[earlier.stop - 1]) / factor


def _found(request: web.Request, order: Order | None, name: str) -> web.Response:
    if order is None:
        return rest.refused(Refusal(404, 40410000, f"order not found for {name}"))
    return rest.json_response(wire.order_json(order, is_nested=rest.is_true(request.query, "nested")))


def _share(request: web.Request, position: Position) -> Decimal:
    """How much to close: qty, percentage, or all."""
    qty, percentage = _number(request, "qty"), _number(request, "percentage")
    if qty is not None:
        return qty
    if percentage is None:
        return abs(position.qty)
    if not 0 < percentage <= 100:
        raise rest.BadParameterError(Refusal(422, 40010001, "percentage must be above 0 and at most 100"))
    return round_to(abs(position.qty) * percentage / 100, CRYPTO_LOT, ROUND_DOWN)


def _number(request: web.Request, name: str) -> Decimal | None:
    text = request.query.get(name)
    if not text:
        return None
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise rest.BadParameterError(Refusal(422, 40010001, f"{name} must be a number, was {text}")) from error


def _no_position() -> Refusal:
    return Refusal(404, 40410000, "position does not exist")


def _ratio(part: Decimal, whole: Decimal) -> str:
    return plain(round(part / whole, 9)) if whole else plain(ZERO)


def _newest_key(order: Order) -> tuple[int, str, str]:
    return order.submitted_ns, order.terms.symbol, order.client_order_id
