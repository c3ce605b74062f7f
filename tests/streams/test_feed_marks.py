"""feed on a real nats-server: marks and halts on the trading stream, each once, before the bars they belong to."""

from __future__ import annotations

from decimal import Decimal

from engine.halts import BANDS, HALTS
from engine.marks import MarkCore
from engine.messages import Alert, Bar, Mark, SymbolStatus, TradingState
from engine.ports import Quote, Trade
from engine.values import NS_PER_MS, NS_PER_S, AssetClass
from streams.connection import Inflow
from streams.topology import Topology
from tests.engine.build import T0, bar, minute
from tests.streams.feeding import SYMBOLS, StillClock, Wired, running
from tests.streams.wire import until

D = Decimal


def at(seconds: float) -> int:
    return T0 + int(seconds * NS_PER_S)


def _minute(symbol: str = "AAPL") -> list[Trade | Quote]:
    """A minute's ticks as the local exchange makes them."""
    path = ((0, 100.0), (20, 99.0), (40, 101.0), (59, 100.5))
    return [
        tick
        for second, px in path
        for tick in (Quote(symbol, at(second), px - 1, px + 1), Trade(symbol, at(second), px))
    ]


def _marks(bodies: list[object]) -> list[Mark]:
    return [body for body in bodies if isinstance(body, Mark)]


