"""Clocks: the wall, and the virtual time of a local exchange read from its control URL.

Which one a process gets is decided once, in the composition root. Nothing else in Tapeline reads a clock to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import msgspec

from engine.errors import UnreachableError

if TYPE_CHECKING:
    import aiohttp

_AHEAD_S = 0.15
_FRESH_S = 0.25
_TIMEOUT_S = 5.0


def wall_ns() -> int:
    """Wall clock, ns UTC: for heads and latencies, and as the venue's time where the venue is real."""
    return time.time_ns()


class WallClock:
    """The venue lives in our time."""

    async def now_ns(self) -> int:
        """Wall clock, ns UTC."""
        return time.time_ns()

    def estimate_ns(self) -> int:
        """Wall clock, ns UTC."""
        return time.time_ns()

    def look_s(self, every_s: float) -> float | None:
        """As given: this time goes on."""
        return every_s

    def observe(self, ts_event: int) -> None:
        """Ignore: a bar from the future must show as clock skew, not move the clock."""

    async def close(self) -> None:
        """Nothing to close."""


class _Reading(msgspec.Struct, frozen=True):
    venue_ns: int
    speed: float | str
    running: bool


class VenueClock:
    """The virtual time of a local exchange.

    Lock-step: every reading asks, because time stands still between two steps. Timed: a reading is carried forward by
    monotonic time and speed, and never behind an event the venue has shown. It counts for 0.25 s; who asks when it is
    older than 0.15 s is answered at once and has the next one fetched meanwhile, so that steady work never waits.

    Args:
        control_url: The exchange's control URL.
    """

    def __init__(self, control_url: str) -> None:
        self._url = f"{control_url}/clock"
        self._session: aiohttp.ClientSession | None = None
        self._reading = _Reading(0, 0.0, running=False)
        self._read_at = -1e9
        self._seen = 0
        self._asking: asyncio.Task[None] | None = None

    async def now_ns(self) -> int:
        """Venue time, ns UTC. Raises UnreachableError when the exchange does not answer."""
        age_s = time.monotonic() - self._read_at
        if isinstance(self._reading.speed, str) or not self._reading.running or age_s > _FRESH_S:
            await self._ask()
        elif age_s > _AHEAD_S and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask_ahead())
        return self.estimate_ns()

    def estimate_ns(self) -> int:
        """Venue time as of the last reading, carried forward."""
        speed = self._reading.speed
        now = self._reading.venue_ns
        if self._reading.running and not isinstance(speed, str):
            now += int((time.monotonic() - self._read_at) * speed * 1e9)
        return max(now, self._seen)

    def look_s(self, every_s: float) -> float | None:
        """As given; None when the last reading was of an exchange in lock-step, or there was none yet."""
        return None if isinstance(self._reading.speed, str) or self._read_at < 0 else every_s

    def observe(self, ts_event: int) -> None:
        """Learn that the venue has reached `ts_event`."""
        self._seen = max(self._seen, ts_event)

    async def close(self) -> None:
        """Close the connection."""
        if self._asking is not None:
            self._asking.cancel()
        if self._session is not None:
            await self._session.close()

    async def _ask_ahead(self) -> None:
        with contextlib.suppress(UnreachableError):  # whoever asks next, too late for this, is told
            await self._ask()

    async def _ask(self) -> None:
        import aiohttp  # noqa: PLC0415  (0.2 s that a command in a hurry has no use for)

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        try:
            async with self._session.get(self._url) as response:
                reading = msgspec.json.decode(await response.read(), type=_Reading)
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError) as err:
            msg = f"the exchange's clock at {self._url} does not answer ({str(err) or type(err).__name__})"
            raise UnreachableError(msg) from None
        self._reading, self._read_at = reading, time.monotonic()
