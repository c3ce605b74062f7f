"""Historical market data over REST: bars, trades, quotes, latest ones and snapshots, of stocks and of crypto.

Everything comes from the bars that are out in venue time; trades and quotes are made from them by `ticks`. Splits are
taken out of older prices where `adjustment` asks for it, and only there. Answers are sorted by symbol, then time;
`limit` counts points over all symbols; a page may end inside a symbol. An empty answer is `{}`, a last page has
`next_page_token: null`. Order book: one level of the latest quote.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any

import msgspec
from aiohttp import web

from adapters.exchange import rest
from adapters.exchange.bars import History, SymbolHistory, VenueBar
from adapters.exchange.calendar import day_start_ns, new_york, ns_of
from adapters.exchange.driver import Driver
from adapters.exchange.frames import bar_map
from adapters.exchange.orders import Refusal
from adapters.exchange.ticks import quotes_of, trades_of
from adapters.exchange.venue import Venue
from adapters.exchange.wire import rfc3339
from engine.values import NS_PER_MINUTE

_LIMIT_DEFAULT = 1000
_LIMIT_MAX = 10_000
_HOUR_NS = 60 * NS_PER_MINUTE
_TIMEFRAME = re.compile(r"^(\d+)(Min|T|Hour|H|Day|D|Week|W|Month|M)$")
_UNITS = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_COUNTS: dict[str, tuple[int, ...]] = {
    "Min": tuple(range(1, 60)), "Hour": tuple(range(1, 24)), "Day": (1,), "Week": (1,), "Month": (1, 2, 3, 4, 6, 12),
}  # fmt: skip
_CRYPTO_SYMBOL = re.compile(r"^[A-Z0-9]+/[A-Z0-9]+$")
_STOCK_SYMBOL = re.compile(r"^[A-Z0-9]+(\.[A-Z0-9]+)?$")
_Point = tuple[int, dict[str, Any]]


class Timeframe(msgspec.Struct, frozen=True):
    """A number of Min, Hour, Day, Week or Month."""

    count: int
    unit: str

    def start_of(self, ns: int) -> int:
        """Start of the interval that holds `ns`: minutes and hours by UTC, days and longer by New York midnight."""
        if self.unit == "Min":
            return ns - ns % (self.count * NS_PER_MINUTE)
        if self.unit == "Hour":
            return ns - ns % (self.count * _HOUR_NS)
        if self.unit == "Day":
            return day_start_ns(ns)
        local = new_york(ns)
        if self.unit == "Week":
            first = local.date() - timedelta(days=local.weekday())
        else:
            month = (local.month - 1) // self.count * self.count + 1
            first = local.date().replace(month=month, day=1)
        return ns_of(first, local.min.time())


class DataRoutes:
    """Handlers of /v2/stocks and /v1beta3/crypto/us.

    Args:
        venue: Closed bars and symbols.
        driver: Venue time, the default end of a range.
    """

    def __init__(self, venue: Venue, driver: Driver) -> None:
        self._history: History = venue.history
        self._splits = venue.splits
        self._driver = driver

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        stocks, crypto = "/v2/stocks", "/v1beta3/crypto/us"
        return [
            *(web.get(f"{stocks}/{kind}", self.ranged, allow_head=False) for kind in ("bars", "trades", "quotes")),
            *(web.get(f"{crypto}/{kind}", self.ranged, allow_head=False) for kind in ("bars", "trades", "quotes")),
            *(
                web.get(f"{stocks}/{kind}/latest", self.latest, allow_head=False)
                for kind in ("bars", "trades", "quotes")
            ),
            *(
                web.get(f"{crypto}/latest/{kind}", self.latest, allow_head=False)
                for kind in ("bars", "trades", "quotes", "orderbooks")
            ),
            web.get(f"{stocks}/snapshots", self.snapshots, allow_head=False),
            web.get(f"{crypto}/snapshots", self.snapshots, allow_head=False),
        ]

    async def ranged(self, request: web.Request) -> web.StreamResponse:
        """A range of bars, trades or quotes, paged."""
        query = request.query
        kind = request.path.rsplit("/", 1)[1]
        symbols = _symbols(request)
        start = rest.time_ns(query, "start")
        start = day_start_ns(self._driver.now_ns) if start is None else start
        end = rest.time_ns(query, "end")
        end = self._driver.now_ns if end is None else end
        if end < start:
            raise _bad("end should not be before start")
        limit = rest.integer(query, "limit", _LIMIT_DEFAULT, 1, _LIMIT_MAX)
        is_newest_first = rest.choice(query, "sort", "asc", ("asc", "desc")) == "desc"
        timeframe = _timeframe(query.get("timeframe", "1Min")) if kind == "bars" else Timeframe(1, "Min")
        is_adjusted = _is_adjusted(query.get("adjustment") or "raw")
        after = _read_token(query)
        shown: dict[str, list[dict[str, Any]]] = {}
        token: str | None = None
        left = limit
        for symbol in symbols:
            if after is not None and symbol < after[0]:
                continue
            resume = after[1] if after is not None and symbol == after[0] else None
            known = self._history.of(symbol)
            if known is not None and is_adjusted:
                known = self._splits.adjusted(known)
            points = self._points(kind, known, timeframe, start, end, is_newest_first=is_newest_first)
            if resume is not None:
                points = islice(points, resume, None)
            taken = list(islice(points, left + 1))
            if len(taken) > left:
                token = _write_token(symbol, (resume or 0) + left)
                taken = taken[:left]
            if taken:
                shown[symbol] = [point for _, point in taken]
            left -= len(taken)
            if token is not None:
                break
        return rest.json_response({kind: shown, "next_page_token": token})

    def _points(
        self, kind: str, known: SymbolHistory | None, timeframe: Timeframe, start: int, end: int, *,
        is_newest_first: bool,
    ) -> Iterator[_Point]:  # fmt: skip
        """Points of one symbol in [start, end], lazily where minutes are asked for."""
        if known is None:
            return iter(())
        if kind == "bars":
            return self._bars(known, timeframe, start, end, is_newest_first=is_newest_first)
        make = trades_of if kind == "trades" else quotes_of
        indices = known.span(start - NS_PER_MINUTE + 1, end)
        return (
            (tick["t"], {**tick, "t": rfc3339(tick["t"])})
            for index in (reversed(indices) if is_newest_first else indices)
            for tick in (reversed(make(known.bar(index))) if is_newest_first else make(known.bar(index)))
            if start <= tick["t"] <= end
        )

    def _bars(
        self, known: SymbolHistory, timeframe: Timeframe, start: int, end: int, *, is_newest_first: bool
    ) -> Iterator[_Point]:
        if timeframe == Timeframe(1, "Min"):
            indices = known.span(start, end)
            run = reversed(indices) if is_newest_first else indices
            return ((known.open_ns[index], bar_map(known.bar(index))) for index in run)
        combined = [bar for bar in _combined(known, timeframe, start, end) if start <= bar.open_ns <= end]
        run_bars = reversed(combined) if is_newest_first else combined
        return ((bar.open_ns, bar_map(bar)) for bar in run_bars)

    async def latest(self, request: web.Request) -> web.StreamResponse:
        """The newest bar, trade, quote or order book of each symbol."""
        parts = request.path.split("/")
        kind = parts[-2] if parts[-1] == "latest" else parts[-1]
        shown: dict[str, Any] = {}
        for symbol in _symbols(request):
            known = self._history.of(symbol)
            if known is not None:
                shown[symbol] = _newest(kind, known.bar(-1))
        return rest.json_response({kind: shown})

    async def snapshots(self, request: web.Request) -> web.StreamResponse:
        """Latest trade, quote, minute bar, day bar and the day's bar before; crypto is wrapped, stocks are not."""
        shown: dict[str, Any] = {}
        for symbol in _symbols(request):
            known = self._history.of(symbol)
            if known is None:
                continue
            newest = known.bar(-1)
            days = list(_combined(known, Timeframe(1, "Day"), newest.open_ns - 10 * 24 * _HOUR_NS, newest.open_ns))
            shown[symbol] = {
                "latestTrade": _newest("trades", newest),
                "latestQuote": _newest("quotes", newest),
                "minuteBar": bar_map(newest),
                "dailyBar": bar_map(days[-1]),
                "prevDailyBar": bar_map(days[-2]) if len(days) > 1 else None,
            }
        return rest.json_response({"snapshots": shown} if "/crypto/" in request.path else shown)