class _Passed:
    """Remembers the points passed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def hit(self, name: str) -> None:
        self.names.append(name)


async def _connected(wired: Wired) -> None:
    assert wired.source.asked == (SYMBOLS, ("AAPL", "BTC/USD"))
    wired.venue.on_connected(("AAPL", "MSFT"), ("AAPL",))
    wired.venue.on_connected(("BTC/USD",), ("BTC/USD",))
    await wired.idle()


async def test_a_minute_of_ticks_becomes_marks_before_its_bar(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    passed = _Passed()
    async with running(nc, topology, clock, points=passed) as wired:
        await _connected(wired)
        ticks = _minute()
        ticks.append(Trade("AAPL", at(59.1), 100.45))  # waits for the bar
        clock.ns = minute(1)
        wired.venue.on_ticks(ticks[:3], T0)
        wired.venue.on_ticks(ticks[3:], T0)
        wired.venue.on_bars([bar(100.5, 1)], T0)
        await until(lambda: wired.feed.status().counters["bars"] == 1, "the bar is stored")
        told = _marks(await wired.stored("trading"))
        assert [(mark.last_px, mark.low_px, mark.bid_px, mark.ask_px) for mark in told] == [
            (D("100.0"), D("100.0"), D("99.0"), D("101.0")),
            (D("99.0"), D("99.0"), D("98.0"), D("100.0")),
            (D("101.0"), D("101.0"), D("100.0"), D("102.0")),
            (D("100.5"), D("100.5"), D("99.5"), D("101.5")),
            (D("100.45"), D("100.45"), D("99.5"), D("101.5")),
        ]
        assert all(a.ts_event == b.ts_from for a, b in zip(told, told[1:], strict=False))
        assert [type(body) for body in await wired.stored("market")] == [Bar]
        # The last mark was stored before the bar was sent.
        assert passed.names[-3:] == ["feed.after_tell", "feed.before_publish", "feed.after_publish"]
        assert passed.names.count("feed.before_tell") == passed.names.count("feed.after_tell")
        js, names = wired.context.js, wired.context.topology
        status = wired.feed.status()
        assert (status.counters["marks"], status.counters["unmarked"], status.problems) == (5, 0, [])
        assert status.published[names.trading] == (await js.stream_info(names.trading)).state.last_seq


async def test_how_frames_are_cut_changes_no_mark(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    clock.ns = minute(1)
    ticks = sorted(_minute() + _minute("BTC/USD"), key=lambda tick: tick.ts_event)
    stocks, coins = ([t for t in ticks if ("/" in t.symbol) is coin] for coin in (False, True))
    async with running(nc, topology, clock) as wired:
        await _connected(wired)
        for tick in stocks:
            wired.venue.on_ticks([tick], T0)
        wired.venue.on_ticks(coins, T0)
        await wired.idle()
        one_by_one = _marks(await wired.stored("trading"))
    async with running(nc, topology, clock, is_new=False) as wired:
        await _connected(wired)
        wired.venue.on_ticks(stocks, T0)
        wired.venue.on_ticks(coins, T0)
        await wired.idle()
        assert wired.feed.status().counters["marks"] == 0, "a restarted feed that hears it again says nothing"
        assert _marks(await wired.stored("trading")) == one_by_one
    assert [mark.symbol for mark in one_by_one] == ["AAPL"] * 4 + ["BTC/USD"] * 4


class Killed(BaseException):
    """What a process that is killed does not get to say."""


class _KillAt:
    def __init__(self, name: str, passing: int) -> None:
        self._name, self._left = name, passing

    def hit(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                raise Killed


async def test_killed_before_and_after_storing_every_trade_is_in_one_mark_at_most(
    nc: Inflow, topology: Topology
) -> None:
    clock = StillClock()
    clock.ns = minute(5)
    ticks = [Trade("AAPL", at(second), 100.0 + second) for second in range(60)]
    is_new, sent = True, 0
    for point, passing in (("feed.before_tell", 2), ("feed.after_tell", 1), ("feed.after_tell", 3), ("", 0)):
        async with running(nc, topology, clock, points=_KillAt(point, passing), is_new=is_new) as wired:
            await _connected(wired)
            is_new = False
            for tick in ticks[max(0, sent - 3) : sent + 15]:  # the last ones again, as a venue that repeats would
                wired.venue.on_ticks([tick], T0)
                await until(lambda: wired.failure is not None or wired.feed.status().busy == 0, "idle, or killed")
            sent += 15
            told = _marks(await wired.stored("trading"))
    assert len({mark.ts_event for mark in told}) == len(told) >= 20
    assert all(a.ts_event <= b.ts_from < b.ts_event for a, b in zip(told, told[1:], strict=False))
    for tick in ticks:
        assert sum(mark.ts_from < tick.ts_event <= mark.ts_event for mark in told) <= 1
    assert {mark.last_px for mark in told} <= {D(str(tick.px)) for tick in ticks}


async def test_killed_between_the_ticks_of_a_minute_it_makes_the_same_marks(nc: Inflow, topology: Topology) -> None:
    """What it missed is fetched, before the bars of the time away; the rest comes live."""
    clock = StillClock()
    ticks = [*_minute(), Trade("AAPL", at(59.1), 100.45)]
    alone = MarkCore(["AAPL"], 250, 0.002, {})
    expected = [mark for tick in ticks for mark in alone.on_tick(tick)] + alone.on_time(AssetClass.US_EQUITY, minute(1))
    assert len(expected) == 5
    async with running(nc, topology, clock) as wired:
        await _connected(wired)
        wired.venue.on_ticks(ticks[:5], T0)
        await wired.idle()
        assert _marks(await wired.stored("trading")) == expected[:2]
    clock.ns = minute(1)
    passed = _Passed()
    async with running(nc, topology, clock, points=passed, is_new=False) as wired:
        wired.source.past = ticks
        wired.source.history = [bar(100.5, 1)]
        await _connected(wired)
        assert _marks(await wired.stored("trading")) == expected[:4]
        assert passed.names[0] == "feed.before_tell", "marks come before the bars they belong to"
        wired.venue.on_bars([bar(100.6, 2)], T0)
        await until(lambda: wired.feed.status().counters["bars"] == 2, "both bars")
        assert _marks(await wired.stored("trading")) == expected


async def test_a_lost_connection_ends_the_span_and_names_the_stream(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    clock.ns = minute(1)
    async with running(nc, topology, clock) as wired:
        assert sorted(wired.feed.status().problems) == [
            "not connected to the venue's market data: crypto",
            "not connected to the venue's market data: stocks",
        ]
        await _connected(wired)
        wired.venue.on_ticks([Trade("AAPL", at(1), 100.0), Trade("AAPL", at(1.1), 100.1)], T0)
        wired.venue.on_disconnected(("AAPL", "MSFT"))
        await wired.idle()
        status = wired.feed.status()
        assert status.counters["unmarked"] == 1
        assert status.problems == [
            "not connected to the venue's market data: stocks",
            "no trades and quotes, so no marks, of 1 (AAPL)",
        ]
        wired.venue.on_connected(("AAPL", "MSFT"), ("AAPL",))
        wired.venue.on_ticks([Trade("AAPL", at(9), 100.0)], T0)
        await wired.idle()
        assert wired.feed.status().problems == []
        told = _marks(await wired.stored("trading"))
    assert [(mark.ts_from, mark.ts_event) for mark in told] == [
        (at(1) - 1, at(1)), (at(1), at(1.1)), (at(1.1), at(9)),
    ]  # fmt: skip


async def test_ticks_that_cannot_be_had_leave_a_hole_and_a_word(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    clock.ns = minute(1)
    async with running(nc, topology, clock) as wired:
        await _connected(wired)
        wired.venue.on_ticks([Quote("AAPL", at(1), 99.0, 101.0), Trade("AAPL", at(1), 100.0)], T0)
        wired.venue.on_disconnected(("AAPL", "MSFT"))
        wired.source.past = None
        wired.venue.on_connected(("AAPL", "MSFT"), ("AAPL",))
        wired.venue.on_ticks([Trade("AAPL", at(9), 100.0)], T0)
        await wired.idle()
        bodies = await wired.stored("trading")
    told = _marks(bodies)
    assert [(mark.ts_from, mark.ts_event, mark.bid_px) for mark in told] == [
        (at(1) - 1, at(1), D("99.0")), (at(9) - 1, at(9), None),
    ]  # fmt: skip
    (alert,) = [body for body in bodies if isinstance(body, Alert)]
    assert (alert.level, alert.what) == ("warning", "trades and quotes of the time away did not come: by hand")


async def test_a_trade_of_the_future_is_left_out_and_said(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    async with running(nc, topology, clock) as wired:
        await _connected(wired)
        ticks = [Trade("AAPL", at(61), 1.0), Trade("AAPL", at(60), 100.0)]
        wired.venue.on_ticks(ticks, T0)
        await wired.idle()
        bodies = await wired.stored("trading")
        assert [mark.last_px for mark in _marks(bodies)] == [D("100.0")]
        (alert,) = [body for body in bodies if isinstance(body, Alert)]
        assert alert.what == f"a trade or quote of AAPL is of the future ({at(61)} ns)"
        assert wired.feed.status().problems == [f"error: {alert.what}"]


def _halt(seconds: float, *, is_halted: bool = True) -> SymbolStatus:
    return SymbolStatus("AAPL", HALTS, "T1", at(seconds), is_halted=is_halted)


async def test_halts_and_bands_are_stored_when_they_change_and_known_after_a_kill(
    nc: Inflow, topology: Topology
) -> None:
    clock = StillClock()
    bands = SymbolStatus("MSFT", BANDS, "price bands", at(1), low_px=D(95), high_px=D(105))
    async with running(nc, topology, clock) as wired:
        await _connected(wired)
        wired.venue.on_statuses([_halt(5), bands], T0)
        wired.venue.on_statuses([_halt(6), bands], T0)
        await wired.idle()
        assert wired.feed.status().notes == ["halted: 1 (AAPL)"]
        assert await wired.stored("trading") == [_halt(5), bands]
        wired.venue.on_disconnected(SYMBOLS)
    async with running(nc, topology, clock, is_new=False) as wired:
        await _connected(wired)
        assert wired.feed.status().notes == ["halted: 1 (AAPL)"]
        wired.venue.on_statuses([_halt(7), bands], T0)
        clock.ns = minute(2)
        wired.venue.on_bars([bar(1.0, 1)], T0)
        await wired.idle()
        assert await wired.stored("trading") == [_halt(5), bands], "the bar began before the halt"
        wired.venue.on_bars([bar(1.0, 2)], T0)
        await wired.idle()
        assert wired.feed.status().notes == []
        ended = (await wired.stored("trading"))[-1]
        assert isinstance(ended, SymbolStatus)
        assert (ended.is_halted, ended.ts_event) == (False, minute(2))


async def test_no_symbol_with_stops_no_marks(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    bots = [{"name": "b", "strategy": "rsi", "symbols": ["AAPL"], "capital": "1"}]
    async with running(nc, topology, clock, bots=bots) as wired:
        assert wired.source.asked == (("AAPL",), ())
        wired.venue.on_connected(("AAPL",), ())
        wired.venue.on_ticks([Trade("AAPL", T0 + NS_PER_MS, 1.0)], T0)
        await wired.idle()
        assert await wired.stored("trading") == []
        assert wired.feed.status().problems == []
        assert TradingState not in {type(body) for body in await wired.stored("trading")}
