"""Trading REST: account, configurations, activities, assets, clock and calendar.

Handlers write what the book and the calendar say; the only thing they change is the account's switches.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
from aiohttp import web

from adapters.exchange import rest, wire
from adapters.exchange.account import AccountSwitches
from adapters.exchange.calendar import new_york, utc_date
from adapters.exchange.driver import Driver
from adapters.exchange.ids import make_uuid
from adapters.exchange.ledger import Activity
from adapters.exchange.orders import Refusal
from adapters.exchange.rest_portfolio import portfolio_query
from adapters.exchange.venue import Venue
from engine.values import NS_PER_S, asset_class_of, plain

_PAGE_MAX = 100
_SKEW = frozenset({"clock_skew"})


class ConfigurationPatch(msgspec.Struct):
    """Body of PATCH /v2/account/configurations; what is missing stays."""

    suspend_trade: bool | None = None
    no_shorting: bool | None = None
    fractional_trading: bool | None = None


class AccountRoutes:
    """Handlers of everything about the account but orders.

    Args:
        venue: Book, market and calendar.
        driver: Venue time.
    """

    def __init__(self, venue: Venue, driver: Driver) -> None:
        self._venue = venue
        self._book = venue.book
        self._driver = driver

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/v2/account", self.account, allow_head=False),
            web.get("/v2/account/configurations", self.configurations, allow_head=False),
            web.patch("/v2/account/configurations", self.configure),
            web.get("/v2/account/activities", self.activities, allow_head=False),
            web.get("/v2/account/activities/{kind}", self.activities, allow_head=False),
            web.get("/v2/account/portfolio/history", self.portfolio_history, allow_head=False),
            web.get("/v2/assets", self.assets, allow_head=False),
            web.get("/v2/assets/{name}", self.asset, allow_head=False),
            web.get("/v2/clock", self.clock, allow_head=False),
            web.get("/v2/calendar", self.calendar, allow_head=False),
        ]

    async def account(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/account."""
        book = self._book
        worth, means = book.account.valuation(), book.account.means()
        positions = worth.long_value + worth.short_value + worth.crypto_value
        switches = book.account.switches
        return rest.json_response(
            {
                "id": make_uuid("account", book.account_number),
                "account_number": book.account_number,
                "status": "ACTIVE",
                "crypto_status": "ACTIVE",
                "currency": "USD",
                "cash": plain(book.ledger.cash),
                "portfolio_value": plain(worth.equity),
                "equity": plain(worth.equity),
                "last_equity": plain(book.account.last_equity),
                "long_market_value": plain(worth.long_value + worth.crypto_value),
                "short_market_value": plain(worth.short_value),
                "position_market_value": plain(positions),
                "buying_power": plain(means.buying_power),
                "regt_buying_power": plain(means.buying_power),
                "effective_buying_power": plain(means.buying_power),
                "non_marginable_buying_power": plain(means.non_marginable),
                "options_buying_power": plain(means.non_marginable),
                "initial_margin": plain(means.initial_margin),
                "maintenance_margin": plain((worth.long_value - worth.short_value) * 3 / 10),
                "last_maintenance_margin": "0",
                "sma": "0",
                "multiplier": str(book.rules.multiplier),
                "accrued_fees": "0",
                "pending_transfer_in": "0",
                "pending_reg_taf_fees": "0",
                "intraday_adjustments": "0",
                "balance_asof": utc_date(self._driver.now_ns).isoformat(),
                "created_at": wire.rfc3339(self._venue.start_ns),
                "shorting_enabled": book.rules.multiplier > 1 and not switches.no_shorting,
                "trading_blocked": False,
                "transfers_blocked": False,
                "account_blocked": False,
                "trade_suspended_by_user": switches.suspend_trade,
                "options_trading_level": 0,
                "crypto_tier": 1,
                "user_configurations": None,
                "admin_configurations": {},
            }
        )

    async def configurations(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/account/configurations."""
        return rest.json_response(self._configurations())

    def _configurations(self) -> dict[str, Any]:
        switches = self._book.account.switches
        return {
            "disable_overnight_trading": False,
            "dtbp_check": "entry",
            "fractional_trading": switches.fractional_trading,
            "max_margin_multiplier": str(self._book.rules.multiplier),
            "no_shorting": switches.no_shorting,
            "pdt_check": "entry",
            "ptp_no_exception_entry": False,
            "suspend_trade": switches.suspend_trade,
            "trade_confirm_email": "none",
        }

    async def configure(self, request: web.Request) -> web.StreamResponse:
        """PATCH /v2/account/configurations: suspend_trade, no_shorting, fractional_trading; the rest is fixed."""
        patch = await rest.read_body(request, ConfigurationPatch)
        now = self._book.account.switches
        self._book.account.switches = AccountSwitches(
            now.suspend_trade if patch.suspend_trade is None else patch.suspend_trade,
            now.no_shorting if patch.no_shorting is None else patch.no_shorting,
            now.fractional_trading if patch.fractional_trading is None else patch.fractional_trading,
        )
        return rest.json_response(self._configurations())

    async def activities(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/account/activities[/{kind}]: pages by the id of the last item; after and until are exclusive."""
        query = request.query
        kinds = (
            {request.match_info["kind"]} if "kind" in request.match_info else set(rest.listed(query, "activity_types"))
        )
        direction = rest.choice(query, "direction", "desc", ("asc", "desc"))
        page_size = rest.integer(query, "page_size", _PAGE_MAX, 1, _PAGE_MAX)
        after, until = rest.time_ns(query, "after"), rest.time_ns(query, "until")
        only_day = rest.day(query, "date")
        found = [
            activity for activity in self._book.ledger.activities
            if (not kinds or activity.kind in kinds)
            and (after is None or activity.ns > after)
            and (until is None or activity.ns < until)
            and (only_day is None or utc_date(activity.ns) == only_day)
            and query.get("order_id", activity.order_id) == activity.order_id
        ]  # fmt: skip
        if direction == "desc":
            found.reverse()
        start = _place_after(found, query.get("page_token"))
        return rest.json_response([wire.activity_json(activity) for activity in found[start : start + page_size]])

    async def portfolio_history(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/account/portfolio/history: at most two of start, end and period; within days at most 30 days."""
        query = portfolio_query(request.query, self._driver.now_ns)
        return rest.json_response(self._venue.equity.history(query, self._venue.calendar))

    async def assets(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/assets."""
        query = request.query
        asset_class, status = query.get("asset_class"), query.get("status")
        exchange = query.get("exchange")
        shown = [
            wire.asset_json(symbol)
            for symbol in self._venue.symbols
            if asset_class in (None, "", asset_class_of(symbol).value) and status in (None, "", "active", "all")
        ]
        return rest.json_response([asset for asset in shown if not exchange or asset["exchange"] == exchange])

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/assets/{symbol or id}."""
        name = request.match_info["name"]
        symbol = self._venue.symbol_of(name)
        if symbol is None:
            return rest.refused(Refusal(404, 40410000, f"asset not found for {name}"))
        return rest.json_response(wire.asset_json(symbol))

    async def clock(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/clock: venue time, New York offset; by fault it goes wrong by some seconds."""
        now_ns, calendar = self._driver.now_ns, self._venue.calendar
        rule = self._venue.faults.for_request(_SKEW, request.method, request.path)
        if rule is not None:
            now_ns += int(rule.skew_s * NS_PER_S)
        return rest.json_response(
            {
                "timestamp": new_york(now_ns).isoformat(),
                "is_open": calendar.is_regular(now_ns),
                "next_open": new_york(calendar.next_open(now_ns).open_ns).isoformat(),
                "next_close": new_york(calendar.next_close(now_ns)).isoformat(),
            }
        )

    async def calendar(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/calendar?start=&end=."""
        first = rest.day(request.query, "start") or date(1970, 1, 1)
        last = rest.day(request.query, "end") or date(2029, 12, 31)
        return rest.json_response(
            [
                {
                    "date": session.day.isoformat(),
                    "open": f"{new_york(session.open_ns):%H:%M}",
                    "close": f"{new_york(session.close_ns):%H:%M}",
                    "session_open": "0400",
                    "session_close": "2000",
                    "settlement_date": self._settlement(session.day).isoformat(),
                }
                for session in self._venue.calendar.between(first, last)
            ]
        )

    def _settlement(self, traded: date) -> date:
        """The next weekday (T+1; holidays are not looked up)."""
        following = traded + timedelta(days=1)
        while following.weekday() > 4:
            following += timedelta(days=1)
        return following


def _place_after(activities: list[Activity], token: str | None) -> int:
    if not token:
        return 0
    for place, activity in enumerate(activities):
        if activity.id == token:
            return place + 1
    raise rest.BadParameterError(Refusal(422, 40010001, f"invalid page_token {token}"))
