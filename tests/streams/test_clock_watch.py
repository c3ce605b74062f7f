"""The watch of the clock on a real nats-server: it makes trading REDUCING once, and never laxer than it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from engine.errors import UnreachableError
from engine.messages import Alert, Command, Head, TradingState, encode
from engine.ports import ClockOffset
from engine.values import TradingMode
from streams.connection import Inflow
from streams.feeding.watching import ClockWatch
from streams.role import Context, NoPoints
from streams.subjects import state_subject
from streams.topology import Topology
from tests.engine.build import T0
from tests.streams.feeding import StillClock, running, settings_of
from tests.streams.wire import until

MS = 10**6
FAST, GOOD = ClockOffset(3_000 * MS, 40 * MS), ClockOffset(20 * MS, 40 * MS)


class Venue:
    """A venue's clock by hand."""

    def __init__(self, *offsets: ClockOffset | str) -> None:
        self.offsets = list(offsets)
        self.asked = 0

    def offset(self) -> ClockOffset:
        self.asked += 1
        found = self.offsets.pop(0) if len(self.offsets) > 1 else self.offsets[0]
        if isinstance(found, str):
            raise UnreachableError(found)
        return found


class Desk:
    """The watch, what it reports, and a risk that says its mode as long as it is told to."""

    def __init__(self, nc: Inflow, topology: Topology, *offsets: ClockOffset | str) -> None:
        js = nc.jetstream(timeout=5)
        settings = settings_of(topology, daemon={"clock_offset_ms_max": 1000})
        clock = StillClock()
        self.context = Context("feed", settings, topology, nc, nc, js, clock, lambda: T0, NoPoints(), [])
        self.context.account, self.context.run = "ACC1", "run1"
        self.said: list[tuple[str, str]] = []
        self.venue = Venue(*offsets)
        self.watch = ClockWatch(self.context, self.venue, lambda level, what: self.said.append((level, what)))

    @contextlib.asynccontextmanager
    async def risk(self, mode: TradingMode) -> AsyncIterator[None]:
        """Say the mode ten times a second, as risk does twice."""

        async def say() -> None:
            while True:
                data = msgspec.json.encode(TradingState(mode, "", "", 0))
                await self.context.nc.publish(state_subject(self.context.topology.prefix), data)
                await asyncio.sleep(0.1)

        task = asyncio.create_task(say())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def command(self, mode: TradingMode, name: str) -> None:
        """A person commands."""
        body = Command(name, mode, "because", "ada", T0)
        await self.context.js.publish(f"{self.context.topology.prefix}.commands", encode(Head(1), body))

    async def commands(self) -> list[tuple[str, TradingMode]]:
        js, topology = self.context.js, self.context.topology
        last = (await js.stream_info(topology.trading)).state.last_seq
        found: list[tuple[str, TradingMode]] = []
        for seq in range(1, last + 1):
            body = msgspec.json.decode((await js.get_msg(topology.trading, seq, direct=True)).data or b"")["body"]
            if body["type"] == "Command":
                found.append((body["by"], TradingMode(body["mode"])))
        return found


OURS = ("feed", TradingMode.REDUCING)


async def test_a_wrong_clock_makes_trading_reducing_once(nc: Inflow, topology: Topology) -> None:
    desk = Desk(nc, topology, FAST)
    async with desk.risk(TradingMode.ACTIVE):
        assert await desk.watch.look()
        assert await desk.watch.look()
    assert await desk.commands() == [OURS]
    what = (
        "this machine's clock is 3.000 s ahead of the venue's (+-0.040 s), limit 1000 ms: "
        "set it (timedatectl set-ntp true)"
    )
    assert desk.said == [("critical", what)]
    assert (desk.watch.problem, desk.watch.note) == (what, "clock 3.000 s ahead of the venue's (+-0.040 s)")


async def test_a_good_clock_and_a_mute_venue_change_nothing(nc: Inflow, topology: Topology) -> None:
    desk = Desk(nc, topology, GOOD, "no answer", ClockOffset(-1_400 * MS, 500 * MS))
    async with desk.risk(TradingMode.ACTIVE):
        for note in ("clock 0.020 s ahead", "clock not compared: no answer", "clock 1.400 s behind"):
            assert await desk.watch.look()
            assert desk.watch.note.startswith(note)
    assert (await desk.commands(), desk.said, desk.watch.problem) == ([], [], "")


