"""Bars, trades and quotes of the past, by REST, for backfill and warm-up.

Decides which intervals are complete and pages until the venue has no more; a bar of REST may differ from the streamed
one (late trades). It never gives a bar whose interval has not ended, and never part of what was asked: it gives all or
raises. Blocking; called by the feed role in worker threads.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alpaca.common.rest import RESTClient
from alpaca.data.historical.crypto import CryptoHistoricalDataClient
from alpaca.data.historical.stock import StockHistoricalDataClient

from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.parse import Problem, parse_bar, rfc3339
from adapters.alpaca.reporter import OnProblem, Reporter
from adapters.alpaca.rest import Rest
from adapters.alpaca.ticks import parse_tick
from engine.errors import UnreachableError
from engine.messages import Bar
from engine.ports import Quote, Trade
from engine.values import NS_PER_S, AssetClass, timeframe_ns

_UNITS = {"m": "Min", "h": "Hour", "d": "Day"}
_PATHS = {AssetClass.US_EQUITY: "/stocks", AssetClass.CRYPTO: "/crypto/us"}
_TICKS_MAX = 200_000
"""More trades and quotes than this are not worth waiting for."""


class AlpacaHistory:
    """BarHistory over Alpaca's market-data REST; safe to call from several threads.

    Args:
        now_ns: The clock the markets run by; a bar that closes after it is not complete. None: the caller asks for
            the past only.
        on_problem: Where a bar that could not be read is reported.
    """

    def __init__(
        self,
        config: AlpacaConfig,
        now_ns: Callable[[], int] | None = None,
        on_problem: OnProblem | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        def client(asset_class: AssetClass) -> Callable[[], RESTClient]:
            kind = CryptoHistoricalDataClient if asset_class is AssetClass.CRYPTO else StockHistoricalDataClient
            return lambda: kind(config.key, config.secret, raw_data=True, url_override=config.data_url)

        self._config = config
        self._now_ns = now_ns
        self._reporter = Reporter(on_problem or (lambda _level, _what: None), config.problem_repeat_s_min)
        self._rest = {kind: Rest(config, config.data_url, client(kind), sleep) for kind in AssetClass}

    def bars(
        self,
        asset_class: AssetClass,
        symbols: Sequence[str],
        timeframe: str,
        from_ns: int,
        to_ns: int,
        *,
        is_adjusted: bool = False,
    ) -> Sequence[Bar]:
        """Give the bars whose close lies in (from_ns, to_ns], sorted by (ts_event, symbol).

        With `is_adjusted` in the shares of now, whatever was split since.

        Raises:
            UnreachableError: The venue did not answer within the retry limit, or its pages do not end.
            ConfigError: The venue refuses the key or the request (a feed outside the plan).
        """
        length_ns = timeframe_ns(timeframe)
        if self._now_ns is not None:
            to_ns = min(to_ns, self._now_ns())
        # `start` and `end` are inclusive and mean the open; whole seconds are what every version of the API reads.
        start_s = -((length_ns - from_ns - 1) // NS_PER_S)
        end_s = (to_ns - length_ns) // NS_PER_S
        if end_s < start_s:
            return []
        params = {
            "timeframe": _vendor_timeframe(timeframe),
            "start": rfc3339(start_s * NS_PER_S),
            "end": rfc3339(end_s * NS_PER_S),
        }
        if asset_class is AssetClass.US_EQUITY:
            params["adjustment"] = "split" if is_adjusted else "raw"
        found: dict[tuple[int, str], Bar] = {}
        wanted = list(dict.fromkeys(symbols))
        for chunk in itertools.batched(wanted, self._config.history_symbols_per_request):
            known = set(chunk)
            for symbol, raw in self._records(asset_class, "bars", chunk, params):
                bar = parse_bar(raw, timeframe, length_ns, symbol)
                if isinstance(bar, Problem):
                    self._reporter.report("warning", f"history: {bar.what}")
                elif bar.symbol in known and from_ns < bar.ts_event <= to_ns:
                    found[bar.ts_event, bar.symbol] = bar  # crypto may hold a minute twice: the later one counts
        return [found[key] for key in sorted(found)]

    def ticks(
        self, asset_class: AssetClass, symbols: Sequence[str], from_ns: int, to_ns: int
    ) -> Sequence[Trade | Quote]:
        """Give trades that count and quotes in (from_ns, to_ns], sorted by time; of one moment by symbol, quotes first.

        Raises:
            UnreachableError: As `bars`; or there are too many to wait for.
            ConfigError: As `bars`.
        """
        params = {"start": rfc3339(from_ns), "end": rfc3339(to_ns)}  # both inclusive
        found: list[tuple[int, str, int, Trade | Quote]] = []
        wanted = list(dict.fromkeys(symbols))
        for chunk in itertools.batched(wanted, self._config.history_symbols_per_request):
            for place, kind in enumerate(("quotes", "trades")):
                for symbol, raw in self._records(asset_class, kind, chunk, params):
                    record: dict[str, Any] = raw if isinstance(raw, dict) else {}
                    tick = parse_tick({**record, "T": kind[0], "S": symbol})
                    if isinstance(tick, Problem):
                        self._reporter.report("warning", f"history: {tick.what}")
                    elif tick is not None and from_ns < tick.ts_event <= to_ns:
                        found.append((tick.ts_event, symbol, place, tick))
                    if len(found) > _TICKS_MAX:
                        msg = (
                            f"more than {_TICKS_MAX} trades and quotes of {len(wanted)} symbols: not asked for further"
                        )
                        raise UnreachableError(msg)
        found.sort(key=lambda entry: entry[:3])
        return [tick for *_, tick in found]

    def close(self) -> None:
        """Close the connections of all threads."""
        for rest in self._rest.values():
            rest.close()

    def _records(
        self, asset_class: AssetClass, kind: str, symbols: Sequence[str], more: dict[str, str]
    ) -> Iterator[tuple[str, Any]]:
        """Page through what the venue has of a kind; a page may end inside a symbol."""
        params: dict[str, Any] = {
            "symbols": ",".join(symbols),
            **more,
            "limit": self._config.history_bars_per_page,
            "sort": "asc",
        }
        if asset_class is AssetClass.US_EQUITY:
            params["feed"] = self._config.feed
        path, seen = f"{_PATHS[asset_class]}/{kind}", set[str]()
        for _ in range(self._config.pages_max):
            page = self._rest[asset_class].read(path, params)
            if not isinstance(page, dict) or not isinstance(page.get(kind) or {}, dict):
                msg = f"{self._config.data_url}{path} answered without {kind}: the URL is not Alpaca's data API"
                raise UnreachableError(msg)
            for symbol, records in (page.get(kind) or {}).items():  # Alpaca also says null
                yield from ((symbol, record) for record in records or ())
            token = page.get("next_page_token")
            if not token:
                return
            if token in seen:
                break
            seen.add(token)
            params["page_token"] = token
        msg = f"pages of {self._config.data_url}{path} do not end ({len(seen)} read)"
        raise UnreachableError(msg)


def _vendor_timeframe(timeframe: str) -> str:
    """`1m` -> `1Min`.

    Raises:
        ValueError: Alpaca has no such timeframe.
    """
    unit = _UNITS.get(timeframe[-1])
    if unit is None:
        msg = f"Alpaca has bars of minutes, hours and days, not {timeframe!r}"
        raise ValueError(msg)
    return f"{timeframe[:-1]}{unit}"
