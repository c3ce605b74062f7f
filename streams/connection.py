"""One way to connect to NATS: reconnects for ever, tells its owner, never spins.

Requests under way when the connection breaks fail at once: their answers cannot come any more, and whoever asked asks
again on the new connection instead of waiting for a time-out (nats-server is back after 0.3 s, the time-out is 5 s).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import NoStreamResponseError, ServiceUnavailableError

from streams.keys import Identity, refusal

__all__ = ["AWAY", "Client", "Inflow", "connect"]

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_RECONNECT_WAIT_S: Any = 0.25  # nats-py says int and takes any number of seconds


class ConnectionLostError(NatsError):
    """The connection broke before the answer came: whether the request arrived is not known."""

    def __str__(self) -> str:
        return "the connection to NATS broke before the answer came"


AWAY = (ConnectionLostError, NatsTimeoutError, NoRespondersError, NoStreamResponseError, ServiceUnavailableError)
"""What a request comes to while nats-server is away or just comes back."""


class Inflow(Client):
    """A connection for reading streams, at half the cost per message.

    nats-py makes an object of each message, parses its headers and hands it through a queue to a task. Here a message
    that JetStream delivers is passed on at once, as its reply subject (which says its sequence) and its data; all
    others go nats-py's way. The overridden method is not public: pyproject.toml bounds nats-py, tests/streams watch it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lanes: dict[int, Callable[[bytes, bytes], None]] = {}

    async def open_lane(
        self, inbox: str, on_data: Callable[[bytes, bytes], None], on_other: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """Subscribe: `on_data(reply, data)` is called with each JetStream message, `on_other` with everything else."""
        sub = await self.subscribe(inbox, cb=on_other, pending_msgs_limit=-1, pending_bytes_limit=-1)
        self._lanes[sub._id] = on_data  # type: ignore[reportPrivateUsage]  # noqa: SLF001  (a number, nowhere else to be had)
        return sub

    async def close_lane(self, sub: Subscription) -> None:
        """Unsubscribe."""
        self._lanes.pop(sub._id, None)  # type: ignore[reportPrivateUsage]  # noqa: SLF001  (a number, nowhere else to be had)
        await sub.unsubscribe()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        lane = self._lanes.get(sid)
        if lane is not None and reply.startswith(b"$JS.ACK."):
            lane(reply, data)
        else:
            await super()._process_msg(sid, subject, reply, data, headers)


async def connect[C: Client](
    url: str,
    name: str,
    *,
    identity: Identity | None = None,
    kind: type[C] = Client,
    on_reconnected: Callable[[], Awaitable[None]] | None = None,
    first_timeout_s: int = 5,
) -> C:
    """Connect to a server that must be there within `first_timeout_s`; later losses are ridden out.

    Args:
        url: Where it is.
        name: What we are called there.
        identity: Who we are; None connects without a key.
        kind: The kind of connection.
        on_reconnected: Called after a loss.
        first_timeout_s: How long to wait at first.

    Raises:
        UnreachableError: Nobody answers at `url`.
        ConfigError: It refuses our key, or that we have none.
    """
    options = identity.options() if identity is not None else {}

    async def error(err: Exception) -> None:
        log.warning("nats", error=str(err) or type(err).__name__)

    async def disconnected() -> None:
        _fail_requests(client)
        if not (client.is_draining or client.is_closed):
            log.warning("nats connection lost", url=url)

    async def reconnected() -> None:
        log.warning("nats connection is back", url=url)
        if on_reconnected is not None:
            await on_reconnected()

    client, probe = kind(), Client()
    try:
        await probe.connect(
            url,
            name=f"{name}-probe",
            connect_timeout=first_timeout_s,
            max_reconnect_attempts=1,  # with 0 nats-py never stops trying
            reconnect_time_wait=_RECONNECT_WAIT_S,
            allow_reconnect=False,
            error_cb=_silent,
            **options,
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
            **options,
        )
    except (NatsError, OSError, TimeoutError) as err:
        await probe.close()  # also of a connection that was refused
        raise refusal(url, identity, err, "start it, or set nats.url to where it runs") from None
    return client


def _fail_requests(client: Client) -> None:
    """Fail what waits for an answer; nats-py would let it run into its time-out."""
    waiting = list(client._resp_map.values())  # type: ignore[reportPrivateUsage]  # noqa: SLF001  (see Inflow)
    for future in waiting:
        if not future.done():
            future.set_exception(ConnectionLostError())


async def _silent(_: Exception) -> None:
    return
