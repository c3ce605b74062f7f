from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from engine.errors import BusyError
from streams.connection import connect
from streams.lease import Lease
from streams.server import NatsServer
from tests.streams.wire import until

_HOLDER = """
import asyncio, sys
from streams.connection import connect
from streams.lease import Lease

async def hold():
    nc = await connect(sys.argv[1], "holder")
    lease = Lease(nc.jetstream(timeout=5), sys.argv[2], "risk")
    await lease.acquire(5)
    print("held", flush=True)
    await lease.keep()
    print("lost", flush=True)

asyncio.run(hold())
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.lease.LEASE_S", 1.0)
    monkeypatch.setattr("streams.lease._RENEW_S", 0.05)


def _hold(server: NatsServer, bucket: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _HOLDER, server.url, bucket], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


async def test_a_second_holder_is_refused_while_the_first_renews(
    shared_server: NatsServer, js: JetStreamContext, prefix: str
) -> None:
    holder = _hold(shared_server, f"{prefix}_roles")
    try:
        with pytest.raises(BusyError) as caught:
            await Lease(js, f"{prefix}_roles", "risk").acquire(0.3)
        text = str(caught.value)
        assert "\n" not in text
        assert "risk" in text
        assert str(holder.pid) in text
        await Lease(js, f"{prefix}_roles", "feed").acquire(0.0)  # another role is free
    finally:
        _end(holder)


@pytest.mark.kill
async def test_the_lease_of_a_dead_holder_of_this_machine_is_taken_at_once(
    shared_server: NatsServer, js: JetStreamContext, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: before the lease has run out, which is not waited for here."""
    holder = _hold(shared_server, f"{prefix}_roles")
    _end(holder)
    await Lease(js, f"{prefix}_roles", "risk").acquire(0.0)


async def test_two_in_one_process_are_two(js: JetStreamContext, prefix: str) -> None:
    await Lease(js, f"{prefix}_roles", "risk").acquire(0.0)
    with pytest.raises(BusyError):
        await Lease(js, f"{prefix}_roles", "risk").acquire(0.0)


@pytest.mark.usefixtures("quick")
async def test_a_lease_that_is_kept_outlives_its_time_and_one_that_is_not_runs_out(
    js: JetStreamContext, prefix: str
) -> None:
    kept, left = Lease(js, f"{prefix}_roles", "risk"), Lease(js, f"{prefix}_roles", "feed")
    await kept.acquire(0.0)
    await left.acquire(0.0)
    keeper = asyncio.create_task(kept.keep())
    await Lease(js, f"{prefix}_roles", "feed").acquire(5.0)  # after a second without renewal
    with pytest.raises(BusyError):
        await Lease(js, f"{prefix}_roles", "risk").acquire(0.0)
    assert not keeper.done()
    keeper.cancel()


async def test_a_lease_that_was_released_is_free_at_once(js: JetStreamContext, prefix: str) -> None:
    first = Lease(js, f"{prefix}_roles", "risk")
    await first.acquire(0.0)
    await first.release()
    await first.release()
    second = Lease(js, f"{prefix}_roles", "risk")
    await second.acquire(0.0)
    await first.release()  # late: not its own any more
    with pytest.raises(BusyError):
        await Lease(js, f"{prefix}_roles", "risk").acquire(0.0)


@pytest.mark.usefixtures("quick")
async def test_a_holder_that_finds_another_in_its_place_stops(js: JetStreamContext, prefix: str) -> None:
    lease = Lease(js, f"{prefix}_roles", "risk")
    await lease.acquire(0.0)
    keeper = asyncio.create_task(lease.keep())
    kv = await js.key_value(f"{prefix}_roles")
    await kv.put("risk", b"another-machine/77")
    await asyncio.wait_for(keeper, 5)


@pytest.mark.usefixtures("quick")
async def test_a_renewal_whose_answer_was_lost_is_no_loss(js: JetStreamContext, prefix: str) -> None:
    """The server stored it, nobody heard: the revision we know is old, the value is still ours."""
    lease = Lease(js, f"{prefix}_roles", "risk")
    await lease.acquire(0.0)
    kv = await js.key_value(f"{prefix}_roles")
    entry = await kv.get("risk")
    await kv.put("risk", entry.value or b"")
    keeper = asyncio.create_task(lease.keep())
    rival = asyncio.create_task(Lease(js, f"{prefix}_roles", "risk").acquire(2.0))
    with pytest.raises(BusyError):  # two lives of a lease: a holder that does not renew would have lost it
        await rival
    assert not keeper.done()
    keeper.cancel()


@pytest.mark.kill
@pytest.mark.usefixtures("quick")
async def test_a_server_that_is_away_is_waited_for(own_server: NatsServer) -> None:
    nc = await connect(own_server.url, "test")
    lease = Lease(nc.jetstream(timeout=0.5), "tape_roles", "risk")
    await lease.acquire(0.0)
    keeper = asyncio.create_task(lease.keep())
    os.kill(own_server.pid, signal.SIGKILL)
    await until(lambda: not own_server.is_running, "nats-server is dead")
    owner, before = lease._owner.encode(), lease._revision
    loop = asyncio.get_running_loop()
    gone = loop.time() + 1.5  # longer than the lease
    await until(lambda: loop.time() > gone, "the lease has run out")
    own_server.start()
    js = nc.jetstream(timeout=2)

    async def is_held() -> bool:
        """Read, not tried: a rival who asks first would rightly get it."""
        try:
            entry = await (await js.key_value("tape_roles")).get("risk")
        except (NatsError, TimeoutError):  # not connected yet, or run out and not yet bound again
            return False
        return entry.value == owner and (entry.revision or 0) > before

    await until(lambda: nc.is_connected, "connected again")
    await until(is_held, "held again")
    assert not keeper.done()
    keeper.cancel()
    await nc.close()


async def test_a_failing_question_does_not_end_the_keeper(
    nc: Client, js: JetStreamContext, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renewal is refused and the question who holds it times out: that says nothing about a loss."""
    monkeypatch.setattr("streams.lease._RENEW_S", 0.05)
    lease = Lease(js, f"{prefix}_roles", "risk")
    await lease.acquire(0.0)
    kv = lease._kv
    assert kv is not None
    real, asked = kv.create, 0

    async def failing(*args: object, **kwargs: object) -> int:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise TimeoutError
        return await real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(kv, "create", failing)
    entry = await kv.get("risk")
    await kv.put("risk", entry.value or b"")
    keeper = asyncio.create_task(lease.keep())
    await until(lambda: asked >= 2 or keeper.done(), "asked")
    await until(lambda: keeper.done() or asked >= 3, "asked again")
    assert not keeper.done()
    keeper.cancel()
