"""Corporate actions over REST, which Alpaca has twice: `/v1/corporate-actions` of its market data, and announcements.

They tell of the splits that the exchange was told to do, from the moment it was told. Read only.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from aiohttp import web

from adapters.exchange import ids, rest
from adapters.exchange.calendar import new_york
from adapters.exchange.corporate import Split
from adapters.exchange.driver import Driver
from adapters.exchange.orders import Refusal
from adapters.exchange.venue import Venue
from engine.values import plain

_LIMIT_MAX = 1000
_SPAN_DAYS_MAX = 90
_TYPES = {"forward_split": "forward_splits", "reverse_split": "reverse_splits"}


class CorporateRoutes:
    """Handlers of corporate actions.

    Args:
        venue: Its splits.
        driver: Venue time, the default day.
    """

    def __init__(self, venue: Venue, driver: Driver) -> None:
        self._splits = venue.splits
        self._driver = driver

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        path = "/v2/corporate_actions/announcements"
        return [
            web.get("/v1/corporate-actions", self.actions, allow_head=False),
            web.get(path, self.announcements, allow_head=False),
            web.get(f"{path}/{{name}}", self.announcement, allow_head=False),
        ]

    async def actions(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/corporate-actions: in groups by type, those whose process date lies in the span."""
        query = request.query
        today = new_york(self._driver.now_ns).date()
        start, end = rest.day(query, "start") or today, rest.day(query, "end") or today
        symbols, types = set(rest.listed(query, "symbols")), set(rest.listed(query, "types"))
        names = set(rest.listed(query, "ids"))
        limit = rest.integer(query, "limit", _LIMIT_MAX, 1, _LIMIT_MAX)
        place = rest.integer(query, "page_token", 0, 0, 1_000_000)
        is_newest_first = rest.choice(query, "sort", "asc", ("asc", "desc")) == "desc"
        found = [
            split for split in self._splits.announced
            if (split.id in names if names else start <= split.ex_date <= end)
            and (names or not symbols or split.symbol in symbols)
            and (not types or _type_of(split) in types)
        ]  # fmt: skip
        found.sort(key=lambda split: (split.ex_date, split.symbol, split.id), reverse=is_newest_first)
        groups: dict[str, list[dict[str, Any]]] = {}
        for split in found[place : place + limit]:
            groups.setdefault(_TYPES[_type_of(split)], []).append(_action_json(split))
        token = str(place + limit) if place + limit < len(found) else None
        return rest.json_response({"corporate_actions": groups, "next_page_token": token})

    async def announcements(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/corporate_actions/announcements: at most 90 days of them."""
        query = request.query
        since, until = rest.day(query, "since"), rest.day(query, "until")
        kinds = set(rest.listed(query, "ca_types"))
        if since is None or until is None or not kinds:
            raise rest.BadParameterError(Refusal(422, 40010001, "ca_types, since and until are required"))
        if until - since > timedelta(days=_SPAN_DAYS_MAX):
            raise rest.BadParameterError(Refusal(422, 40010001, "date range is limited to 90 days"))
        symbol = query.get("symbol")
        by = rest.choice(query, "date_type", "ex_date", ("declaration_date", "ex_date", "record_date", "payable_date"))
        found = [
            _announcement_json(split) for split in self._splits.announced
            if "split" in kinds and symbol in (None, "", split.symbol) and since <= _date_of(split, by) <= until
        ]  # fmt: skip
        return rest.json_response(sorted(found, key=lambda shown: (shown["ex_date"], shown["id"])))

    async def announcement(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/corporate_actions/announcements/{id}."""
        name = request.match_info["name"]
        for split in self._splits.announced:
            if split.id == name:
                return rest.json_response(_announcement_json(split))
        return rest.refused(Refusal(404, 40410000, f"announcement not found for {name}"))


def split_json(split: Split) -> dict[str, Any]:
    """A split as control shows it."""
    return {
        "id": split.id,
        "symbol": split.symbol,
        "ratio": plain(split.ratio),
        "ex_date": split.ex_date.isoformat(),
        "effective_ns": split.effective_ns,
        "orders": split.orders,
    }


def _type_of(split: Split) -> str:
    return "reverse_split" if split.is_reverse else "forward_split"


def _date_of(split: Split, kind: str) -> date:
    return split.declared_on if kind == "declaration_date" else split.ex_date


def _cusip(symbol: str) -> str:
    return ids.digest("cusip", symbol).hex()[:9].upper()


def _action_json(split: Split) -> dict[str, Any]:
    cusip = _cusip(split.symbol)
    numbers = {"new_rate": float(split.new_rate), "old_rate": float(split.old_rate)}
    cusips = {"old_cusip": cusip, "new_cusip": cusip} if split.is_reverse else {"cusip": cusip}
    days = dict.fromkeys(("process_date", "ex_date", "record_date", "payable_date"), split.ex_date.isoformat())
    return {"id": split.id, "symbol": split.symbol, **cusips, **numbers, **days}


def _announcement_json(split: Split) -> dict[str, Any]:
    cusip = _cusip(split.symbol)
    return {
        "id": split.id,
        "corporate_action_id": f"{cusip}_{split.ex_date:%Y%m%d}",
        "ca_type": "split",
        "ca_sub_type": "reverse_split" if split.is_reverse else "stock_split",
        "initiating_symbol": split.symbol,
        "initiating_original_cusip": cusip,
        "target_symbol": split.symbol,
        "target_original_cusip": cusip,
        "declaration_date": split.declared_on.isoformat(),
        "ex_date": split.ex_date.isoformat(),
        "record_date": split.ex_date.isoformat(),
        "payable_date": split.ex_date.isoformat(),
        "cash": "0",
        "old_rate": plain(split.old_rate),
        "new_rate": plain(split.new_rate),
    }
