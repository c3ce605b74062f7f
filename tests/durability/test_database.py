"""The recorder's file deleted, replaced, damaged, or its log lost, while it is open and while it is not: SQL answers again,
every row is there once, and somebody is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from config.settings import NatsSettings, RecorderSettings, Settings
from engine.errors import TapelineError
from engine.messages import Alert, Head, decode, encode
from storage.snapshot import take
from storage.writer import Writer
from streams.connection import Inflow, connect
from streams.loss import Guard
from streams.role import Context, NoPoints, topology_of
from streams.server import NatsServer
from streams.services.recorder import Recorder
from streams.sql_ask import ask
from streams.subjects import subject_of
from streams.topology import ensure
from tests.durability.ledger import bodies, publish
from tests.engine.build import T0
from tests.storage.samples import bars
from tests.streams.test_role import _StoppedClock
from tests.streams.wire import until

BARS = bars(0, 400)
FILLS = 200


class Running:
    """A recorder in this process, on a nats-server of its own."""

    def __init__(self, server: NatsServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.path = folder / "tapeline.duckdb"
        recording = RecorderSettings(batch_ms=10, memory_mb_max=64)
        self.settings = Settings(data_dir=str(folder), recorder=recording, nats=NatsSettings(is_own=True))
        self.topology = topology_of(self.settings)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Recorder]:
        self.nc = await connect(self.server.url, "recorder", kind=Inflow)
        js = self.nc.jetstream(timeout=5)
        await ensure(js, self.topology)
        context = Context(
            "recorder", self.settings, self.topology, self.nc, self.nc, js, _StoppedClock(), lambda: T0, NoPoints(), []
        )
        context.guard = Guard(self.folder, "recorder")
        recorder = Recorder(context, self.path, self.folder / "snapshots")
        await recorder.start()
        worker = asyncio.create_task(recorder.run())
        try:
            yield recorder
            assert not worker.done(), worker.exception()
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
            await recorder.stop()
            await self.nc.close()

    async def minutes(self, first: int, last: int) -> None:
        for number, body in enumerate(BARS[first:last], first):
            data = encode(Head(T0 + number), body)
            await self.nc.publish(subject_of(self.topology.prefix, body), data)
        await self.nc.flush()

    async def count(self, table: str) -> int:
        frame, _ = await ask(self.nc, self.topology.prefix, f"SELECT count(*) AS n FROM {table}", 10, 5)
        return frame.item()

    async def has(self, n_bars: int, n_fills: int) -> None:
        bars, fills = (
            "SELECT DISTINCT symbol, ts_event_ns FROM bars",
            "SELECT DISTINCT venue_order_id, cum_qty FROM fills",
        )

        async def there() -> bool:
            with contextlib.suppress(TapelineError):  # while the file is exchanged
                found = [await self.count(name) for name in ("bars", "fills", f"({bars})", f"({fills})")]
                return found == [n_bars, n_fills, n_bars, n_fills]
            return False

        await until(there, f"{n_bars} bars and {n_fills} fills, none twice", 30)

    async def told(self, *words: str) -> None:
        """Wait for the alert, in the stream."""

        async def said() -> bool:
            with contextlib.suppress(Exception):
                raw = await self.nc.jetstream().get_last_msg(
                    self.topology.trading, f"{self.topology.prefix}.alerts.error"
                )
                body = decode(raw.data or b"").body
                return isinstance(body, Alert) and body.role == "recorder" and all(word in body.what for word in words)
            return False

        await until(said, f"an alert with {words}")


@pytest.fixture
async def running(server: NatsServer, tmp_path: Path) -> Running:
    """Both streams filled and recorded, the recorder stopped."""
    made = Running(server, tmp_path / "data")
    await publish(server.url, made.settings, bodies())
    async with made.up():
        await made.minutes(0, 200)
        await made.has(200, FILLS)
    return made


def _unlink(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def _unlink_alone(path: Path) -> None:
    assert path.with_name(path.name + ".wal").exists()
    path.unlink()


def _replace(path: Path) -> None:
    path.with_name("other").write_bytes(b"my notes")
    path.with_name("other").replace(path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [pytest.param(_unlink, "deleted", marks=pytest.mark.soak), (_unlink_alone, "deleted"), (_replace, "replaced")],
    ids=["deleted", "deleted without its log", "replaced"],
)
async def test_a_file_that_goes_away_while_it_is_open_is_there_again_whole(
    running: Running, harm: Callable[[Path], None], words: str
) -> None:
    """Also with rows that no stream has any more."""
    async with running.up() as recorder:
        await running.minutes(200, 210)
        await running.has(210, FILLS)
        await running.nc.jetstream().purge_stream(running.topology.market)
        harm(running.path)
        await running.minutes(210, 230)
        await running.has(230, FILLS)
        await running.told(words, "copied out whole")
        assert recorder.status().problems == []
        assert recorder._keeper.is_in_place()
        await running.minutes(230, 260)
        await running.has(260, FILLS)
    found = list(running.folder.glob("tapeline.duckdb.broken-*"))
    assert [path.read_bytes() for path in found] == ([b"my notes"] if harm is _replace else [])


async def test_a_file_that_goes_away_is_noticed_where_nothing_is_written(running: Running) -> None:
    async with running.up():
        _unlink(running.path)
        await until(running.path.exists, "the file is there again")
        await running.has(200, FILLS)


async def test_a_file_damaged_while_it_is_open_is_set_aside_and_made_anew(running: Running) -> None:
    async with running.up():
        os.truncate(running.path, 20_000)
        await running.minutes(200, 230)
        await running.has(230, FILLS)
        await running.told("kept as", "made from the streams")
    assert list(running.folder.glob("tapeline.duckdb.broken-*"))


def _junk(path: Path) -> None:
    path.write_bytes(b"junk" * 1_000)


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("harm", "words"),
    [(_unlink, "was gone"), pytest.param(_junk, "not a DuckDB file", marks=pytest.mark.soak), (_half, "kept as")],
    ids=["gone", "junk", "half"],
)
async def test_a_file_lost_while_nobody_had_it_open_is_made_anew(
    running: Running, harm: Callable[[Path], None], words: str
) -> None:
    harm(running.path)
    async with running.up() as recorder:
        await running.has(200, FILLS)
        await running.told(words, "made from the streams")
        await until(lambda: recorder.status().problems == [], "it has caught up")


async def test_a_first_start_tells_nobody(server: NatsServer, tmp_path: Path) -> None:
    made = Running(server, tmp_path / "data")
    await publish(server.url, made.settings, bodies())
    async with made.up() as recorder:
        await made.has(0, FILLS)
        assert recorder.status().problems == []
        assert await made.count("alerts") == 0


async def test_a_lost_log_costs_a_reading(running: Running, tmp_path: Path) -> None:
    """Killed, and the WAL gone: the position is in the same transaction as the rows, so it went back with them."""
    before = tmp_path / "before"
    with Writer.open(running.path, memory_limit_mb=64, threads=1) as writer:
        writer.checkpoint()
        shutil.copy(running.path, before)
    async with running.up():
        await running.minutes(200, 230)
        await running.has(230, FILLS)
    _unlink(running.path)
    before.replace(running.path)
    async with running.up():
        await running.has(230, FILLS)


async def test_killed_while_the_copy_was_on_its_way(running: Running) -> None:
    """Nothing but the copy has the bars that aged out: the next start puts it in place."""
    async with running.up() as recorder:
        await running.nc.jetstream().purge_stream(running.topology.market)
        _unlink(running.path)
        await recorder._off_loop(lambda: take(recorder._keeper.writer.instance, recorder._keeper._copy.name))
        os.link(recorder._keeper._copy, running.folder / "copy")
        await until(running.path.exists, "the file is there again")
    _unlink(running.path)
    (running.folder / "copy").replace(running.folder / "snapshots" / "rescue.duckdb")
    async with running.up():
        await running.has(200, FILLS)


async def test_a_damaged_log_costs_what_is_in_it(running: Running) -> None:
    """Killed, and the WAL is of another file or its bytes changed: the file itself, with what aged out, goes on."""
    with Writer.open(running.path, memory_limit_mb=64, threads=1) as writer:
        writer.checkpoint()
    async with running.up():
        await running.nc.jetstream().purge_stream(running.topology.market)
        await running.minutes(200, 230)
        await running.has(230, FILLS)
        killed = [(path.name, path.read_bytes()) for path in running.folder.glob("tapeline.duckdb*")]
    _unlink(running.path)
    for name, data in killed:
        half = len(data) // 2
        flipped = bytes(byte ^ 0xFF for byte in data[half : half + 64])
        whole = data[:half] + flipped + data[half + 64 :]
        (running.folder / name).write_bytes(whole if name.endswith(".wal") else data)
    assert len(killed) == 2
    async with running.up():
        await running.has(230, FILLS)
        await running.told("its log is kept as", "read from the streams again")
    (kept,) = running.folder.glob("*.broken-*")
    assert kept.name.startswith("tapeline.duckdb.wal.broken-")
