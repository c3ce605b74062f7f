"""A file made anew against the one before: what is carried over, what is only counted, and putting it in place."""

import os
import shutil

import duckdb
import pytest

from engine.errors import BrokenPromiseError, BusyError, ConfigError
from engine.messages import Head, Message
from storage import replace
from storage.bodies import read_all
from storage.carry import carry, close_log, look
from storage.sql import open_read_only
from storage.tables import TABLES
from storage.writer import Writer
from tests.storage.samples import T0, accepted, bar, bars, fill, position, signal

S = 1_000_000_000


def write(path, stream, *timed):
    """Write bodies made at these seconds."""
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer:
        found = [Message(Head(T0 + second * S), body) for second, body in timed]
        return writer.write(stream, writer.positions().get(stream, 0) + len(found), found)


def contents(path):
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer:
        return read_all(writer.instance)


def query(path, sql):
    with open_read_only(path, memory_limit_mb=64) as service:
        return service.query(sql).frame().rows()


MARKET = [(minute * 60, bar("AAPL", minute)) for minute in range(20)]
TRADING = [
    (0, signal("s0")), (600, fill("v1", "10", client_order_id="c1")), (601, position("v1|10", "10")),
    (900, accepted("c2", "v2")), (901, fill("v2", "5", "5", client_order_id="c2")), (902, position("v2|5", "15")),
]  # fmt: skip


@pytest.fixture
def files(new_file):
    """The old file with everything; one from streams whose first bars and trading messages aged out; an empty one."""
    old, new, whole = new_file(), new_file(), new_file()
    write(old, "market", *MARKET)
    write(old, "trading", *TRADING)
    write(new, "market", *MARKET[12:])
    write(new, "trading", *TRADING[3:])
    return old, new, whole


def firsts(market, trading):
    return {t.name: market if t.name in {"bars", "gaps"} else trading for t in TABLES}


FIRSTS = firsts(T0 + 720 * S, T0 + 900 * S)


def test_what_aged_out_is_carried_over_in_order_and_known_afterwards(files):
    old, new, whole = files
    changes = {change.name: change for change in look(new, old, FIRSTS)}
    assert (changes["bars"].rows, changes["bars"].before, changes["bars"].carried) == (8, 20, 12)
    assert (changes["fills"].carried, changes["signals"].carried, changes["order_events"].carried) == (1, 1, 0)
    assert all(change.left == change.changed == 0 for change in changes.values())
    carry(whole, new, old, FIRSTS)
    assert contents(whole) == contents(old)
    assert [c.rows for c in look(whole, None, {})] == [c.before for c in changes.values()]
    assert query(whole, "SELECT signed_qty FROM latest_positions") == query(
        old, "SELECT signed_qty FROM latest_positions"
    )
    columns = "SELECT ts_init, ts_recv, trace FROM fills"
    assert query(whole, columns) == query(old, columns)
    assert query(whole, "SELECT stream, seq FROM recorder_positions ORDER BY ALL") == [("market", 8), ("trading", 3)]
    for stream, story in (("market", MARKET), ("trading", TRADING)):  # the dedupe knows carried rows too
        result = write(whole, stream, *story)
        assert (result.rows, result.duplicates, result.conflicts) == (0, len(story), 0)


def test_rows_that_are_in_no_stream_and_not_older_are_counted_and_left(files):
    old, new, _ = files
    write(old, "trading", (2000, fill("invented", "1", "1")))
    write(old, "market", (3000, bar("AAPL", 50)))
    found = {change.name: change for change in look(new, old, FIRSTS)}
    assert (found["fills"].left, found["fills"].carried) == (1, 1)
    assert (found["bars"].left, found["bars"].carried) == (1, 12)


def test_a_row_that_says_something_else_than_the_stream_is_counted_and_the_stream_stands(files, new_file):
    old, _, whole = files
    new = new_file()
    write(new, "market", *MARKET[12:19], (19 * 60, bar("AAPL", 19, close=100.75)))
    write(new, "trading", *TRADING[3:])
    found = {change.name: change for change in look(new, old, FIRSTS)}
    assert (found["bars"].changed, found["bars"].left, found["bars"].carried) == (1, 0, 12)
    carry(whole, new, old, FIRSTS)
    assert query(whole, 'SELECT "close" FROM latest_bars') == [(100.75,)]


def test_streams_that_hold_nothing_leave_everything_to_the_old_file(files, new_file):
    old, _, whole = files
    new = new_file()
    none = firsts(None, None)
    assert {c.name: c.carried for c in look(new, old, none)}["bars"] == 20
    carry(whole, new, old, none)
    assert contents(whole) == contents(old)


def test_conflicts_of_aged_out_messages_are_carried_over(files):
    old, new, whole = files
    write(old, "market", (1, bar("AAPL", 0, close=100.25)))
    write(old, "market", (1150, bar("AAPL", 19, close=100.25)))
    carry(whole, new, old, FIRSTS)
    assert query(whole, "SELECT key FROM conflicts") == [(f"AAPL|1m|{T0}|0",)]


