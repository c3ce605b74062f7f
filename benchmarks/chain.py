"""A bare chain of as many hops as a bar takes to become an order at the venue; imports nothing of Tapeline.

With every rule on, what a minute of bars brings is stored five times on its way to the venue, and so it is here: words
(marks: as many as messages, all sent before the first is acknowledged, each fsynced) -> one (bars) -> two (signals) ->
three (intents) -> four (submitted) -> POST to a bare aiohttp server by a `requests` session in a thread, a process
between each two of the last five. `durable`: each hop is a JetStream stream with a push consumer; `one` has
`persist_mode: async`, all others are fsynced before the acknowledgement that who sends waits for, and have ids against
duplicates, as in Tapeline. `core`: plain NATS subjects. Every message takes the first hop; one in `every` goes on,
chosen by a seeded generator, as few bars become orders. Connections have an nkey and rights.

In the chain's favour: nothing is decided, recorded, reserved, checkpointed, acknowledged by a venue or filled, so it
stores a third of what Tapeline stores in the same time, each hop on a stream of its own (Tapeline has one total order
of everything that moves money). In Tapeline's favour: nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import nats
import requests
from aiohttp import web
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, PersistMode, StreamConfig

WORDS = "words"
HOPS = ("one", "two", "three", "four")
_THREADS = 4


class Times(msgspec.Struct):
    """Milliseconds since a message was sent: until it had passed three hops, and until the server had its POST."""

    stored: list[float]
    posted: list[float]


async def connect(url: str, seed: str) -> Client:
    """Connect with the key in the file `seed`."""
    return await nats.connect(url, nkeys_seed=seed)


async def relay(url: str, seed: str, mode: str, hops: str, every: str) -> None:
    """Decode what comes, encode one in `every` again, pass it on."""
    nc = await connect(url, seed)
    source, target = hops.split(",")
    chosen, share = random.Random(1), 1 / float(every)

    async def on_message(msg: Msg) -> None:
        content = json.loads(msg.data)
        if chosen.random() < share:
            await publish(nc, mode, target, json.dumps(content).encode())

    await serve(nc, mode, source, on_message)


async def poster(url: str, seed: str, mode: str, hops: str, http: str) -> None:
    """Pass on what comes, then POST it from a thread, once each."""
    nc = await connect(url, seed)
    source, target = hops.split(",")
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


async def server(url: str, seed: str, *_: str) -> None:
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
    nc = await connect(url, seed)
    await nc.publish("chain.ready", f"http://127.0.0.1:{runner.addresses[0][1]}/".encode())
    await asyncio.Event().wait()


async def publish(nc: Client, mode: str, name: str, data: bytes) -> None:
    """Send to a hop; in durable mode wait until it is stored."""
    if mode == "durable":
        await nc.jetstream().publish(f"chain.durable.{name}", data, headers={"Nats-Msg-Id": uuid.uuid4().hex})
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


class Chain:
    """A chain that was started, and what came through so far.

    Args:
        nc: The sender's connection.
        server: URL of NATS, and the file with the key.
        mode: `durable` or `core`.
        rhythm: Messages per second, and how many are sent at once.
        every: One message in so many takes more than the first hop.
    """

    def __init__(self, nc: Client, server: tuple[str, str], mode: str, rhythm: tuple[int, int], every: float) -> None:
        self._nc = nc
        self._arguments = [*server, mode]
        self._mode = mode
        self._per_s, self._burst = rhythm
        self._every = every
        self._children: list[subprocess.Popen[bytes]] = []
        self._http = ""
        self._stored: list[float] = []
        self._posted = 0

    async def start(self) -> None:
        """Make the streams; start server, relays and poster."""
        nc, mode = self._nc, self._mode
        if mode == "durable":
            for name in (WORDS, *HOPS):
                persist = PersistMode.ASYNC if name == "one" else PersistMode.DEFAULT
                config = StreamConfig(name=f"CHAIN_{name}", subjects=[f"chain.durable.{name}"], persist_mode=persist)
                await nc.jetstream().add_stream(config)
        ready = await nc.subscribe("chain.ready")

        async def start(kind: str, *more: str) -> str:
            argv = [sys.executable, "-m", "benchmarks.chain", kind, *self._arguments, *more]
            self._children.append(subprocess.Popen(argv))
            return (await ready.next_msg(timeout=30)).data.decode()

        self._http = await start("server")
        for pair, share in zip(itertools.pairwise(HOPS[:3]), (self._every, 1.0), strict=True):
            await start("relay", ",".join(pair), str(share))
        await start("poster", ",".join(HOPS[2:]), self._http)
        await ready.unsubscribe()

        async def on_stored(msg: Msg) -> None:
            self._stored.append((time.time_ns() - json.loads(msg.data)["sent"]) / 1e6)

        await subscribe(nc, mode, "three", on_stored)

    async def stop(self) -> None:
        """End the processes, delete the streams."""
        for child in self._children:
            child.terminate()
            child.wait()
        if self._mode == "durable":
            for name in (WORDS, *HOPS):
                await self._nc.jetstream().delete_stream(f"CHAIN_{name}")

    async def play(self, seconds: float) -> Times:
        """Send at a steady rate for so long; give the times of what came through."""
        began, due = len(self._stored), asyncio.Queue[int]()
        timer = asyncio.create_task(self._tick(due, seconds))
        sent = 0
        while sent < int(self._per_s * seconds) // self._burst:
            moments = [await due.get()]
            while not due.empty():  # what waited for the store goes together, as in feed
                moments.append(due.get_nowait())
            await self._words(len(moments) * self._burst)
            for moment in moments:
                data = json.dumps({"sent": moment, "symbol": "AAPL", "filler": "x" * 200}).encode()
                for _ in range(self._burst):
                    await self._nc.publish(f"chain.{self._mode}.{HOPS[0]}", data)
            sent += len(moments)
        await timer
        posted = await self._collect()
        found = Times(self._stored[began:], posted[self._posted :])
        self._posted = len(posted)
        return found

    async def _tick(self, due: asyncio.Queue[int], seconds: float) -> None:
        """Say when each burst came, whether or not the one before it is stored by then."""
        start = time.monotonic()
        for number in range(int(self._per_s * seconds) // self._burst):
            await asyncio.sleep(max(0.0, start + number * self._burst / self._per_s - time.monotonic()))
            due.put_nowait(time.time_ns())

    async def _words(self, count: int) -> None:
        """Store as many words as messages that follow, all sent before the first is acknowledged."""
        data = json.dumps({"symbol": "AAPL", "filler": "x" * 200}).encode()
        await asyncio.gather(*(publish(self._nc, self._mode, WORDS, data) for _ in range(count)))

    async def _collect(self) -> list[float]:
        """Wait until as many came to the server as passed three hops, and no more come."""
        deadline = time.monotonic() + 30
        before = -1
        while time.monotonic() < deadline:
            posted: list[float] = (await asyncio.to_thread(requests.get, self._http, timeout=10)).json()
            if len(posted) == len(self._stored) == before:
                return posted
            before = len(posted)
            await asyncio.sleep(0.2)
        msg = f"the chain lost messages: {len(self._stored)} passed three hops, {before} were posted"
        raise RuntimeError(msg)


@contextlib.asynccontextmanager
async def running_chain(
    server: tuple[str, str], mode: str, rhythm: tuple[int, int], every: float
) -> AsyncGenerator[Chain]:
    """Start a chain and play it for a second to warm it up; it is stopped at the end. Arguments as for Chain."""
    nc = await connect(*server)
    chain = Chain(nc, server, mode, rhythm, every)
    try:
        await chain.start()
        await chain.play(1.0)
        yield chain
    finally:
        await chain.stop()
        await nc.close()


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    asyncio.run({"relay": relay, "poster": poster, "server": server}[kind](*arguments))
