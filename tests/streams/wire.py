"""Small parts of the streams tests: waiting with a deadline, what is stored, what to publish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from nats.js import JetStreamContext

from streams.publisher import Outgoing
from streams.reader import Reader, Stored
from streams.topology import Topology


def topology_of(prefix: str) -> Topology:
    return Topology(prefix, 3600, 64 * 1024**2, 64 * 1024**2, 60.0)


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = 15.0) -> None:
    """Poll until it holds; fail with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        await asyncio.sleep(0.01)


def outgoing(topology: Topology, number: int, *, stream: str = "trading", size: int = 0, id: str = "") -> Outgoing:
    """The message `number`, on one of a few subjects of the stream."""
    kind = "fills.bot" if stream == "trading" else "bars.1m"
    data = f"{number}".encode().ljust(size)
    return Outgoing(f"{topology.prefix}.{kind}.S{number % 5}", data, id or f"{stream}-{number}")


async def stored(js: JetStreamContext, stream: str) -> list[int]:
    """Numbers of all messages of a stream, read one by one, not by our reader."""
    last = (await js.stream_info(stream)).state.last_seq
    return [int((await js.get_msg(stream, seq, direct=True)).data or b"") for seq in range(1, last + 1)]


async def read(reader: Reader, count: int, batch: int = 500, seconds: float = 20.0) -> list[Stored]:
    """Take exactly `count` messages."""
    found: list[Stored] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            found += await reader.batch(min(batch, count - len(found)))
    return found


def numbers(found: list[Stored]) -> list[int]:
    return [int(item.data) for item in found]
