"""Compares this machine's clock with the venue's now and then; a clock that is wrong by too much stops new positions.

Ages, sessions and lives of orders are reckoned by this clock. Beyond the limit: a problem in the status, an alert, and
a stored command that makes trading REDUCING (streams.reducing). Only a person's `tapeline resume` ends it.
Called by streams/services/feed, where the composition root gave it a venue's clock: a virtual one has no offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from nats.errors import Error as NatsError

from engine.errors import TapelineError
from engine.offsets import is_beyond, words
from engine.ports import VenueTime
from streams.reducing import reduce
from streams.role import Context

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_AGAIN_S = 10.0


class ClockWatch:
    """The watch of one feed.

    Args:
        context: The role's.
        venue_time: The clock that counts.
        report: Takes level and text of what a person should see.

    Attributes:
        problem: What is wrong; empty while the clocks agree.
        note: What was found last.
    """

    def __init__(self, context: Context, venue_time: VenueTime, report: Callable[[str, str], None]) -> None:
        self._context = context
        self._settings = context.settings.daemon
        self._venue_time = venue_time
        self._report = report
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="clock")
        self.problem = ""
        self.note = ""

    async def run(self) -> None:
        """Look again and again until canceled."""
        every_s = self._settings.clock_every_s
        while True:
            is_done = await self.look()
            await asyncio.sleep(every_s if is_done else min(every_s, _AGAIN_S))

    def close(self) -> None:
        """Give up the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def look(self) -> bool:
        """Compare once, and do what follows; give whether there is nothing left to do."""
        try:
            offset = await asyncio.get_running_loop().run_in_executor(self._pool, self._venue_time.offset)
        except TapelineError as err:
            self.note = f"clock not compared: {err}"
            log.warning("clock not compared", error=str(err))
            return True
        self.note = f"clock {words(offset)}"
        was = self.problem
        if not is_beyond(offset, self._settings.clock_offset_ms_max):
            self.problem = ""
            if was:
                self._report(
                    "info", f"this machine's clock agrees again: {words(offset)}; `tapeline resume` when ready"
                )
            return True
        limit = f"limit {self._settings.clock_offset_ms_max} ms"
        self.problem = f"this machine's clock is {words(offset)}, {limit}: set it (timedatectl set-ntp true)"
        if not was:
            self._report("critical", self.problem)
        try:
            return await reduce(self._context, self.problem, "clock", "feed")
        except (NatsError, OSError, TimeoutError) as err:
            log.warning("trading is not made reducing yet", error=str(err))
            return False
