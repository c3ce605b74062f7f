"""A connection that breaks says so to whoever waits on it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from streams.connection import ConnectionLostError, connect
from streams.server import NatsServer
from tests.streams.wire import until


@pytest.mark.kill
async def test_a_request_under_way_fails_when_the_server_dies_and_not_at_its_time_out(own_server: NatsServer) -> None:
    nc = await connect(own_server.url, "test")
    asked = asyncio.Event()

    async def silent(_: object) -> None:
        asked.set()

    await nc.subscribe("nobody.answers", cb=silent)
    question = asyncio.create_task(nc.request("nobody.answers", b"", timeout=60))
    await asyncio.wait_for(asked.wait(), 5)
    os.kill(own_server.pid, signal.SIGKILL)
    with pytest.raises(ConnectionLostError, match="before the answer came"):
        await asyncio.wait_for(question, 10)
    await until(lambda: not own_server.is_running, "nats-server is dead")
    own_server.start()
    await until(lambda: nc.is_connected, "connected again")
    assert (await nc.request("$SYS.REQ.USER.INFO", b"", timeout=5)).data
    await nc.close()
