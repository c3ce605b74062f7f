"""A bare chain of as many hops as a bar takes to become an order at the venue; imports nothing of Tapeline.

Four publishes and one POST, a process between each two: one (bars) -> two (signals) -> three (intents) -> four
(submitted) -> POST to a bare aiohttp server by a `requests` session in a thread. `durable`: each hop is a JetStream
stream with a push consumer, the first stream with `persist_mode: async`, the others fsynced before the acknowledgement
that the relay waits for, as in Tapeline. `core`: plain NATS subjects. Every message takes the first hop; one in `every`
goes on, chosen by a seeded generator, as few bars become orders.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import nats
import requests
from aiohttp import web
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, PersistMode, StreamConfig

HOPS = ("one", "two", "three", "four")
_THREADS = 4


class Times(msgspec.Struct):
    """Milliseconds since a message was sent: until it had passed three hops, and until the server had its POST."""

    stored: list[float]
    posted: list[float]


async def relay(url: str, mode: str, source: str, target: str, every: str) -> None:
    """Decode what comes, encode one in `every` again, pass it on."""
    nc = await nats.connect(url)
    chosen, share = random.Random(1), 1 / float(every)

    async def on_message(msg: Msg) -> None:
        content = json.loads(msg.data)
        if chosen.random() < share:
            await publish(nc, mode, target, json.dumps(content).encode())

    await serve(nc, mode, source, on_message)


async def poster(url: str, mode: str, source: str, target: str, http: str) -> None:
    """Pass on what comes, then POST it from a thread, once each."""
    nc = await nats.connect(url)
    loop, pool, session = asyncio.get_running_loop(), ThreadPoolExecutor(_THREADS), requests.Session()
    session.trust_env = False
    await loop.run_in_executor(pool, session.get, http)
    posts: set[asyncio.Future[None]] = set()

    async def on_message(msg: Msg) -> None:
        content = json.loads(msg.data)
        await publish(nc, mode, target, json.dumps(content).encode())
        post = loop.run_in_executor(pool, lambda: session.post(http, json=content).json())
        posts.add(post)
        post.add_done_callback(posts.discard)

    await serve(nc, mode, source, on_message)


async def server(url: str, *_: str) -> None:
    """Note when each POST comes; say the times when asked. Its address goes out on `chain.ready`."""
    times: list[float] = []

    async def post(request: web.Request) -> web.Response:
        times.append((time.time_ns() - (await request.json())["sent"]) / 1e6)
        return web.json_response({"status": "accepted"})

    async def get(_: web.Request) -> web.Response:
        return web.json_response(times)

    app = web.Application()
    app.add_routes([web.post("/", post), web.get("/", get)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    nc = await nats.connect(url)
    await nc.publish("chain.ready", f"http://127.0.0.1:{runner.addresses[0][1]}/".encode())
    await asyncio.Event().wait()


async def publish(nc: Client, mode: str, name: str, data: bytes) -> None:
    """Send to a hop; in durable mode wait until it is stored."""
    if mode == "durable":
        await nc.jetstream().publish(f"chain.durable.{name}", data)
    else:
        await nc.publish(f"chain.core.{name}", data)


async def serve(nc: Client, mode: str, name: str, callback: Callable[[Msg], Awaitable[None]]) -> None:
    """Listen to a hop for ever."""
    await subscribe(nc, mode, name, callback)
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


async def measure(url: str, mode: str, rhythm: tuple[int, int], seconds: float, every: float) -> Times:
    """Send at a steady rate and give the times of what came through.

    Args:
        url: NATS.
        mode: `durable` or `core`.
        rhythm: Messages per second, and how many are sent at once.
        seconds: How long; the first second warms up and is left out.
        every: One message in so many takes more than the first hop.
    """
    nc = await nats.connect(url)
    js = nc.jetstream()
    if mode == "durable":
        for name in HOPS:
            persist = PersistMode.ASYNC if name == "one" else PersistMode.DEFAULT
            subjects = [f"chain.durable.{name}"]
            await js.add_stream(StreamConfig(name=f"CHAIN_{name}", subjects=subjects, persist_mode=persist))
    children: list[subprocess.Popen[bytes]] = []
    try:
        http = await _start(nc, mode, url, every, children)
        stored: list[float] = []

        async def on_stored(msg: Msg) -> None:
            stored.append((time.time_ns() - json.loads(msg.data)["sent"]) / 1e6)

        await subscribe(nc, mode, "three", on_stored)
        await _send(nc, mode, rhythm, seconds)
        posted = await _collect(http, stored)
    finally:
        for child in children:
            child.terminate()
            child.wait()
        if mode == "durable":
            for name in HOPS:
                await js.delete_stream(f"CHAIN_{name}")
        await nc.close()
    warm_up = int(len(stored) / seconds)
    return Times(stored[warm_up:], posted[warm_up:])


async def _start(nc: Client, mode: str, url: str, every: float, children: list[subprocess.Popen[bytes]]) -> str:
    """Start server, relays and poster; give the server's address."""
    ready = await nc.subscribe("chain.ready")

    async def start(kind: str, *arguments: str) -> str:
        children.append(subprocess.Popen([sys.executable, "-m", "benchmarks.chain", kind, url, mode, *arguments]))
        return (await ready.next_msg(timeout=30)).data.decode()

    http = await start("server")
    for (source, target), share in zip(itertools.pairwise(HOPS[:3]), (every, 1.0), strict=True):
        await start("relay", source, target, str(share))
    await start("poster", *HOPS[2:], http)
    await ready.unsubscribe()
    return http


async def _send(nc: Client, mode: str, rhythm: tuple[int, int], seconds: float) -> None:
    per_s, burst = rhythm
    start = time.monotonic()
    for number in range(0, int(per_s * seconds) // burst * burst, burst):
        await asyncio.sleep(max(0.0, start + number / per_s - time.monotonic()))
        for _ in range(burst):
            data = json.dumps({"sent": time.time_ns(), "symbol": "AAPL", "filler": "x" * 200}).encode()
            await nc.publish(f"chain.{mode}.{HOPS[0]}", data)


async def _collect(http: str, stored: list[float]) -> list[float]:
    """Wait until as many came to the server as passed three hops, and no more come."""
    deadline = time.monotonic() + 30
    before = -1
    while time.monotonic() < deadline:
        posted: list[float] = (await asyncio.to_thread(requests.get, http, timeout=10)).json()
        if len(posted) == len(stored) == before:
            return posted
        before = len(posted)
        await asyncio.sleep(0.2)
    msg = f"the chain lost messages: {len(stored)} passed three hops, {before} were posted"
    raise RuntimeError(msg)


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    asyncio.run({"relay": relay, "poster": poster, "server": server}[kind](*arguments))
