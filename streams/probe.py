"""Asks a running daemon how its roles are, for `status`, the demo and lock-step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from streams.role import Status
from streams.topology import Topology


class Probe:
    """Asks over one connection.

    Args:
        nc: A connection.
        topology: Names of the streams.
    """

    def __init__(self, nc: Client, topology: Topology) -> None:
        self._nc = nc
        self.topology = topology

    async def status(self, role: str, timeout_s: float = 2.0) -> Status | None:
        """Ask one role; None when it does not answer."""
        try:
            reply = await self._nc.request(f"{self.topology.prefix}.cmd.status.{role}", b"", timeout=timeout_s)
        except (NatsError, TimeoutError, OSError):
            return None
        return msgspec.json.decode(reply.data, type=Status)

    async def statuses(self, roles: tuple[str, ...], timeout_s: float = 2.0) -> dict[str, Status]:
        """Ask several roles at once; those that do not answer are left out."""
        answers = await asyncio.gather(*(self.status(role, timeout_s) for role in roles))
        return {answer.role: answer for answer in answers if answer is not None}

    async def listen(self, take: Callable[[Status], None]) -> None:
        """Hear every role's announcements."""

        async def on_message(msg: Msg) -> None:
            take(msgspec.json.decode(msg.data, type=Status))

        await self._nc.subscribe(f"{self.topology.prefix}.cmd.progress.*", cb=on_message)
