"""What happens on a disk that is full, and when there is room again. Run by test_full_disk.py on a small tmpfs of its own,
whose folder SMALL_DISK names; not collected otherwise."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from engine.messages import Head, decode, encode
from storage.instance import StoppedFileError
from streams.checkpoint import CheckpointStore
from streams.connection import Inflow, connect
from streams.latch import Latch
from streams.publisher import Outgoing, Publisher, troubles_on
from streams.server import NatsServer
from streams.subjects import subject_of
from streams.topology import ensure
from tapeline.server_keeper import ServerKeeper
from tests.durability.ledger import bodies, publish
from tests.durability.test_database import FILLS, Running
from tests.streams.wire import topology_of, until

DISK = Path(os.environ.get("SMALL_DISK", "/nowhere"))


@pytest.fixture(autouse=True)
def _empty_disk() -> None:
    """Each test begins with an empty disk."""
    for path in sorted(DISK.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def fill_up(leave: int = 0) -> Path:
    """Write until nothing goes any more, then give `leave` bytes back."""
    ballast = DISK / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(b"x" * size)
        file.truncate(file.tell() - leave)
    return ballast


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before() -> None:
    store = CheckpointStore(DISK / "risk", "risk", "c", "f")
    store.write({"s": 1}, b"first")
    ballast = fill_up()
    store.write({"s": 2}, b"second" * 10_000)
    assert "No space left" in store.trouble
    found = store.newest()
    assert found is not None
    assert found.payload == b"first"
    assert not list(DISK.rglob("*.tmp"))
    ballast.unlink()
    store.write({"s": 3}, b"third")
    assert store.trouble == ""
    found = CheckpointStore(DISK / "risk", "risk", "c", "f").newest()
    assert found is not None
    assert found.payload == b"third"


def test_halting_needs_no_room() -> None:
    (DISK / "run").mkdir()
    fill_up()
    note = Latch(DISK).set("odd fills", "anna", 1)
    assert note.reason == "odd fills"
    assert Latch(DISK).is_set()
    assert [path.name for path in (DISK / "run").iterdir()] == ["halt.latch"]
    assert Latch(DISK).clear()


async def test_publishing_waits_for_room_and_stores_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trading stream: nothing is lost or doubled, the caller waits, and nobody need start the daemon again."""
    monkeypatch.setattr("streams.publisher._ACK_S_MAX", 0.5)
    monkeypatch.setattr("tapeline.server_keeper._LOOK_S", 0.1)
    server = NatsServer(DISK / "nats")
    keeper = ServerKeeper(server, DISK / "nats")
    keeper.start()
    try:
        nc = await connect(server.url, "test", kind=Inflow)
        topology = topology_of("tape")
        await ensure(nc.jetstream(timeout=5), topology)
        publisher = Publisher(nc, topology.trading, "test")
        found = [body for body in bodies() for _ in range(1)]
        messages = [
            Outgoing(subject_of("tape", body), encode(Head(n, trace="x" * 2_000), body), f"m{n}")
            for n, body in enumerate(found)
        ]
        await publisher.atomic(messages[:100])
        ballast = fill_up(leave=200_000)
        publishing = asyncio.create_task(publisher.atomic(messages[100:]))
        await until(lambda: bool(troubles_on(nc)), "it is said that nothing is stored", 30)
        assert not publishing.done()
        assert "stores nothing at the moment" in troubles_on(nc)[0]
        assert keeper.poll() == "", "there is no room yet: starting it again would help nobody"
        ballast.unlink()

        def is_helped() -> bool:
            return "started again" in keeper.poll()

        await until(is_helped, "nats-server is started again")
        await asyncio.wait_for(publishing, 30)
        assert troubles_on(nc) == []
        js = nc.jetstream(timeout=5)
        assert (await js.stream_info(topology.trading)).state.messages == len(messages)
        stored = [await js.get_msg(topology.trading, seq, direct=True) for seq in range(1, len(messages) + 1)]
        assert [decode(raw.data or b"").body for raw in stored] == found
        assert keeper.restarts == 1
        await nc.close()
    finally:
        server.stop()


async def test_the_recorder_waits_for_room_and_answers_meanwhile(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    server.start()
    try:
        running = Running(server, DISK)
        await publish(server.url, running.settings, bodies())
        async with running.up() as recorder:
            await running.minutes(0, 100)
            await running.has(100, FILLS)
            ballast = fill_up()
            await running.minutes(100, 300)
            await until(lambda: any("No space left" in p for p in recorder.status().problems), "it is said", 30)
            assert await running.count("bars") == 100
            ballast.unlink()
            await running.has(300, FILLS)
            assert recorder.status().problems == []
    finally:
        server.stop()


async def test_the_recorder_opens_a_file_again_that_a_checkpoint_without_room_stopped(tmp_path: Path) -> None:
    """DuckDB gives it up then, and would refuse every write also when there is room."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    try:
        running = Running(server, DISK)
        await publish(server.url, running.settings, bodies())
        async with running.up() as recorder:
            await running.minutes(0, 300)
            await running.has(300, FILLS)
            ballast = fill_up(leave=8_192)
            with pytest.raises(StoppedFileError):
                await recorder._off_loop(recorder._keeper.writer.checkpoint)
            await running.minutes(300, 330)
            await until(lambda: any("No space left" in p for p in recorder.status().problems), "it is said", 30)
            ballast.unlink()
            await running.has(330, FILLS)
            assert recorder.status().problems == []
            assert not list(DISK.glob("*.broken-*"))
    finally:
        server.stop()
