"""A bare chain of as many hops as a bar takes to become an intent: three publishes, two processes between.

Imports nothing of Tapeline. `durable`: each hop is a JetStream stream with a push consumer, the first stream with
`persist_mode: async`, the others fsynced, as in Tapeline. `core`: plain NATS subjects.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, PersistMode, StreamConfig

HOPS = ("one", "two", "three")


async def relay(url: str, mode: str, source: str, target: str) -> None:
    """Decode what comes, encode it again, pass it on."""
    nc = await nats.connect(url)
    js = nc.jetstream()

    async def on_message(msg: Msg) -> None:
        data = json.dumps(json.loads(msg.data)).encode()
        if mode == "durable":
            await js.publish(f"chain.{mode}.{target}", data)
        else:
            await nc.publish(f"chain.{mode}.{target}", data)

    await subscribe(nc, mode, source, on_message)
    await nc.flush()
    await nc.publish("chain.ready", b"")
    await asyncio.Event().wait()


async def subscribe(nc: Client, mode: str, name: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
    """Listen to a hop."""
    if mode == "core":
        await nc.subscribe(f"chain.core.{name}", cb=callback)
        return
    inbox = nc.new_inbox()
    await nc.subscribe(inbox, cb=callback)
    config = ConsumerConfig(
        deliver_subject=inbox, ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.NEW, mem_storage=True
    )
    await nc.jetstream().add_consumer(f"CHAIN_{name}", config)


async def measure(url: str, mode: str, per_s: int, burst: int, seconds: float) -> list[float]:
    """Give milliseconds per message through the chain at a steady rate, sent in bursts of `burst`."""
    nc = await nats.connect(url)
    js = nc.jetstream()
    if mode == "durable":
        for name in HOPS:
            persist = PersistMode.ASYNC if name == "one" else PersistMode.DEFAULT
            subjects = [f"chain.durable.{name}"]
            await js.add_stream(StreamConfig(name=f"CHAIN_{name}", subjects=subjects, persist_mode=persist))
    ready = await nc.subscribe("chain.ready")
    pairs = itertools.pairwise(HOPS)
    children = [subprocess.Popen([sys.executable, "-m", "benchmarks.chain", url, mode, a, b]) for a, b in pairs]
    times: list[float] = []

    async def on_end(msg: Msg) -> None:
        times.append((time.time_ns() - json.loads(msg.data)["sent"]) / 1e6)

    try:
        for _ in children:
            await ready.next_msg(timeout=30)
        await subscribe(nc, mode, HOPS[-1], on_end)
        wanted = int(per_s * seconds) // burst * burst
        start = time.monotonic()
        for number in range(0, wanted, burst):
            await asyncio.sleep(max(0.0, start + number / per_s - time.monotonic()))
            for _ in range(burst):
                data = json.dumps({"sent": time.time_ns(), "symbol": "AAPL", "filler": "x" * 200}).encode()
                await nc.publish(f"chain.{mode}.{HOPS[0]}", data)
        deadline = time.monotonic() + 30
        while len(times) < wanted and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
    finally:
        for child in children:
            child.terminate()
            child.wait()
        if mode == "durable":
            for name in HOPS:
                await js.delete_stream(f"CHAIN_{name}")
        await nc.close()
    return times[per_s:]  # the first second warms up


if __name__ == "__main__":
    asyncio.run(relay(*sys.argv[1:]))
