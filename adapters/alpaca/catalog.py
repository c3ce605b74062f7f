"""What Alpaca says of symbols: assets (may it be traded, shorted, in parts; its steps), splits and changes of name.

Corporate actions come from the market-data host (`/v1/corporate-actions`); the trading API's announcements are marked
as gone in a coming version of alpaca-py. Unit splits and mergers are not among them: the activities that they cause
move holdings and cash. Called by adapters.alpaca.reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.fields import EXCHANGE_ZONE, Problem, lenient, listed
from adapters.alpaca.parse_catalog import parse_asset, parse_splits
from adapters.alpaca.rest import Rest
from engine.errors import BrokenPromiseError, UnreachableError
from engine.ports import VenueAsset, VenueSplit
from engine.values import NS_PER_S, AssetClass, asset_class_of, is_option

_SPLIT_TYPES = "forward_split,reverse_split,stock_dividend,name_change"
_SPLITS_PER_PAGE = 1000
_DAYS_AROUND = 7
"""The venue filters by the day it processes; the ex-date, by which we filter, may differ."""


def read_assets(rest: Rest, config: AlpacaConfig, symbols: Sequence[str]) -> list[VenueAsset]:
    """Give one asset for each symbol, in their order; one that the venue does not know is not tradable.

    Raises:
        UnreachableError: No usable answer within the retry limit.
        BrokenPromiseError: The asset of a wanted symbol cannot be read.
    """
    wanted = list(dict.fromkeys(symbols))
    few = len(wanted) <= config.assets_asked_singly_max
    raws = _asked_singly(rest, wanted) if few else _picked(rest, config, wanted)
    known: dict[str, VenueAsset] = {}
    for raw in raws:
        asset = parse_asset(raw)
        if isinstance(asset, Problem):
            msg = f"asset {lenient(raw).get('symbol')!r} of {config.rest_url} cannot be read: {asset.what}"
            raise BrokenPromiseError(msg)
        known[asset.symbol] = asset
    return [
        known.get(symbol) or VenueAsset(symbol, is_tradable=False, is_shortable=False, is_fractionable=False)
        for symbol in wanted
    ]


def read_universe(rest: Rest, config: AlpacaConfig, asset_class: AssetClass) -> list[str]:
    """Name every symbol of a class that the venue trades, of crypto those priced in USD; sorted.

    Assets that cannot be read, and options, are left out.

    Raises:
        UnreachableError: No usable answer within the retry limit.
    """
    assets = [asset for raw in _listed(rest, config, asset_class) if isinstance(asset := parse_asset(raw), VenueAsset)]
    names = {asset.symbol for asset in assets if asset.is_tradable and asset_class_of(asset.symbol) is asset_class}
    if asset_class is AssetClass.CRYPTO:
        names = {name for name in names if name.endswith("/USD")}
    return sorted(name for name in names if not is_option(name))


def _listed(rest: Rest, config: AlpacaConfig, asset_class: AssetClass) -> list[Any]:
    page = rest.read("/assets", {"asset_class": asset_class.value, "status": "active"})
    if not isinstance(page, list):
        msg = f"assets of {config.rest_url} are no list: the URL is not Alpaca's trading API"
        raise UnreachableError(msg)
    return listed(page)


def _asked_singly(rest: Rest, wanted: Sequence[str]) -> list[Any]:
    # A path takes crypto pairs without their slash.
    found = (rest.read_if_there(f"/assets/{symbol.replace('/', '')}") for symbol in wanted)
    return [raw for raw in found if raw is not None]


def _picked(rest: Rest, config: AlpacaConfig, wanted: Sequence[str]) -> list[Any]:
    """Pick the wanted ones from the list of all, one request per class; an odd asset beside them costs nothing."""
    names = {name for symbol in wanted for name in (symbol, symbol.replace("/", ""))}
    found: list[Any] = []
    for asset_class in sorted({asset_class_of(symbol) for symbol in wanted}):
        found += [raw for raw in _listed(rest, config, asset_class) if lenient(raw).get("symbol") in names]
    return found


def read_splits(data: Rest, config: AlpacaConfig, symbols: Sequence[str], from_ns: int, to_ns: int) -> list[VenueSplit]:
    """Give the splits and changes of name of these symbols that take effect in the span, oldest first.

    Raises:
        UnreachableError: No usable answer within the retry limit, or pages that do not end.
        BrokenPromiseError: A split cannot be read.
    """
    stocks = sorted({symbol for symbol in symbols if asset_class_of(symbol) is AssetClass.US_EQUITY})
    found: dict[str, VenueSplit] = {}
    for start in range(0, len(stocks), config.history_symbols_per_request):
        chosen = stocks[start : start + config.history_symbols_per_request]
        for group in _pages(data, config, chosen, from_ns, to_ns):
            for split in parse_splits(group):
                if isinstance(split, Problem):
                    msg = f"a corporate action of {config.data_url} cannot be read: {split.what}"
                    raise BrokenPromiseError(msg)
                if from_ns <= split.effective_ns <= to_ns and split.symbol in chosen:
                    found[split.id] = split
    return sorted(found.values(), key=lambda split: (split.effective_ns, split.symbol, split.id))


def _pages(data: Rest, config: AlpacaConfig, symbols: Sequence[str], from_ns: int, to_ns: int) -> Iterator[Any]:
    around = timedelta(days=_DAYS_AROUND)
    params: dict[str, Any] = {
        "symbols": ",".join(symbols),
        "types": _SPLIT_TYPES,
        "start": (_day(from_ns) - around).isoformat(),
        "end": (_day(to_ns) + around).isoformat(),
        "limit": _SPLITS_PER_PAGE,
    }
    for _ in range(config.pages_max):
        page = data.read("/corporate-actions", params)
        if not isinstance(page, dict):
            break
        fields = lenient(page)
        yield fields.get("corporate_actions")
        token = fields.get("next_page_token")
        if not token:
            return
        params["page_token"] = token
    msg = f"corporate actions of {config.data_url} are no object or do not end: the URL is not Alpaca's data API"
    raise UnreachableError(msg)


def _day(ns: int) -> date:
    return datetime.fromtimestamp(ns // NS_PER_S, UTC).astimezone(EXCHANGE_ZONE).date()