def _combined(known: SymbolHistory, timeframe: Timeframe, start: int, end: int) -> Iterator[VenueBar]:
    """Longer bars from whole intervals of minute bars: the first interval is the one that holds `start`."""
    indices = known.span(timeframe.start_of(start), end)
    index, stop = indices.start, len(known)
    while index < stop and known.open_ns[index] <= end:
        opened = timeframe.start_of(known.open_ns[index])
        following = _next_start(timeframe, opened)
        run_stop = bisect_right(known.open_ns, following - 1, index, stop)
        yield known.combined(range(index, run_stop), opened)
        index = run_stop


def _next_start(timeframe: Timeframe, opened: int) -> int:
    if timeframe.unit == "Min":
        return opened + timeframe.count * NS_PER_MINUTE
    if timeframe.unit == "Hour":
        return opened + timeframe.count * _HOUR_NS
    days = {"Day": 1, "Week": 7, "Month": 31 * timeframe.count}[timeframe.unit]
    # Half a day more, so that a day of 23 or 25 hours ends at the right midnight.
    return timeframe.start_of(opened + days * 24 * _HOUR_NS + 12 * _HOUR_NS)


def _newest(kind: str, bar: VenueBar) -> dict[str, Any] | None:
    if kind == "bars":
        return bar_map(bar)
    quote = quotes_of(bar)[-1]
    if kind == "orderbooks":
        level = {"b": [{"p": quote["bp"], "s": quote["bs"]}], "a": [{"p": quote["ap"], "s": quote["as"]}]}
        return {"t": rfc3339(quote["t"]), **level}
    if kind == "quotes":
        return {**quote, "t": rfc3339(quote["t"])}
    trades = trades_of(bar)
    newest = trades[-1] if trades else {"t": bar.open_ns, "p": bar.close, "s": 0}
    return {**newest, "t": rfc3339(int(newest["t"]))}


