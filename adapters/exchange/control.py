"""The control URL of the exchange: venue clock, counters, steps of a lock-step run, start of a held one, faults, halts.

Not part of Alpaca's API and needs no key. The demo, the tests and the benchmarks call it; the Alpaca adapter never.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aiohttp import web

from adapters.exchange import rest
from adapters.exchange.driver import Driver, PhaseError
from adapters.exchange.faults import FaultPlan, read_plan
from adapters.exchange.halting import DEFAULT_CODE, bands
from adapters.exchange.market_ws import MarketHub
from adapters.exchange.orders import Refusal
from adapters.exchange.trading_ws import TradingHub
from adapters.exchange.venue import Venue
from engine.errors import ConfigError


class StepRequest(msgspec.Struct):
    """Body of POST /control/step."""

    phase: str = ""


class HaltRequest(msgspec.Struct):
    """Body of POST /control/halts."""

    symbol: str
    halted: bool = True
    code: str = DEFAULT_CODE


class BandsRequest(msgspec.Struct):
    """Body of POST /control/bands."""

    symbol: str
    low: Annotated[float, msgspec.Meta(gt=0)]
    high: Annotated[float, msgspec.Meta(gt=0)]


class ControlRoutes:
    """Handlers of /control.

    Args:
        venue: Counters.
        driver: Clock and steps.
        market: Market-data connections.
        trading: Trading connections.
        gate: Requests in flight.
        accepted: When orders were taken in.
    """

    def __init__(
        self,
        venue: Venue,
        driver: Driver,
        market: MarketHub,
        trading: TradingHub,
        *,
        gate: rest.Gate,
        accepted: rest.AcceptLog,
    ) -> None:
        self._venue = venue
        self._driver = driver
        self._market = market
        self._trading = trading
        self._gate = gate
        self._accepted = accepted

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/control/status", self.status, allow_head=False),
            web.get("/control/clock", self.clock, allow_head=False),
            web.get("/control/accepted", self.accepted, allow_head=False),
            web.post("/control/step", self.step),
            web.post("/control/start", self.start),
            web.post("/control/hold", self.hold),
            web.get("/control/faults", self.faults, allow_head=False),
            web.post("/control/faults", self.set_faults),
            web.delete("/control/faults", self.clear_faults),
            web.get("/control/halts", self.halts, allow_head=False),
            web.post("/control/halts", self.set_halt),
            web.post("/control/bands", self.set_bands),
        ]

    async def status(self, _request: web.Request) -> web.StreamResponse:
        """GET /control/status: counters are cumulative, whether or not anybody was connected."""
        venue, orders = self._venue, self._venue.book.counts()
        return rest.json_response(
            {
                "venue_ns": self._driver.now_ns,
                "speed": venue.config.speed,
                "state": self._driver.state,
                "bars_emitted": venue.bars_emitted,
                "executions": venue.book.ledger.executions,
                "activities": venue.book.ledger.fees,
                "orders_accepted": orders["accepted"],
                "orders_open": orders["open"],
                "orders_terminal": orders["terminal"],
                "events_emitted": self._trading.events_emitted,
                "rest_open": self._gate.in_flight,
                "market_clients": self._market.clients,
                "market_subscribed": self._market.subscribed,
                "trading_clients": self._trading.clients,
                "first_bar_sent_wall_ns": self._market.first_bar_sent_wall_ns,
                "last_bar_sent_wall_ns": self._market.last_bar_sent_wall_ns,
            }
        )

    async def clock(self, _request: web.Request) -> web.StreamResponse:
        """GET /control/clock."""
        return rest.json_response(
            {
                "venue_ns": self._driver.now_ns,
                "speed": self._venue.config.speed,
                "running": self._driver.state == "running",
            }
        )

    async def accepted(self, _request: web.Request) -> web.StreamResponse:
        """GET /control/accepted: wall time, ns UTC, at which each of the newest orders was taken in."""
        return rest.json_response(self._accepted.times())

    async def step(self, request: web.Request) -> web.StreamResponse:
        """POST /control/step {"phase": "events"} or {"phase": "bars"}."""
        try:
            body = await rest.read_body(request, StepRequest)
            if body.phase == "events":
                was_finished = self._venue.is_finished
                count = {"events": await self._driver.step_events()}
            elif body.phase == "bars":
                count = {"bars": await self._driver.step_bars()}
                was_finished = self._venue.is_finished
            else:
                return rest.refused(Refusal(422, 40010001, f'phase must be "events" or "bars", was {body.phase!r}'))
        except PhaseError as error:
            return rest.refused(Refusal(409, 40910000, str(error)))
        except rest.BadParameterError as error:
            return rest.refused(error.refusal)
        return rest.json_response({"venue_ns": self._driver.now_ns, **count, "finished": was_finished})

    async def start(self, _request: web.Request) -> web.StreamResponse:
        """POST /control/start: begin a held timed run, or go on with it."""
        return rest.json_response({"started": self._driver.start(), "venue_ns": self._driver.now_ns})

    async def hold(self, _request: web.Request) -> web.StreamResponse:
        """POST /control/hold: stop a timed run at its next close; the status says when it is there."""
        return rest.json_response({"held": self._driver.hold(), "venue_ns": self._driver.now_ns})

    async def faults(self, _request: web.Request) -> web.StreamResponse:
        """GET /control/faults: the rules that hold, with how many occasions each has had and how often it happened."""
        return rest.json_response(self._faults_json())

    async def set_faults(self, request: web.Request) -> web.StreamResponse:
        """POST /control/faults {"rules": [...], "seed": 1}: these rules instead of the old ones, counted anew."""
        try:
            self._venue.faults.load(read_plan(await request.read()))
        except ConfigError as error:
            return rest.refused(Refusal(422, 40010001, str(error)))
        return rest.json_response(self._faults_json())

    async def clear_faults(self, _request: web.Request) -> web.StreamResponse:
        """DELETE /control/faults: nothing goes wrong on purpose any more."""
        self._venue.faults.load(FaultPlan())
        return rest.json_response(self._faults_json())

    async def halts(self, _request: web.Request) -> web.StreamResponse:
        """GET /control/halts: symbols that are halted, with the reason's code."""
        return rest.json_response({"halted": self._venue.halting.symbols})

    async def set_halt(self, request: web.Request) -> web.StreamResponse:
        """POST /control/halts {"symbol": "AAPL", "halted": true, "code": "T1"}: halt (code LUDP: pause) or resume."""
        try:
            body = await rest.read_body(request, HaltRequest)
            symbol = self._stock(body.symbol)
        except rest.BadParameterError as error:
            return rest.refused(error.refusal)
        halting, now = self._venue.halting, self._driver.now_ns
        self._market.note(halting.halt(symbol, body.code, now) if body.halted else halting.resume(symbol, now))
        self._driver.tell()
        return rest.json_response({"halted": halting.symbols, "venue_ns": now})

    async def set_bands(self, request: web.Request) -> web.StreamResponse:
        """POST /control/bands {"symbol": "AAPL", "low": 95, "high": 105}: tell the price bands (LULD)."""
        try:
            body = await rest.read_body(request, BandsRequest)
            symbol = self._stock(body.symbol)
        except rest.BadParameterError as error:
            return rest.refused(error.refusal)
        now = self._driver.now_ns
        self._market.note(bands(symbol, body.low, body.high, now))
        self._driver.tell()
        return rest.json_response({"symbol": symbol, "venue_ns": now})

    def _stock(self, name: str) -> str:
        symbol = self._venue.symbol_of(name)
        if symbol is None or "/" in symbol:
            raise rest.BadParameterError(Refusal(422, 40010001, f"symbol must be a stock of this market, was {name!r}"))
        return symbol

    def _faults_json(self) -> dict[str, Any]:
        faults = self._venue.faults
        rules = [
            {**msgspec.to_builtins(rule), "occasions": occasions, "hits": hits}
            for rule, occasions, hits in zip(faults.plan.rules, faults.occasions, faults.hits, strict=True)
        ]
        return {"seed": faults.seed, "rules": rules}