def test_an_old_file_of_an_earlier_version_gives_what_it_has(files, new_file):
    old, new, whole = files
    with duckdb.connect(str(old)) as connection:
        connection.execute("DROP VIEW orders; DROP VIEW executed_trades; DROP VIEW latency; DROP TABLE fees")
        connection.execute("DROP VIEW latest_bars; ALTER TABLE bars DROP COLUMN vwap")
    found = {change.name: change for change in look(new, old, FIRSTS)}
    assert (found["fees"].before, found["bars"].carried, found["bars"].changed) == (0, 12, 0)
    carry(whole, new, old, FIRSTS)
    assert query(whole, "SELECT count(*), count(vwap) FROM bars") == [(20, 8)]


def test_many_rows(new_file):
    """More than are fetched at once; hashes and watermarks complete."""
    old, new, whole = new_file(), new_file(), new_file()
    fills = [(n, fill(f"v{n}")) for n in range(10_500)]
    write(old, "trading", *fills)
    write(old, "market", *((0, body) for body in bars(0, 3000)))
    write(new, "trading", *fills[10_400:])
    carry(whole, new, old, firsts(None, T0 + 10_400 * S))
    assert write(whole, "trading", *fills).duplicates == len(fills)
    assert contents(whole) == contents(old)


def test_why_an_old_file_cannot_be_read_is_said(tmp_path, new_file):
    assert close_log(new_file(), memory_limit_mb=64) == ""
    junk = tmp_path / "junk.duckdb"
    junk.write_bytes(b"junk" * 1000)
    assert "is not a DuckDB file" in close_log(junk, memory_limit_mb=64)
    assert junk.read_bytes() == b"junk" * 1000
    foreign = tmp_path / "foreign.duckdb"
    with duckdb.connect(str(foreign)) as connection:
        connection.execute("CREATE TABLE t (x INTEGER)")
    assert "holds no tables of tapeline" in close_log(foreign, memory_limit_mb=64)
    newer = new_file()
    write(newer, "market", (0, bar()))
    with duckdb.connect(str(newer)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'later')")
    with pytest.raises(ConfigError, match="use the newer tapeline"):
        close_log(newer, memory_limit_mb=64)
    held = new_file()
    with Writer.open(held, memory_limit_mb=64), pytest.raises(BusyError):
        close_log(held, memory_limit_mb=64)


def test_damaged_file_is_a_broken_promise_in_one_line(files, tmp_path):
    _, new, _ = files
    bad = tmp_path / "bad.duckdb"
    bad.write_bytes(b"x" * 20_000)
    with pytest.raises(BrokenPromiseError, match=r"bad\.duckdb.*move it away") as caught:
        look(new, bad, FIRSTS)
    assert "\n" not in str(caught.value)


# --- putting it in place -------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "t.duckdb"
    path.write_text("old")
    part = replace.part_path(path)
    part.write_text("new")
    return path, part


def test_the_old_file_stays_in_place_until_the_new_one_is(place):
    path, part = place
    kept = replace.keep(path, "20260105T143000Z")
    assert kept == path.with_name("t.duckdb.before-20260105T143000Z")
    assert path.read_text() == kept.read_text() == "old"
    replace.put(part, path)
    assert (path.read_text(), kept.read_text()) == ("new", "old")
    assert sorted(p.name for p in path.parent.iterdir()) == ["t.duckdb", kept.name]


def test_two_rebuilds_in_one_second_keep_both(place):
    path, part = place
    first = replace.keep(path, "x")
    replace.put(part, path)
    second = replace.keep(path, "x")
    assert second != first
    assert (first.read_text(), second.read_text()) == ("old", "new")


def test_without_an_old_file_nothing_is_kept(place):
    path, part = place
    path.unlink()
    assert replace.keep(path, "x") is None
    replace.put(part, path)
    assert path.read_text() == "new"


def test_the_log_of_a_file_that_cannot_be_read_goes_with_it(place):
    path, part = place
    log = path.with_name("t.duckdb.wal")
    log.write_text("log")
    with pytest.raises(BrokenPromiseError, match="log"):
        replace.put(part, path)
    assert path.read_text() == "old"
    kept = replace.keep(path, "x")
    replace.put(part, path)
    assert not log.exists()
    assert kept.with_name(kept.name + ".wal").read_text() == "log"


def test_a_file_system_without_links_gets_a_copy(place, monkeypatch):
    path, _ = place
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("not here")))
    kept = replace.keep(path, "x")
    assert kept.read_text() == path.read_text() == "old"
    assert not kept.samefile(path)


def test_what_a_killed_rebuild_left_is_removed_and_nothing_else(place):
    path, part = place
    replace.part_path(path, "-whole").write_text("half")
    part.with_name(part.name + ".wal").write_text("log")
    part.with_name(part.name + ".tmp").mkdir()
    twin = replace.keep(path, "twin")
    other = shutil.copy(path, path.with_name("t.duckdb.before-other"))
    replace.remove_parts(path)
    assert not twin.exists()
    assert sorted(p.name for p in path.parent.iterdir()) == ["t.duckdb", other.name]
