"""What a role does last when it found that the trading stream lost messages: nothing is sent from here on.

The latch comes first, as for `tapeline halt`: it needs nothing but the data directory, and executor looks at it before
each POST. Then the hole is written down for whoever mends it, then the command is stored, so that risk and everybody
know; a role on another machine hears only that. Called by streams.role.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError

from engine.ids import make_id
from engine.messages import Command
from engine.values import TradingMode
from streams.latch import Latch, LatchNote
from streams.loss import Hole, Holes
from streams.publisher import Publisher

if TYPE_CHECKING:
    from streams.role import Context

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_STORED_S_MAX = 5.0


async def halt(context: Context, hole: Hole) -> None:
    """Latch, write the hole down, and command HALTED; each as far as disk and server let it."""
    now, role, topology = context.wall_ns(), context.role, context.topology
    folder = context.settings.data_path
    reason = str(hole)
    log.critical("trading is halted", reason=reason)
    note = LatchNote(make_id(hole.stream, str(hole.first), "lost", now), reason, role, now)
    with contextlib.suppress(OSError):
        note = Latch(folder).set(reason, role, now)
    with contextlib.suppress(OSError):
        Holes(folder).note(hole, role)
    command = Command(
        note.id, TradingMode.HALTED, note.reason, note.by, note.ts_event
    )  # the latch's: others say it too
    publisher = Publisher(context.nc, topology.trading, role)
    with contextlib.suppress(NatsError, OSError, TimeoutError):
        await asyncio.wait_for(publisher.one(context.outgoing(command, command.id)), _STORED_S_MAX)
