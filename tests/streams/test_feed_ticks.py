"""Trades that bots look at one by one: published by feed once and in order, over restarts, for as long as a bot wants them."""

from __future__ import annotations

from engine.bots import BotStatus
from engine.messages import BotDefined, Head, Ticks, encode
from engine.ports import Quote, Trade
from streams.connection import Inflow
from streams.subjects import subject_of
from streams.topology import Topology
from tests.engine import build
from tests.engine.build import T0, bar
from tests.streams.feeding import StillClock, Wired, running
from tests.streams.wire import until

S = 1_000_000_000
BOTS = [
    {"name": "t", "strategy": "rsi", "symbols": ["AAPL"], "capital": "1", "trading_frequency": "every_tick"},
    {"name": "b", "strategy": "rsi", "symbols": ["MSFT"], "capital": "1", "stops": {"stop_loss": 0.1}},
]


async def _ticks(wired: Wired) -> list[tuple[str, tuple[tuple[int, float, float], ...]]]:
    return [(body.symbol, body.trades) for body in await wired.stored("market") if isinstance(body, Ticks)]


async def test_trades_of_tick_bots_are_stored_once_before_the_bar_they_belong_to(
    nc: Inflow, topology: Topology
) -> None:
    clock = StillClock()
    clock.ns = T0 + 60 * S
    async with running(nc, topology, clock, bots=BOTS) as wired:
        assert wired.source.asked == (("AAPL", "MSFT"), ("AAPL", "MSFT"))
        wired.venue.on_connected(["AAPL", "MSFT"], ["AAPL", "MSFT"])
        frame = [Trade("AAPL", T0 + S, 10.0, 5.0), Quote("AAPL", T0 + S, 9.0, 11.0), Trade("MSFT", T0 + S, 20.0, 1.0)]
        wired.venue.on_ticks(frame, T0)
        wired.venue.on_ticks(frame, T0)
        wired.venue.on_ticks([Trade("AAPL", T0 + 2 * S, 11.0, 6.0), Trade("AAPL", T0 + 2 * S, 12.0, 7.0)], T0)
        wired.venue.on_bars([bar(12.0, 1)], T0)
        await until(lambda: wired.feed.status().counters["bars"] == 1, "the bar is stored")
        expected = [("AAPL", ((T0 + S, 10.0, 5.0),)), ("AAPL", ((T0 + 2 * S, 11.0, 6.0), (T0 + 2 * S, 12.0, 7.0)))]
        assert await _ticks(wired) == expected
        names = [type(body).__name__ for body in await wired.stored("market")]
        assert [name for name in names if name != "Gap"] == ["Ticks", "Ticks", "Bar"]
        counters = wired.feed.status().counters
        assert (counters["ticks"], counters["bars"]) == (2, 1)
    async with running(nc, topology, clock, bots=BOTS, is_new=False) as wired:
        assert wired.feed.status().counters["ticks"] == 2
        wired.venue.on_connected(["AAPL", "MSFT"], ["AAPL", "MSFT"])
        wired.venue.on_ticks([Trade("AAPL", T0 + 2 * S, 12.0, 7.0), Trade("AAPL", T0 + 3 * S, 13.0, 8.0)], T0)
        await until(lambda: wired.feed.status().counters["ticks"] == 3, "the new one is stored")
        assert await _ticks(wired) == [*expected, ("AAPL", ((T0 + 3 * S, 13.0, 8.0),))]
        # The bot goes: its trades are not published any more, and those of one that comes are.
        for name, symbol, status in (("t", "AAPL", BotStatus.REMOVED), ("n", "MSFT", BotStatus.RUNNING)):
            of = build.bot(name=name, symbols=(symbol,), trading_frequency="every_tick")
            defined = BotDefined(name, 1, of, status, 0, "me", name, T0)
            await nc.jetstream(timeout=5).publish(subject_of(topology.prefix, defined), encode(Head(1), defined))
        await until(lambda: wired.feed.status().counters["revisions"] == 2, "heard of both")
        await wired.idle()
        wired.venue.on_ticks([Trade(name, T0 + 4 * S, 14.0, 9.0) for name in ("AAPL", "MSFT")], T0)
        await until(lambda: wired.feed.status().counters["ticks"] == 4, "that of the new bot is stored")
        await wired.idle()
        assert (await _ticks(wired))[-1] == ("MSFT", ((T0 + 4 * S, 14.0, 9.0),))


async def test_quotes_of_bots_that_want_them_are_stored_where_they_move(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    clock.ns = T0 + 60 * S
    bots = [{**BOTS[0], "trading_frequency": "every_bar", "timeframe": "5s"}, BOTS[1]]
    async with running(nc, topology, clock, bots=bots) as wired:
        wired.venue.on_connected(["AAPL", "MSFT"], ["AAPL", "MSFT"])
        quotes = [Quote("AAPL", T0 + n * S, 9.0, 11.0 + n // 2) for n in (1, 2, 3)]
        wired.venue.on_ticks([*quotes, Quote("MSFT", T0 + S, 1.0, 2.0), Trade("AAPL", T0 + 3 * S, 10.0, 5.0)], T0)
        wired.venue.on_ticks(quotes, T0)
        await until(lambda: wired.feed.status().counters["ticks"] == 1, "the frame is stored")
        await wired.idle()
        [body] = [body for body in await wired.stored("market") if isinstance(body, Ticks)]
        assert body.quotes == ((T0 + S, 9.0, 11.0), (T0 + 2 * S, 9.0, 12.0))
        assert (body.trades, body.ts_event) == (((T0 + 3 * S, 10.0, 5.0),), T0 + 3 * S)


async def test_a_trade_of_the_future_is_said_and_not_published(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    async with running(nc, topology, clock, bots=BOTS) as wired:
        wired.venue.on_connected(["AAPL", "MSFT"], ["AAPL", "MSFT"])
        wired.venue.on_ticks([Trade("AAPL", T0 + 10**15, 10.0, 5.0), Trade("AAPL", T0 + S, 10.0, 5.0)], T0)
        await until(lambda: wired.feed.status().counters["ticks"] == 1, "the other one is stored")
        assert await _ticks(wired) == [("AAPL", ((T0 + S, 10.0, 5.0),))]
