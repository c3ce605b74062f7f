"""The latch as executor sees it: set for an intruder, and told to risk as the command it stands for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from engine.messages import Command
from engine.values import TradingMode
from streams.latch import Latch
from streams.publisher import Publisher
from streams.role import Context

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_LATCH_S = 0.1


class Latcher:
    """Looks at the latch file.

    Args:
        context: The role's.
        publisher: Of the trading stream.
        latch: The file.
        wake: Called with None when a command was stored.
    """

    def __init__(self, context: Context, publisher: Publisher, latch: Latch, wake: Callable[[None], None]) -> None:
        self._context = context
        self._publisher = publisher
        self._latch = latch
        self._wake = wake
        self._known = ""

    async def halt_for(self, intruder: str) -> None:
        """Halt: two data directories of Tapeline must not trade on one account (rule 16)."""
        reason = f"order {intruder} is of another data directory of Tapeline on this account: stop the other one"
        note = self._latch.set(reason, "executor", self._context.wall_ns())
        log.critical("halted", reason=note.reason)

    async def watch(self) -> None:
        """Store the command that a latch file stands for; whoever wrote it may not have reached NATS."""
        while True:
            note = self._latch.named(self._context.wall_ns())
            if note is not None and note.id and note.id != self._known:
                self._known = note.id
                command = Command(note.id, TradingMode.HALTED, note.reason, note.by, note.ts_event)
                await self._publisher.one(self._context.outgoing(command, note.id))
                self._wake(None)
            await asyncio.sleep(_LATCH_S)
