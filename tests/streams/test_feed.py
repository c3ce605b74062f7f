"""feed on a real nats-server: what the server acknowledged and lost when it was killed is published again (rule 1)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

import pytest

from config.settings import Settings
from engine.messages import AccountOpened, Bar, Head, decode_market, encode
from engine.ports import BarListener
from engine.values import AssetClass
from streams.connection import Inflow, connect
from streams.role import Context, NoPoints, topology_of
from streams.server import NatsServer
from streams.services.feed import Feed
from streams.topology import ensure
from tests.engine.build import T0, always_open, bar, opened
from tests.streams.test_role import _StoppedClock
from tests.streams.wire import until

SYMBOLS = tuple(f"S{number}" for number in range(20))


class _Source:
    """A bar source by hand: subscribed at once, bars when the test says so, no history."""

    def __init__(self) -> None:
        self.listener: BarListener | None = None
        self.stopped = asyncio.Event()

    async def run(self, symbols: Sequence[str], marked: Sequence[str], listener: BarListener) -> None:
        self.listener = listener
        listener.on_connected(symbols, marked)
        await self.stopped.wait()

    async def follow(self, symbols: Sequence[str], marked: Sequence[str]) -> None:
        return

    async def stop(self) -> None:
        self.stopped.set()

    def bars(
        self,
        asset_class: AssetClass,
        symbols: Sequence[str],
        timeframe: str,
        from_ns: int,
        to_ns: int,
        *,
        is_adjusted: bool = False,
    ) -> Sequence[Bar]:
        return []


@pytest.mark.kill
@pytest.mark.parametrize("seed", range(3))
async def test_bars_that_a_killed_server_lost_are_published_again(own_server: NatsServer, seed: int) -> None:
    settings = Settings()
    topology = topology_of(settings)
    reconnected: list = []

    async def back() -> None:
        for callback in reconnected:
            callback()

    nc = await connect(own_server.url, "feed", kind=Inflow, on_reconnected=back)
    js = nc.jetstream(timeout=5)
    await ensure(js, topology)
    body: AccountOpened = opened()
    await js.publish(f"{topology.prefix}.opened", encode(Head(1), body))
    await js.publish(f"{topology.prefix}.sessions.us_equity", encode(Head(1), always_open()))
    source = _Source()
    context = Context("feed", settings, topology, nc, nc, js, _StoppedClock(), lambda: T0, NoPoints(), [], reconnected)
    feed = Feed(context, lambda _is_open: (source, source))
    await feed.start()
    worker = asyncio.create_task(feed.run())
    sent = 0

    async def minutes(first: int, last: int) -> None:
        """Publish in one go and come back the moment the last bar is acknowledged."""
        nonlocal sent
        assert source.listener is not None
        for number in range(first, last):
            source.listener.on_bars([bar(10.0, number, symbol) for symbol in SYMBOLS], T0)
            sent += len(SYMBOLS)
        while feed.status().counters["bars"] < sent:
            await asyncio.sleep(0)

    try:
        await until(lambda: source.listener is not None, "subscribed")
        await minutes(1, 30 + 7 * seed)
        os.kill(own_server.pid, signal.SIGKILL)
        own_server.stop()
        own_server.start()
        await until(lambda: nc.is_connected, "connected again")
        await minutes(100, 101)
        subject = f"{topology.prefix}.bars.>"

        async def complete() -> bool:
            info = await js.stream_info(topology.market, subjects_filter=subject)
            return sum((info.state.subjects or {}).values()) >= sent

        await until(complete, f"all {sent} bars are in the stream", 20)
        info = await js.stream_info(topology.market)
        keys = []
        for seq in range(1, info.state.last_seq + 1):
            found = decode_market((await js.get_msg(topology.market, seq, direct=True)).data or b"").body
            if isinstance(found, Bar):
                keys.append((found.symbol, found.ts_event))
        assert len(keys) == len(set(keys)) == sent
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
        await feed.stop()
        await nc.close()
