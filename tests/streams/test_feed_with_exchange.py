"""feed, the Alpaca adapter, the local exchange and nats-server together, over real sockets, in lock-step."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import requests

from adapters.alpaca.connect import connect_feed
from adapters.clock import VenueClock
from adapters.exchange.bars import VenueBar
from adapters.exchange.ticks import quotes_of, trades_of
from config.settings import Settings
from engine.marks import MarkCore
from engine.messages import Bar, Mark, SymbolStatus, body_json
from engine.ports import Quote, Trade
from engine.values import NS_PER_MINUTE, AssetClass
from streams.connection import Inflow
from streams.services.feed import Feed
from streams.topology import Topology
from tests.alpaca import test_with_exchange
from tests.alpaca.test_with_exchange import OPEN, Exchange
from tests.engine.build import T0
from tests.streams.feeding import Wired, running
from tests.streams.wire import until

venue = test_with_exchange.exchange  # the fixture, by another name

MINUTES = 4
BOTS = [
    {"name": "a", "strategy": "rsi", "symbols": ["AAPL", "BTC/USD"], "capital": "1", "stops": {"stop_loss": 0.1}},
    {"name": "b", "strategy": "rsi", "symbols": ["BRK.B"], "capital": "1"},
]
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")


async def _minutes(wired: Wired, venue: Exchange, count: int) -> None:
    """Step the market, each step when feed has stored all of the one before; three symbols, less those halted."""
    for _ in range(count):
        status = await asyncio.to_thread(lambda: requests.get(f"{venue.urls['control']}/status", timeout=5).json())
        await venue.minute()
        after = await asyncio.to_thread(lambda: requests.get(f"{venue.urls['control']}/status", timeout=5).json())
        bars = after["bars_emitted"]
        assert bars > status["bars_emitted"]
        await until(lambda bars=bars: wired.feed.status().counters["bars"] == bars, f"{bars} bars are stored")
        await wired.idle()


def _expected(symbol: str, move: float) -> list[Mark]:
    """The marks of the exchange's own ticks."""
    core = MarkCore([symbol], Settings().feed.mark_every_ms, move, {})
    stream = AssetClass.CRYPTO if "/" in symbol else AssetClass.US_EQUITY
    price = {"AAPL": 150, "BTC/USD": 60000}[symbol]
    marks: list[Mark] = []
    for minute in range(MINUTES):
        low, opened = float(price + minute), OPEN + minute * NS_PER_MINUTE
        bar = VenueBar(symbol, opened, low + 0.25, low + 1, low, low + 0.5, 1000.0, 10, low)
        for quote, trade in zip(quotes_of(bar), trades_of(bar), strict=True):
            marks += core.on_tick(Quote(symbol, quote["t"], quote["bp"], quote["ap"]))
            marks += core.on_tick(Trade(symbol, trade["t"], trade["p"]))
        marks += core.on_time(stream, opened + NS_PER_MINUTE)
    return marks


async def test_marks_are_those_of_the_exchanges_ticks_and_halts_are_seen(
    venue: Exchange,
    nc: Inflow,
    topology: Topology,
) -> None:
    clock = VenueClock(venue.urls["control"])
    make: Any = lambda context: Feed(  # noqa: E731
        context, lambda is_open: connect_feed(venue.config(), lambda: T0, clock.estimate_ns, is_open)
    )
    async with running(nc, topology, clock, make=make, opened_ns=OPEN, bots=BOTS) as wired:
        await until(lambda: wired.feed.status().counters["connected"] == 3, "connected")
        assert wired.feed.status().counters["unmarked"] == 0
        await _minutes(wired, venue, MINUTES)
        bodies = await wired.stored("trading")
        for symbol in ("AAPL", "BTC/USD"):
            told = [body for body in bodies if isinstance(body, Mark) and body.symbol == symbol]
            expected = _expected(symbol, Settings().feed.mark_move_fraction)
            assert [body_json(mark) for mark in told] == [body_json(mark) for mark in expected]
            assert len(told) == 4 * MINUTES
        assert len([body for body in bodies if isinstance(body, Mark)]) == len(bodies), "BRK.B has none"

        def control(path: str, **body: Any) -> None:
            assert requests.post(f"{venue.urls['control']}/{path}", json=body, timeout=5).status_code == 200

        await asyncio.to_thread(control, "halts", symbol="BRK.B")
        await asyncio.to_thread(control, "bands", symbol="AAPL", low=140, high=160.5)
        await _minutes(wired, venue, 2)
        assert wired.feed.status().notes == ["halted: 1 (BRK.B)"]
        await asyncio.to_thread(control, "halts", symbol="BRK.B", halted=False)
        await _minutes(wired, venue, 1)
        assert wired.feed.status().notes == []
        statuses = [body for body in await wired.stored("trading") if isinstance(body, SymbolStatus)]
        assert [(one.symbol, one.source, one.is_halted) for one in statuses] == [
            ("BRK.B", "statuses", True), ("AAPL", "lulds", False), ("BRK.B", "statuses", False),
        ]  # fmt: skip
        assert [str(px) for px in (statuses[1].low_px, statuses[1].high_px)] == ["140.0", "160.5"]
        halted = [body for body in await wired.stored("market") if isinstance(body, Bar) and body.symbol == "BRK.B"]
        assert len(halted) == MINUTES + 1
    await wired.feed.stop()
    await clock.close()