async def test_a_clock_that_agrees_again_is_said_and_a_person_decides(nc: Inflow, topology: Topology) -> None:
    desk = Desk(nc, topology, FAST, GOOD, GOOD, FAST)
    async with desk.risk(TradingMode.ACTIVE):
        await desk.watch.look()
        await desk.watch.look()
        await desk.watch.look()
        assert [level for level, _ in desk.said] == ["critical", "info"]
        assert desk.watch.problem == ""
        assert await desk.commands() == [OURS]
        # Resumed by a person, and wrong again: then it counts again.
        await desk.command(TradingMode.ACTIVE, "r1")
        await desk.watch.look()
    assert await desk.commands() == [OURS, ("ada", TradingMode.ACTIVE), OURS]


@pytest.mark.parametrize("mode", [TradingMode.REDUCING, TradingMode.HALTED])
async def test_a_stricter_mode_is_not_touched(nc: Inflow, topology: Topology, mode: TradingMode) -> None:
    desk = Desk(nc, topology, FAST)
    async with desk.risk(mode):  # latched by a rule: no command says so
        assert await desk.watch.look()
    await desk.command(mode, "h1")
    async with desk.risk(TradingMode.ACTIVE):  # risk has not obeyed yet
        assert await desk.watch.look()
    assert await desk.commands() == [("ada", mode)]


async def test_a_halt_that_comes_in_between_is_not_undone(nc: Inflow, topology: Topology) -> None:
    """The halt is stored after the watch has heard the old mode, right before it stores its command."""
    desk = Desk(nc, topology, FAST)
    halts = 0

    class HaltedMeanwhile(StillClock):
        async def now_ns(self) -> int:
            nonlocal halts
            halts += 1
            await desk.command(TradingMode.HALTED, "h1")
            return T0

    desk.context.clock = HaltedMeanwhile()
    async with desk.risk(TradingMode.ACTIVE):
        assert await desk.watch.look()
    assert halts == 1
    assert await desk.commands() == [("ada", TradingMode.HALTED)]


async def test_while_risk_says_nothing_the_watch_tries_again_soon(
    nc: Inflow, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.reducing._MODE_S_MAX", 0.05)
    desk = Desk(nc, topology, FAST)
    assert not await desk.watch.look()
    assert await desk.commands() == []
    monkeypatch.setattr("streams.reducing._MODE_S_MAX", 5.0)
    async with desk.risk(TradingMode.ACTIVE):
        assert await desk.watch.look()
    assert await desk.commands() == [OURS]


async def test_killed_after_storing_the_command_it_is_stored_once(nc: Inflow, topology: Topology) -> None:
    desk = Desk(nc, topology, FAST)
    async with desk.risk(TradingMode.ACTIVE):
        await desk.watch.look()
        again = Desk(nc, topology, FAST)
        assert await again.watch.look()
        assert again.watch.problem
    assert await desk.commands() == [OURS]


async def test_the_feed_shows_and_alerts(nc: Inflow, topology: Topology) -> None:
    desk = Desk(nc, topology, FAST)
    async with (
        desk.risk(TradingMode.ACTIVE),
        running(nc, topology, StillClock(), venue_time=Venue(FAST), daemon={"clock_every_s": 0.05}) as wired,
    ):
        await until(lambda: bool(wired.feed.status().notes), "compared")
        wired.venue.on_connected(wired.context.settings.symbols, wired.context.settings.marked_symbols)

        async def commanded() -> bool:
            return await desk.commands() == [OURS]

        await until(commanded, "trading is reducing")
        await wired.idle()
        status = wired.feed.status()
        assert [problem[:27] for problem in status.problems] == ["this machine's clock is 3.0"]
        assert status.notes == ["clock 3.000 s ahead of the venue's (+-0.040 s)"]
        (alert,) = [body for body in await wired.stored("trading") if isinstance(body, Alert)]
        assert (alert.level, alert.role) == ("critical", "feed")
