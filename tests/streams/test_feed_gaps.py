"""feed on a real nats-server: gaps as rows with how they were filled, and symbols whose bars stay away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.errors import UnreachableError
from engine.messages import Bar, Gap, Head, Message
from engine.values import AssetClass
from storage.writer import Writer
from streams.connection import Inflow
from streams.topology import Topology
from tests.engine.build import T0, bar, minute
from tests.streams.feeding import SYMBOLS, Source, StillClock, running


def _filled(symbol: str, since: int, until: int, bars: int) -> Gap:
    return Gap(symbol, "1m", minute(since), minute(until), "not connected", "history", bars)


async def test_each_reconnect_leaves_a_row_that_says_how_many_bars_came(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    async with running(nc, topology, clock) as wired:
        wired.venue.on_connected(SYMBOLS, ())
        await wired.idle()
        assert await wired.stored("market") == [], "the ledger opened this minute: nothing was missed"
        wired.venue.on_bars([bar(1.0, 1), bar(1.0, 1, "MSFT")], T0)
        wired.venue.on_disconnected(SYMBOLS)
        clock.ns = minute(4)
        wired.source.history = [bar(1.0, 2), bar(1.0, 3), bar(1.0, 4, "BTC/USD")]
        wired.venue.on_connected(("AAPL", "MSFT"), ())
        wired.venue.on_connected(("BTC/USD",), ())
        await wired.idle()
        gaps = [body for body in await wired.stored("market") if isinstance(body, Gap)]
        assert sorted(gaps, key=lambda gap: gap.symbol) == [
            _filled("AAPL", 1, 4, 2), _filled("BTC/USD", 0, 4, 1), _filled("MSFT", 1, 4, 0),
        ]  # fmt: skip
        status = wired.feed.status()
        assert (status.counters["gaps"], status.counters["bars"]) == (3, 5)
    async with running(nc, topology, clock, is_new=False) as wired:
        assert wired.feed.status().counters["gaps"] == 3, "also what was stored before it started"


async def test_a_feed_that_was_killed_says_what_it_missed(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    async with running(nc, topology, clock) as wired:
        wired.venue.on_bars([bar(1.0, number) for number in (1, 2)], T0)
        await wired.idle()
    clock.ns = minute(5)
    async with running(nc, topology, clock, is_new=False) as wired:
        wired.source.history = [bar(1.0, number) for number in range(1, 6)]
        wired.venue.on_connected(("AAPL",), ())
        await wired.idle()
        assert (await wired.stored("market"))[-1] == _filled("AAPL", 2, 5, 3)


class _Unreachable(Source):
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
        msg = "no answer after 4 tries"
        raise UnreachableError(msg)


async def test_a_gap_that_history_did_not_close_stays_one(
    nc: Inflow, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StillClock()
    monkeypatch.setattr("tests.streams.feeding.Source", _Unreachable)
    async with running(nc, topology, clock) as wired:
        clock.ns = minute(3)
        wired.venue.on_connected(("AAPL",), ())
        await wired.idle()
        assert await wired.stored("market") == [Gap("AAPL", "1m", T0, minute(3), "no answer after 4 tries")]


def test_the_recorder_keeps_gaps_with_how_they_were_filled(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    gaps = [_filled("AAPL", 1, 4, 2), Gap("MSFT", "1m", minute(1), minute(4), "timed out")]
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer:
        writer.write("s", 2, [Message(Head(1), gap) for gap in gaps])
        with writer.instance.reading() as cursor:
            rows = cursor.execute("SELECT symbol, reason, filled_by, bars FROM gaps ORDER BY symbol").fetchall()
    assert rows == [("AAPL", "not connected", "history", 2), ("MSFT", "timed out", "none", 0)]


async def test_a_symbol_whose_bars_stay_away_is_a_note_and_no_problem(nc: Inflow, topology: Topology) -> None:
    clock = StillClock()
    async with running(nc, topology, clock, feed={"symbol_silent_s_max": 300}) as wired:
        wired.venue.on_connected(SYMBOLS, ("AAPL", "BTC/USD"))
        for number in range(1, 7):
            clock.ns = minute(number)
            wired.venue.on_bars([bar(1.0, number)], T0)
            await wired.idle()
            # Crypto has one symbol here: there are no others to compare it with.
            expected = ["bars stay away while others come: 1 (MSFT)"] if number == 6 else []
            assert wired.feed.status().notes == expected
        assert wired.feed.status().problems == []
        clock.ns = minute(500)  # after the close nothing is due
        assert wired.feed.status().notes == []