def _symbols(request: web.Request) -> list[str]:
    symbols = rest.listed(request.query, "symbols")
    if not symbols:
        raise _bad("symbols is required")
    pattern = _CRYPTO_SYMBOL if "/crypto/" in request.path else _STOCK_SYMBOL
    for symbol in symbols:
        if not pattern.fullmatch(symbol):
            shown = "^[A-Z]+/[A-Z]+$" if pattern is _CRYPTO_SYMBOL else "^[A-Z]+(\\.[A-Z]+)?$"
            raise _bad(f"invalid symbol: {symbol} does not match {shown}")
    return sorted(set(symbols))


def _timeframe(text: str) -> Timeframe:
    matched = _TIMEFRAME.fullmatch(text)
    if matched is not None:
        unit = _UNITS.get(matched[2], matched[2])
        if int(matched[1]) in _COUNTS[unit]:
            return Timeframe(int(matched[1]), unit)
    raise _bad(f"invalid timeframe: {text}")


def _is_adjusted(text: str) -> bool:
    """Whether splits are to be taken out of the prices; dividends and spin-offs there are none."""
    parts = text.split(",")
    if not set(parts) <= {"raw", "split", "dividend", "spin-off", "all"}:
        raise _bad(f"invalid adjustment: {text}")
    return "split" in parts or "all" in parts


def _read_token(query: Mapping[str, str]) -> tuple[str, int] | None:
    text = query.get("page_token")
    if not text:
        return None
    try:
        symbol, place = base64.urlsafe_b64decode(text.encode()).decode().split("|")
        return symbol, int(place)
    except (ValueError, binascii.Error, UnicodeDecodeError) as error:
        raise _bad(f"invalid page_token: {text}") from error


def _write_token(symbol: str, place: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{place}".encode()).decode()


def _bad(message: str) -> rest.BadParameterError:
    return rest.BadParameterError(Refusal(400, 40010000, message))
