"""What a role needs of NATS before it can begin: the streams, and its lease. Called by streams.role."""

from __future__ import annotations

import asyncio
import time

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from engine.errors import UnreachableError
from streams.lease import Lease
from streams.topology import Topology, ensure, wait_for_streams

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_LEASE_WAIT_S = 8.0
_BIND_S_MAX = 30.0
_AGAIN_S = 0.5


async def bind(js: JetStreamContext, topology: Topology, lease: Lease, role: str, stopping: asyncio.Event) -> bool:
    """Have the streams and take the lease; a server that takes nothing at the moment is waited for.

    Returns:
        False when we are stopped before.

    Raises:
        UnreachableError: It took nothing for 30 s: it is away, or its disk is full.
        BusyError: Another process holds the role.
    """
    deadline = time.monotonic() + _BIND_S_MAX
    while True:
        try:
            if not await _have_streams(js, topology, role, stopping):
                return False
            await lease.acquire(_LEASE_WAIT_S)
        except (NatsError, OSError, TimeoutError) as err:
            log.warning("NATS takes nothing at the moment, trying again", error=str(err) or type(err).__name__)
            if time.monotonic() > deadline:
                raise went_away(err) from None
            await asyncio.sleep(_AGAIN_S)
        else:
            return True


def went_away(err: BaseException) -> UnreachableError:
    """Say that NATS went away under a role that cannot ride it out, as one that starts; it begins anew."""
    return UnreachableError(f"NATS went away ({str(err) or type(err).__name__}): the role starts again")


async def _have_streams(js: JetStreamContext, topology: Topology, role: str, stopping: asyncio.Event) -> bool:
    """Make the streams, or wait for who may; False when we are stopped before they are there."""
    made = asyncio.create_task((ensure if role == "executor" else wait_for_streams)(js, topology))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({made, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not made.done():
        made.cancel()
        return False
    await made
    return True
