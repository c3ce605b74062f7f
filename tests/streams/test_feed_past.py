"""Bars from before the first that there is: fetched by feed for bots that want them, over restarts and failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from adapters.alpaca.connect import connect_feed
from adapters.clock import VenueClock
from config.settings import Settings
from engine.bots import Bot, BotStatus
from engine.messages import Alert, AnyBody, Bar, BotDefined, Head, PastBars, Sessions, encode
from engine.values import NS_PER_MINUTE, PAST_SYMBOLS_MAX, AssetClass
from streams.connection import Inflow
from streams.history import bars_until
from streams.role import Context, NoPoints
from streams.services.feed import Feed
from streams.subjects import subject_of
from streams.topology import Topology
from tests.alpaca import test_with_exchange
from tests.alpaca.test_with_exchange import OPEN, Exchange
from tests.engine import build
from tests.engine.build import DAY_NS, T0, bar, minute
from tests.streams.feeding import StillClock, Wired, open_ledger, running
from tests.streams.wire import until

venue = test_with_exchange.exchange  # the fixture, by another name
BOT = build.bot(symbols=("AAPL", "BTC/USD"))
YESTERDAY = Sessions(AssetClass.US_EQUITY, ((T0 - DAY_NS, T0 - DAY_NS + 400 * NS_PER_MINUTE),), T0)
PAST = [bar(100.0 + number, number, symbol) for number in range(-20, 1) for symbol in ("AAPL", "BTC/USD")]
LATER = [bar(200.0, 1, "AAPL"), bar(201.0, 2, "AAPL")]


def _defined(of: Bot = BOT, bars: int = 5, revision: int = 1, status: BotStatus = BotStatus.RUNNING) -> BotDefined:
    return BotDefined(of.name, revision, of, status, 0, "me", f"w{revision}", T0, past_bars=bars)


async def _store(nc: Inflow, topology: Topology, *bodies: AnyBody) -> None:
    for body in bodies:
        await nc.jetstream(timeout=5).publish(subject_of(topology.prefix, body), encode(Head(1), body))


async def _ledger(nc: Inflow, topology: Topology, *bodies: AnyBody) -> None:
    js = nc.jetstream(timeout=5)
    context = Context("t", Settings(), topology, nc, nc, js, StillClock(), lambda: T0, NoPoints(), [])
    await open_ledger(context, T0)
    await _store(nc, topology, YESTERDAY, *bodies)


async def _up(wired: Wired, symbols: Sequence[str] = ("AAPL", "BTC/USD", "MSFT")) -> None:
    wired.venue.on_connected(list(symbols), [])
    await wired.idle()


async def _pasts(wired: Wired) -> list[PastBars]:
    return [body for body in await wired.stored("market") if isinstance(body, PastBars)]


def _asked_past(wired: Wired) -> list[tuple[Any, ...]]:
    return [asked[:2] for asked in wired.source.questions if asked[3] <= T0]


async def test_the_past_is_fetched_once_and_ends_where_the_ledger_begins(nc: Inflow, topology: Topology) -> None:
    await _ledger(nc, topology, _defined())
    clock = StillClock()
    clock.ns = minute(2)
    async with running(nc, topology, clock, is_new=False) as wired:
        wired.source.history = [*PAST, *LATER]
        await _up(wired)
        aapl, btc = sorted(await _pasts(wired), key=lambda past: past.symbol)
        assert [(past.symbol, past.timeframe, past.wanted) for past in (aapl, btc)] == [
            ("AAPL", "1m", 5),
            ("BTC/USD", "1m", 5),
        ]
        for past in (aapl, btc):
            assert [old[0] for old in past.bars] == [minute(number) for number in range(-4, 1)]
            assert [old[4] for old in past.bars] == [96.0, 97.0, 98.0, 99.0, 100.0]
            assert past.ts_to == T0
        await _up(wired)  # connected again
        assert len(await _pasts(wired)) == 2
        # What strategies are made of: the past, and the stream from its first bar on.
        history = (await bars_until(wired.context, ["AAPL"], 10**9)).bars
        assert [one.ts_event for one in history] == [minute(number) for number in range(-4, 3)]
        assert [one.is_backfill for one in history] == [True] * 5 + [False] * 2
        asked = _asked_past(wired)
    async with running(nc, topology, clock, is_new=False) as wired:
        wired.source.history = PAST
        await _up(wired)
        assert len(await _pasts(wired)) == 2
        assert _asked_past(wired) == []
        await _store(
            nc, topology, _defined(bars=8, revision=2)
        )  # wants more now; AAPL's stream begins at its first bar
        await until(lambda: len(_asked_past(wired)) == len(asked), "asked again")
        await wired.idle()
        assert [(past.symbol, len(past.bars)) for past in (await _pasts(wired))[2:]] == [("AAPL", 8), ("BTC/USD", 8)]


async def test_longer_bars_of_the_past_come_with_the_minutes_of_the_one_that_is_open(
    nc: Inflow, topology: Topology
) -> None:
    """The ledger begins three minutes after a quarter of an hour began."""
    begin = T0 // (15 * NS_PER_MINUTE) * 15 * NS_PER_MINUTE
    crypto = msgspec.structs.replace(BOT, symbols=("BTC/USD",), timeframe="15m")
    await _ledger(nc, topology, _defined(crypto, 2))
    quarters = [
        msgspec.structs.replace(
            bar(float(number), 1, "BTC/USD"), timeframe="15m", ts_event=begin + number * 15 * 60 * 10**9
        )
        for number in range(-8, 1)
    ]
    async with running(nc, topology, StillClock(), is_new=False) as wired:
        wired.source.history = [*PAST, *quarters]
        await _up(wired)
        [past] = await _pasts(wired)
        assert [(old[0], old[4]) for old in past.bars] == [(one.ts_event, one.close) for one in quarters[-2:]]
        assert [old[0] for old in past.minutes] == [
            one.ts_event for one in PAST if one.symbol == "AAPL" and one.ts_event > begin
        ]
        assert {one.timeframe for one in past.every()} == {"1m", "15m"}


async def test_a_past_that_does_not_come_is_said_and_asked_for_at_the_next_connection(
    nc: Inflow, topology: Topology
) -> None:
    await _ledger(nc, topology, _defined())
    async with running(nc, topology, StillClock(), is_new=False) as wired:
        wired.source.history, wired.source.past_fault = PAST, "no answer"
        await _up(wired)
        await until(lambda: wired.feed.status().busy == 0, "idle")
        alerts = [body.what for body in await wired.stored("trading") if isinstance(body, Alert)]
        assert [what.split(":")[0] for what in alerts if "past bars" in what] == [
            "past bars (1m) of 1 (AAPL) did not come",
            "past bars (1m) of 1 (BTC/USD) did not come",
        ]
        assert await _pasts(wired) == []
        wired.source.past_fault = ""
        await _up(wired)
        assert len(await _pasts(wired)) == 2


async def test_a_refused_question_costs_one_symbol_its_past_and_not_the_feed(nc: Inflow, topology: Topology) -> None:
    shares = msgspec.structs.replace(BOT, symbols=("AAPL", "MSFT", "ODD"))
    await _ledger(nc, topology, _defined(shares))
    async with running(nc, topology, StillClock(), is_new=False) as wired:
        wired.source.history, wired.source.refused = [*PAST, *(bar(9.0, n, "MSFT") for n in range(-4, 1))], "ODD"
        await _up(wired, ["AAPL", "MSFT", "ODD"])
        assert sorted(past.symbol for past in await _pasts(wired)) == ["AAPL", "MSFT"]
        alerts = [body.what for body in await wired.stored("trading") if isinstance(body, Alert)]
        assert [what for what in alerts if "past bars" in what] == [
            "past bars (1m) of 1 (ODD) did not come: no such symbol; strategies warm up with what comes"
        ]


async def test_a_past_that_aged_out_of_the_stream_is_asked_for_again(nc: Inflow, topology: Topology) -> None:
    await _ledger(nc, topology, _defined())
    async with running(nc, topology, StillClock(), is_new=False) as wired:
        wired.source.history = PAST
        await _up(wired)
        await nc.jetstream(timeout=5).purge_stream(topology.market, subject=f"{topology.prefix}.past.1m.AAPL")
        await _store(nc, topology, _defined(revision=2))
        await until(lambda: wired.feed.status().counters["pasts"] == 3, "asked again")
        assert [symbols for symbols, _ in _asked_past(wired)] == [("AAPL",), ("BTC/USD",), ("AAPL",)]


async def test_what_was_missed_does_not_wait_for_the_past(nc: Inflow, topology: Topology) -> None:
    await _ledger(nc, topology, _defined())
    clock = StillClock()
    async with running(nc, topology, clock, is_new=False) as wired:
        wired.source.history, wired.source.past_waits = [*PAST, *LATER], threading.Event()
        wired.venue.on_connected(["AAPL", "BTC/USD", "MSFT"], [])
        await until(lambda: wired.feed.status().busy > 0, "asked")
        await _store(nc, topology, _defined(build.bot(name="other", symbols=("MSFT",)), 7))  # a second occasion to ask
        await until(lambda: wired.feed.status().counters["revisions"] == 2, "heard of the other bot")
        await asyncio.sleep(0.2)
        clock.ns = minute(2)
        wired.venue.on_connected(["AAPL"], [])
        await until(lambda: wired.feed.status().counters["bars"] == 2, "the bars that were missed")
        assert await _pasts(wired) == []
        wired.source.past_waits.set()
        await wired.idle()
        assert len(await _pasts(wired)) == 2


@pytest.mark.parametrize("status", [BotStatus.STOPPED, BotStatus.ERROR])
async def test_a_bot_that_does_not_look_wants_no_past_until_it_starts(
    nc: Inflow, topology: Topology, status: BotStatus
) -> None:
    await _ledger(nc, topology, _defined(status=status))
    async with running(nc, topology, StillClock(), is_new=False) as wired:
        wired.source.history = PAST
        await _up(wired)
        assert _asked_past(wired) == []
        await _store(nc, topology, _defined(revision=2))
        await until(lambda: len(_asked_past(wired)) == 2, "asked")
        await wired.idle()
        assert len(await _pasts(wired)) == 2


async def test_too_many_symbols_warm_up_alone(nc: Inflow, topology: Topology) -> None:
    names = tuple(f"S{number}" for number in range(PAST_SYMBOLS_MAX + 1))
    await _ledger(nc, topology, _defined(build.bot(name="many", symbols=names)))
    async with running(nc, topology, StillClock(), is_new=False) as wired:
        wired.source.history = PAST
        await _up(wired, [*names, "AAPL", "BTC/USD"])
        assert _asked_past(wired) == []


@pytest.mark.filterwarnings("ignore:Series.values returning:DeprecationWarning")
async def test_the_past_of_the_local_exchange(venue: Exchange, nc: Inflow, topology: Topology) -> None:
    """Minutes that the exchange had before the ledger began, through the Alpaca adapter; a 2-minute bot and a 1-minute one."""
    for _ in range(7):
        await venue.minute()
    opened_ns = OPEN + 7 * NS_PER_MINUTE
    clock = VenueClock(venue.urls["control"])
    make: Any = lambda context: Feed(  # noqa: E731
        context, lambda is_open: connect_feed(venue.config(), lambda: T0, clock.estimate_ns, is_open)
    )
    first = msgspec.structs.replace(build.opened(), ts_event=opened_ns)
    calendar = Sessions(AssetClass.US_EQUITY, ((OPEN, OPEN + 390 * NS_PER_MINUTE),), OPEN)
    two = build.bot(name="two", symbols=("AAPL",), timeframe="2m")
    await _store(nc, topology, first, calendar, _defined(bars=4), _defined(two, 50))
    bots = [{"name": "a", "strategy": "rsi", "symbols": ["AAPL", "BTC/USD"], "capital": "1"}]
    async with running(nc, topology, clock, make=make, is_new=False, bots=bots) as wired:
        await until(lambda: wired.feed.status().counters["connected"] == 2, "connected")
        await wired.idle()
        await until(lambda: wired.feed.status().busy == 0, "idle")
        pasts = {(past.symbol, past.timeframe): past for past in await _pasts(wired)}
        await venue.minute()
        await until(lambda: wired.feed.status().counters["bars"] == 2, "the first bar of the ledger")
        stored = [body for body in await wired.stored("market") if isinstance(body, Bar)]
        await wired.feed.stop()
    await clock.close()
    assert set(pasts) == {("AAPL", "1m"), ("BTC/USD", "1m"), ("AAPL", "2m")}
    ends = [OPEN + number * NS_PER_MINUTE for number in range(1, 8)]
    assert [old[0] for old in pasts["AAPL", "1m"].bars] == ends[-4:]
    assert [old[0] for old in pasts["AAPL", "2m"].bars] == [ends[1], ends[3], ends[5]]
    assert [old[0] for old in pasts["AAPL", "2m"].minutes] == ends[-1:]
    assert min(one.ts_event for one in stored) == ends[-1] + NS_PER_MINUTE
