"""Corrections of bars from the local exchange through the Alpaca adapter and feed into the stream, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import requests

from adapters.alpaca.connect import connect_feed
from adapters.clock import VenueClock
from engine.messages import Bar
from streams.connection import Inflow
from streams.services.feed import Feed
from streams.topology import Topology
from tests.alpaca import test_with_exchange
from tests.alpaca.test_with_exchange import OPEN, Exchange
from tests.engine.build import T0
from tests.streams.feeding import running
from tests.streams.wire import until

venue = test_with_exchange.exchange  # the fixture, by another name
BOTS = [{"name": "a", "strategy": "rsi", "symbols": ["AAPL", "BTC/USD"], "capital": "1"}]
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")


async def test_a_corrected_bar_is_stored_with_its_revision_also_by_a_feed_that_was_restarted(
    venue: Exchange, nc: Inflow, topology: Topology
) -> None:
    faults = [{"fault": "late_update", "symbol": name, "nth": [1, 2], "minutes": 1} for name in ("AAPL", "BTC/USD")]
    answer = await asyncio.to_thread(
        requests.post, f"{venue.urls['control']}/faults", json={"rules": faults}, timeout=5
    )
    assert answer.status_code == 200, answer.text
    clock = VenueClock(venue.urls["control"])
    make: Any = lambda context: Feed(  # noqa: E731
        context, lambda is_open: connect_feed(venue.config(), lambda: T0, clock.estimate_ns, is_open)
    )
    async with running(nc, topology, clock, make=make, opened_ns=OPEN, bots=BOTS) as wired:
        await until(lambda: wired.feed.status().counters["connected"] == 2, "connected")
        await venue.minute()
        await venue.minute()  # brings the corrections of the first
        await until(lambda: wired.feed.status().counters["corrections"] == 2, "corrections")
        await wired.idle()
        stored = [body for body in await wired.stored("market") if isinstance(body, Bar)]
        await wired.feed.stop()
    for symbol in ("AAPL", "BTC/USD"):
        first, second, corrected = (bar for bar in stored if bar.symbol == symbol)
        assert (first.revision, second.revision, corrected.revision) == (0, 0, 1)
        assert corrected.ts_event == first.ts_event < second.ts_event
        assert corrected.volume > first.volume
    newest = next(bar for bar in reversed(stored) if bar.symbol == "AAPL" and not bar.revision)
    async with running(nc, topology, clock, make=make, opened_ns=OPEN, bots=BOTS) as wired:
        await until(lambda: wired.feed.status().counters["connected"] == 2, "connected")
        wired.feed.on_updates([msgspec.structs.replace(newest, close=1.0)], T0)
        wired.feed.on_updates([msgspec.structs.replace(newest, close=2.0)], T0)
        wired.feed.on_updates([msgspec.structs.replace(newest, ts_event=OPEN - 10**12)], T0)
        await until(lambda: wired.feed.status().counters["corrections"] == 2, "corrections after a restart")
        await wired.idle()
        again = [body for body in await wired.stored("market") if isinstance(body, Bar)][len(stored) :]
        assert [(bar.ts_event, bar.revision, bar.close) for bar in again] == [
            (newest.ts_event, 1, 1.0),
            (newest.ts_event, 2, 2.0),
        ]
        await wired.feed.stop()
    await clock.close()
