"""One way to connect to NATS: reconnects for ever, tells its owner, never spins.

A connection that is closed for good would starve the loop of whoever waits on it, so `closed` ends the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from engine.errors import UnreachableError

__all__ = ["Client", "connect"]

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_RECONNECT_WAIT_S: Any = 0.25  # nats-py says int and takes any number of seconds


async def connect(
    url: str,
    name: str,
    *,
    on_reconnected: Callable[[], Awaitable[None]] | None = None,
    first_timeout_s: int = 5,
) -> Client:
    """Connect to a server that must be there within `first_timeout_s`; later losses are ridden out.

    Raises:
        UnreachableError: Nobody answers at `url`.
    """

    async def error(err: Exception) -> None:
        log.warning("nats", error=str(err) or type(err).__name__)

    async def disconnected() -> None:
        if not (client.is_draining or client.is_closed):
            log.warning("nats connection lost", url=url)

    async def reconnected() -> None:
        log.warning("nats connection is back", url=url)
        if on_reconnected is not None:
            await on_reconnected()

    client = Client()
    try:
        probe = await nats.connect(
            url,
            name=f"{name}-probe",
            connect_timeout=first_timeout_s,
            max_reconnect_attempts=1,  # with 0 nats-py never stops trying
            reconnect_time_wait=_RECONNECT_WAIT_S,
            allow_reconnect=False,
            error_cb=_silent,
        )
        await probe.close()
        await client.connect(
            url,
            name=name,
            connect_timeout=first_timeout_s,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_WAIT_S,
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=error,
            disconnected_cb=disconnected,
            reconnected_cb=reconnected,
            pending_size=64 * 1024 * 1024,
            flusher_queue_size=16_384,
        )
    except (NatsError, OSError, TimeoutError) as err:
        why = str(err) or type(err).__name__
        msg = f"NATS does not answer at {url} ({why}): start it, or set nats.url to where it runs"
        raise UnreachableError(msg) from None
    return client


async def _silent(_: Exception) -> None:
    return
