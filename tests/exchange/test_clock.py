"""The clock of whoever works with a local exchange: when it asks, when it waits for the answer, and when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

import adapters.clock
from adapters.clock import VenueClock
from engine.errors import UnreachableError

SPEED = 60.0


class Venue:
    """A control URL whose time is set by hand; it answers while `gate` is set."""

    def __init__(self) -> None:
        self.venue_ns = 1_000_000_000_000
        self.running = True
        self.speed: float | str = SPEED
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.runner: web.AppRunner | None = None

    async def stop(self) -> None:
        self.gate.set()
        if self.runner is not None:
            await self.runner.cleanup()

    async def clock(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.gate.wait()
        return web.json_response({"venue_ns": self.venue_ns, "speed": self.speed, "running": self.running})


class Monotonic:
    """Our own time, set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    time = Monotonic()
    monkeypatch.setattr(adapters.clock, "time", time)
    return time


@asynccontextmanager
async def _clock(venue: Venue) -> AsyncIterator[VenueClock]:
    app = web.Application()
    app.add_routes([web.get("/control/clock", venue.clock)])
    venue.runner = runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    clock = VenueClock(f"http://127.0.0.1:{runner.addresses[0][1]}/control")
    try:
        yield clock
    finally:
        await clock.close()
        await venue.stop()


async def _asked(venue: Venue, times: int) -> None:
    async with asyncio.timeout(5):
        while venue.asked < times:
            await asyncio.sleep(0.001)


async def test_a_reading_is_carried_forward_and_fetched_anew_without_waiting(ours: Monotonic) -> None:
    venue = Venue()
    async with _clock(venue) as clock:
        assert await clock.now_ns() == venue.venue_ns
        ours.now += 0.125
        assert await clock.now_ns() == venue.venue_ns + 7_500_000_000
        assert venue.asked == 1
        venue.gate.clear()  # whoever waited for an answer now would not come back
        ours.now += 0.0625
        assert await clock.now_ns() == venue.venue_ns + 11_250_000_000
        await _asked(venue, 2)
        assert await clock.now_ns() == venue.venue_ns + 11_250_000_000
        assert venue.asked == 2  # one request at a time
        venue.venue_ns += 3_600_000_000_000
        venue.gate.set()
        async with asyncio.timeout(5):
            while await clock.now_ns() < venue.venue_ns:
                await asyncio.sleep(0.001)
        assert await clock.now_ns() == venue.venue_ns
        assert venue.asked == 2


async def test_an_old_reading_is_waited_for_and_a_venue_that_is_gone_is_told(ours: Monotonic) -> None:
    venue = Venue()
    async with _clock(venue) as clock:
        await clock.now_ns()
        ours.now += 0.3
        venue.venue_ns += 3_600_000_000_000  # the night was left out
        assert await clock.now_ns() == venue.venue_ns
        assert venue.asked == 2
        await venue.stop()
        ours.now += 0.1875
        assert await clock.now_ns() == venue.venue_ns + 11_250_000_000  # the one fetched meanwhile fails alone
        ours.now += 0.2
        with pytest.raises(UnreachableError, match="does not answer"):
            await clock.now_ns()


@pytest.mark.parametrize(("speed", "running"), [("max", True), (SPEED, False)])
async def test_time_that_stands_still_is_asked_for_every_time(
    ours: Monotonic, speed: float | str, running: bool
) -> None:
    venue = Venue()
    venue.speed, venue.running = speed, running
    async with _clock(venue) as clock:
        for number in range(1, 4):
            venue.venue_ns += 60_000_000_000
            ours.now += 0.2
            assert await clock.now_ns() == venue.venue_ns
            assert venue.asked == number
