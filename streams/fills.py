"""Fills, and what is held after them, for strategies that want to be told. Called by streams/services/signals.

They are read from the beginning whenever a bot wants them that did not before: of those that it was told of already
(engine.filling) nothing comes. Where no strategy has `on_fill` nothing is read at all.
"""

from __future__ import annotations

import asyncio

from engine.messages import AnyBody, decode
from streams.reader import Reader, read
from streams.role import Context

_BATCH_MAX = 500
_KINDS = ("fills", "positions", "shadows")


class FillReader:
    """Reads fills while somebody wants them.

    Args:
        context: The role's.

    Attributes:
        seq: Sequence up to which they were read; None while nobody wants them.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._bots: set[str] = set()
        self._reader: Reader | None = None
        self._is_new = asyncio.Event()
        self.seq: int | None = None

    def follow(self, bots: set[str], is_behind: bool) -> None:
        """Note which bots want fills now, and whether some were read before they did."""
        if bots - self._bots or is_behind:
            self._is_new.set()
            self.seq = 0
        self._bots = bots
        if not bots:
            self.seq = None

    async def batch(self) -> list[AnyBody]:
        """Wait for fills, positions and what shadows did; give them in order."""
        while True:
            if self._is_new.is_set():
                self._is_new.clear()
                await self._begin()
            reader = self._reader
            if reader is None:
                await self._is_new.wait()
                continue
            waits = asyncio.ensure_future(self._is_new.wait()), asyncio.ensure_future(reader.wait())
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waits[0].cancel()
                waits[1].cancel()
            if self._is_new.is_set():
                continue
            await reader.wait()  # raises what it raised
            taken = reader.take(_BATCH_MAX)
            if self.seq is not None and taken:
                self.seq = taken[-1].seq
            return [read(item, self._context.topology.trading, decode).body for item in taken]

    async def _begin(self) -> None:
        context, prefix = self._context, self._context.topology.prefix
        if self._reader is not None:
            context.readers.remove(self._reader)
            await self._reader.stop()
        self._reader = context.reader(context.topology.trading, 0, [f"{prefix}.{kind}.>" for kind in _KINDS])
        await self._reader.start()
