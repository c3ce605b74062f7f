"""What Alpaca's trading REST tells: account, orders, executions, activities, assets, splits and sessions.

Reads only, so every request is repeated within its limit (`rest`). It keeps no state and leaves nothing out: what
cannot be read stops the reading, because a list with a hole in it would be a guess with money. Blocking and safe to
call from several threads; `trading` adds what changes something. Called by the executor role in a thread pool.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from alpaca.common.rest import RESTClient
from alpaca.trading.client import TradingClient

from adapters.alpaca.activities import parse_activity
from adapters.alpaca.catalog import read_assets, read_splits, read_universe
from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.fields import EXCHANGE_ZONE, Problem, lenient, rfc3339
from adapters.alpaca.listing import OrderList
from adapters.alpaca.parse_account import parse_account, parse_session
from adapters.alpaca.parse_orders import parse_fill
from adapters.alpaca.rest import Rest
from engine.errors import BrokenPromiseError, UnreachableError
from engine.ports import VenueAccount, VenueActivity, VenueAsset, VenueExecution, VenueOrder, VenueSplit
from engine.values import NS_PER_DAY, NS_PER_S, AssetClass

_MARGIN_NS = NS_PER_S
"""The venue filters by creation, perhaps exclusively: ask for a little more and filter here."""


class AlpacaReading:
    """The reading half of the venue.

    Args:
        config: URLs, key, limits.
        sleep: Waits between tries of a request.
        check_account: Called with the account's number whenever the venue says it; raises to refuse it.
    """

    def __init__(
        self,
        config: AlpacaConfig,
        sleep: Callable[[float], None] = time.sleep,
        check_account: Callable[[str], None] | None = None,
    ) -> None:
        def client() -> RESTClient:
            return TradingClient(config.key, config.secret, raw_data=True, url_override=config.rest_url)

        def data_client() -> RESTClient:
            return RESTClient(config.data_url, config.key, config.secret, api_version="v1", raw_data=True)

        self._config = config
        self._check_account = check_account
        self._rest = Rest(config, config.rest_url, client, sleep)
        self._data = Rest(config, config.data_url, data_client, sleep)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._rest.close()
        self._data.close()

    # --- orders ------------------------------------------------------------------------------------------------------

    def orders(self, after_ns: int) -> Sequence[VenueOrder]:
        """Give every open order and every one submitted at or after this time, legs in their parent, oldest first.

        Raises:
            UnreachableError: No usable answer within the retry limit, or pages that do not end.
            BrokenPromiseError: An order cannot be read: leaving it out would be guessing with money.
        """
        config = self._config
        return OrderList(self._rest.read, config.orders_per_page, config.pages_max, config.rest_url).since(after_ns)

    # --- symbols -----------------------------------------------------------------------------------------------------

    def assets(self, symbols: Sequence[str]) -> Sequence[VenueAsset]:
        """Give what the venue says of these symbols, one each, in their order; an unknown one is not tradable.

        Raises:
            UnreachableError: No usable answer within the retry limit.
            BrokenPromiseError: The asset of a wanted symbol cannot be read.
        """
        return read_assets(self._rest, self._config, symbols)

    def universe(self, asset_class: AssetClass) -> Sequence[str]:
        """Name every symbol of a class that the venue trades, of crypto those priced in USD; sorted.

        Raises:
            UnreachableError: No usable answer within the retry limit.
        """
        return read_universe(self._rest, self._config, asset_class)

    def splits(self, symbols: Sequence[str], from_ns: int, to_ns: int) -> Sequence[VenueSplit]:
        """Give the splits and changes of name of these symbols that take effect in the span, oldest first.

        Raises:
            UnreachableError: No usable answer within the retry limit.
            BrokenPromiseError: A split cannot be read.
        """
        return read_splits(self._data, self._config, symbols, from_ns, to_ns)

    # --- account -----------------------------------------------------------------------------------------------------

    def account(self) -> VenueAccount:
        """Give cash and positions now; two requests, so an order between them may show in one only.

        Raises:
            UnreachableError: No usable answer within the retry limit.
            ConfigError: The venue refuses the key, or `check_account` the account.
        """
        account = parse_account(self._rest.read("/account"), self._rest.read("/positions"))
        if isinstance(account, Problem):
            msg = f"account of {self._config.rest_url} cannot be read: {account.what}"
            raise UnreachableError(msg)
        if self._check_account is not None:
            self._check_account(account.account_number)
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
        for raw in self._activities("/account/activities", after_ns - NS_PER_DAY, category="non_trade_activity"):
            if isinstance(raw, dict) and raw.get("activity_type") == "FILL":
                continue
            activity = parse_activity(raw)
            if isinstance(activity, Problem):
                raise BrokenPromiseError(_unreadable("activity", raw, activity))
            dated_only = not any(raw.get(key) for key in ("transaction_time", "created_at"))
            if activity.ts_event + (NS_PER_DAY if dated_only else 0) >= after_ns:
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
    return f"{kind} {lenient(raw).get('id')!r} of the venue cannot be read: {problem.what}"
