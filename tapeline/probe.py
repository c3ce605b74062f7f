"""Asks a running daemon how it is: statuses of roles and ends of streams, for `status`, the demo and lock-step."""

from __future__ import annotations

import asyncio

import msgspec
from nats.aio.client import Client
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
        self._js = nc.jetstream(timeout=2)
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

    async def ends(self) -> dict[str, int]:
        """Last sequence of each stream."""
        names = (self.topology.market, self.topology.trading)
        infos = await asyncio.gather(*(self._js.stream_info(name) for name in names))
        return {name: info.state.last_seq for name, info in zip(names, infos, strict=True)}
