"""The bare ceiling of a whole-market minute: publisher, subscriber, core NATS, two SMAs; nothing of ours."""

import asyncio
import subprocess
import sys
import time

import msgspec
import nats
from nats.aio.msg import Msg
from talipp.indicators import SMA


async def subscriber(url: str, count: int, fast_period: int, slow_period: int) -> None:
    nc = await nats.connect(url)
    decoder, seen = msgspec.json.Decoder(), 0
    averages: dict[str, tuple[SMA, SMA]] = {}
    above: dict[str, bool] = {}

    async def on_bar(msg: Msg) -> None:
        nonlocal seen
        bar = decoder.decode(msg.data)["body"]
        symbol = bar["symbol"]
        fast, slow = averages.get(symbol) or averages.setdefault(symbol, (SMA(fast_period), SMA(slow_period)))
        fast.add(bar["close"])
        slow.add(bar["close"])
        if slow[-1] is not None and (fast[-1] > slow[-1]) != above.get(symbol):
            above[symbol] = fast[-1] > slow[-1]
            await nc.publish(f"ceiling.signals.{symbol}", msg.data)
        seen += 1
        if seen % count == 0:
            await nc.publish("ceiling.done", str(time.time_ns()).encode())

    await nc.subscribe("ceiling.bars.*", cb=on_bar, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await nc.flush()
    await nc.publish("ceiling.ready", b"")
    await asyncio.Event().wait()


async def measure(url: str, minutes: list[list[tuple[str, bytes]]], periods: tuple[int, int]) -> list[float]:
    """Give milliseconds from first publish to last bar handled, per minute; each minute is (symbol, payload) pairs."""
    nc = await nats.connect(url)
    done, ready = await nc.subscribe("ceiling.done"), await nc.subscribe("ceiling.ready")
    child = subprocess.Popen([sys.executable, __file__, url, str(len(minutes[0])), *map(str, periods)])
    try:
        await ready.next_msg(timeout=30)
        times = []
        for minute in minutes:
            start = time.time_ns()
            for symbol, payload in minute:
                await nc.publish(f"ceiling.bars.{symbol}", payload)
            times.append((int((await done.next_msg(timeout=60)).data) - start) / 1e6)
        return times
    finally:
        child.kill()
        await nc.close()


if __name__ == "__main__":
    asyncio.run(subscriber(sys.argv[1], *map(int, sys.argv[2:])))
