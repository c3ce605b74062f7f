"""Snapshots of a live file."""

import threading

import duckdb
import pytest

from engine.errors import BrokenPromiseError, ConfigError
from storage import snapshot
from storage.bodies import read_all
from storage.guard import SqlRefusedError
from storage.instance import open_read_only as open_instance
from storage.sql import SqlService, open_read_only
from storage.writer import Writer
from tests.storage import samples


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "it's here"


@pytest.fixture
def writer(tmp_path, folder):
    with Writer.open(tmp_path / "odd-name.v1.duckdb", memory_limit_mb=128, threads=2, snapshot_dir=folder) as writer:
        writer.write("market", 100, samples.messages(*samples.bars(0, 100)))
        writer.write("trading", 2, samples.messages(samples.fill(), samples.signal()))
        yield writer


def test_a_snapshot_holds_everything_and_opens_on_its_own(writer, folder):
    taken = snapshot.take(writer.instance)
    assert taken.path == folder / "snapshot.duckdb"
    assert taken.size_bytes == taken.path.stat().st_size > 0
    assert [file.name for file in folder.iterdir()] == ["snapshot.duckdb"]
    copy = open_instance(taken.path, memory_limit_mb=128, threads=1, temp_limit_mb=64)
    assert read_all(copy) == read_all(writer.instance)
    copy.close()
    with open_read_only(taken.path) as service:
        for view in ("orders", "executed_trades", "latest_positions", "latest_bars", "latency"):
            assert service.query(f"SELECT count(*) FROM {view}").frame().height == 1
        assert service.query("SELECT count(*) FROM latest_bars").frame().item() == 50
    Writer.open(taken.path, memory_limit_mb=64, threads=1).close()


def test_snapshots_while_writing_are_each_of_one_moment(writer, folder):
    stop, failures = threading.Event(), []

    def write():
        seq = 100
        while not stop.is_set():
            seq += 50
            try:
                writer.write("market", seq, samples.messages(*samples.bars(seq - 50, 50)))
            except Exception as error:  # noqa: BLE001  a failure in a thread must reach the test
                failures.append(error)
                return

    thread = threading.Thread(target=write)
    thread.start()
    last = 0
    try:
        for _ in range(4):
            with open_read_only(snapshot.take(writer.instance).path) as service:
                sql = "SELECT (SELECT count(*) FROM bars), seq FROM recorder_positions WHERE stream = 'market'"
                ((count, seq),) = service.query(sql).frame().rows()
            assert count == seq >= last
            last = seq
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert last > 100


def test_a_failed_copy_keeps_the_snapshot_before(writer, folder, monkeypatch):
    before = snapshot.take(writer.instance).path.read_bytes()
    monkeypatch.setattr(snapshot, "sync", lambda path: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(BrokenPromiseError, match="could not be written: No space left on device"):
        snapshot.take(writer.instance)
    assert [file.name for file in folder.iterdir()] == ["snapshot.duckdb"]
    assert (folder / "snapshot.duckdb").read_bytes() == before


def test_leftovers_of_a_dead_process_go_at_open(tmp_path, folder):
    folder.mkdir()
    for name in (".snapshot-12-34.part", ".snapshot-12-34.part.wal"):
        (folder / name).write_bytes(b"half")
    (folder / "snapshot.duckdb").write_bytes(b"kept")
    Writer.open(tmp_path / "t.duckdb", memory_limit_mb=64, threads=1, snapshot_dir=folder).close()
    assert [file.name for file in folder.iterdir()] == ["snapshot.duckdb"]


@pytest.mark.parametrize("name", ["", "../x.duckdb", "a/b", ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(writer, name):
    with pytest.raises(ConfigError, match="must be a plain file name"):
        snapshot.take(writer.instance, name)


def test_without_a_folder_there_are_no_snapshots(tmp_path):
    with (
        Writer.open(tmp_path / "t.duckdb", memory_limit_mb=64, threads=1) as writer,
        pytest.raises(ConfigError, match="no snapshot folder is set"),
    ):
        snapshot.take(writer.instance)


def test_what_a_query_can_do_in_the_snapshot_folder(writer, folder):
    """The engine alone would allow reading and writing there, and nowhere else; the guard is what refuses it."""
    note = folder / "note.txt"
    note.write_text("x")
    inside = [f"SELECT content FROM read_text('{str(note).replace(chr(39), chr(39) * 2)}')", "COPY (SELECT 1) TO '{}'"]
    inside[1] = inside[1].format(str(folder / "new.csv").replace("'", "''"))
    with SqlService.beside(writer) as service:
        for sql in inside:
            with pytest.raises(SqlRefusedError, match=r"reads outside|is not a SELECT"):
                service.query(sql)
    with writer.instance.reading() as cursor:
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        assert cursor.execute(inside[0]).fetchall() == [("x",)]
        cursor.execute(inside[1]).fetchall()
        assert (folder / "new.csv").exists()
    (folder.parent / "secret.txt").write_text("x")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    for name in ("../secret.txt", "link.txt"):
        with writer.instance.reading() as cursor, pytest.raises(duckdb.PermissionException):
            cursor.execute(inside[0].replace("note.txt", name)).fetchall()
