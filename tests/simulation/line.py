"""A socket of the simulated venue: in order unless something is late, and what is sent while it is down is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.simulation.faults import Faults
from tests.simulation.loop import OWNER, SimLoop


class Line:
    """One connection, made again and again.

    Args:
        loop: Virtual time.
        faults: Latency, lateness, how long it stays down.
    """

    def __init__(self, loop: SimLoop, faults: Faults) -> None:
        self._loop = loop
        self._faults = faults
        self._listener: Any = None
        self._connection = 0
        self._free_at = 0.0
        self._down = asyncio.Event()
        self._hears: tuple[Any, ...] = ()

    async def run(self, *hears: Any) -> None:
        """Be connected again and again; the last of `hears` is the listener."""
        faults = self._faults
        assert OWNER.get() is not None
        *first, listener = hears
        down = self._down = asyncio.Event()
        try:
            while True:
                draw = faults.draw
                longest = draw.choice((1.0, 1.0, 20.0, 70.0)) if faults.is_disturbed else 1.0
                await asyncio.sleep(draw.uniform(0.1, longest))
                down.clear()
                self._connection += 1
                self._listener = listener
                listener.on_connected(*first)
                await down.wait()
                self._listener = None
                listener.on_disconnected(*first[:1])
        finally:
            if self._down is down:
                self._listener = None

    def tell(self, give: Callable[[Any], None]) -> None:
        """Say something at once to whoever is connected."""
        if self._listener is not None:
            give(self._listener)

    async def follow(self, *hears: Any) -> None:
        """Nothing new is wanted here."""

    async def stop(self) -> None:
        self.cut()

    def cut(self) -> None:
        """Lose the connection."""
        self._connection += 1
        self._down.set()

    def send(self, lateness: str, give: Callable[[Any], None]) -> bool:
        """Send something; whether it stays in order."""
        loop, faults, connection = self._loop, self._faults, self._connection
        when = max(self._free_at, loop.now + faults.latency())
        is_late = faults.hits(lateness)
        if is_late:
            when += faults.draw.uniform(0.1, 100.0)
        else:
            self._free_at = when

        def arrive() -> None:
            if self._listener is not None and connection == self._connection:
                give(self._listener)

        loop.call_at(when, arrive)
        return not is_late
