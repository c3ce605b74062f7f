"""Looks at the room on the disk and in the trading stream, and commands REDUCING before there is none.

As a command in the trading stream (streams.reducing): risk hears of it there and nowhere else, and only a person ends
it. Repeated when somebody resumes and there still is no room. What is too little is engine.room's. Run by streams.role
beside executor.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError

from engine.room import Room, lack_of
from streams.reducing import reduce

if TYPE_CHECKING:
    from streams.role import Context

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class RoomWatch:
    """The watch over a data directory and its trading stream.

    Args:
        context: The role's.

    Attributes:
        problem: What is short of room; empty when nothing is.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.problem = ""

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(self._context.settings.daemon.disk_look_s)
            try:
                self.problem = lack_of(await self._measure())
                if self.problem:
                    await reduce(self._context, self.problem, "room", self._context.role)
            except (NatsError, OSError, TimeoutError) as err:
                log.warning("no look at the room, or no word of it", error=str(err) or type(err).__name__)

    async def _measure(self) -> Room:
        context = self._context
        settings, stream = context.settings, context.topology.trading
        state = (await context.js.stream_info(stream)).state
        return Room(
            stream=stream,
            stream_bytes=state.bytes,
            stream_bytes_max=settings.nats.trading_bytes_max,
            fill_fraction_max=settings.nats.trading_fill_fraction_max,
            folder=str(settings.data_path),
            free_bytes=shutil.disk_usage(settings.data_path).free,
            free_bytes_min=settings.daemon.disk_free_bytes_min,
        )
