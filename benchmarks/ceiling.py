"""The bare ceiling of a whole-market minute: publisher, subscriber, core NATS, two SMAs; nothing of ours."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
import nats
from nats.aio.msg import Msg
from talipp.indicators import SMA


async def subscriber(url: str, count: int, fast_period: int, slow_period: int) -> None:
    nc, decode, seen = await nats.connect(url), msgspec.json.Decoder().decode, iter(range(1, 1 << 60))
    averages = defaultdict[str, tuple[SMA, SMA]](lambda: (SMA(fast_period), SMA(slow_period)))
    above: dict[str, bool] = {}

    async def on_bar(msg: Msg) -> None:
        bar = decode(msg.data)["body"]
        fast, slow = averages[symbol := bar["symbol"]]
        fast.add(bar["close"])
        slow.add(bar["close"])
        if slow[-1] is not None and (fast[-1] > slow[-1]) != above.get(symbol):
            above[symbol] = fast[-1] > slow[-1]
            await nc.publish(f"ceiling.signals.{symbol}", msg.data)
        if next(seen) % count == 0:
            await nc.publish("ceiling.done", str(time.time_ns()).encode())

    await nc.subscribe("ceiling.bars.*", cb=on_bar, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await nc.publish("ceiling.done", b"")
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def ceiling(url: str, count: int, periods: tuple[int, int]) -> AsyncGenerator[Callable[..., Awaitable[float]]]:
    nc = await nats.connect(url)
    done = await nc.subscribe("ceiling.done")
    child = subprocess.Popen([sys.executable, __file__, url, str(count), *map(str, periods)])

    async def minute(bars: list[tuple[str, bytes]]) -> float:
        start = time.time_ns()
        for symbol, payload in bars:
            await nc.publish(f"ceiling.bars.{symbol}", payload)
        return (int((await done.next_msg(timeout=60)).data) - start) / 1e6

    try:
        await done.next_msg(timeout=30)
        yield minute
    finally:
        child.kill()
        await nc.close()


if __name__ == "__main__":
    asyncio.run(subscriber(sys.argv[1], *map(int, sys.argv[2:])))
