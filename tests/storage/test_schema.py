"""Opening files: new, old, newer, foreign, held, broken."""

import re

import duckdb
import pytest

from engine.errors import BusyError, ConfigError
from storage.bodies import read_all
from storage.schema import load_migrations, migrate
from storage.sql import open_read_only
from storage.writer import Writer, WriteResult
from tests.storage import samples
from tests.storage.test_kill import child

VERSIONS = len(load_migrations())


def make(path, *statements):
    connection = duckdb.connect(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("version", range(VERSIONS + 1))
def test_every_earlier_version_is_brought_forward(tmp_path, version):
    path = tmp_path / "t.duckdb"
    connection = duckdb.connect(str(path))
    assert migrate(connection, path, upto=version) == version
    if version:
        connection.execute(
            "INSERT INTO bars BY NAME SELECT 'A' AS symbol, '1m' AS timeframe, now() AS ts_event, 5 AS ts_event_ns, "
            '1.0 AS "open", 1.0 AS high, 1.0 AS low, 1.0 AS "close", 1.0 AS volume, 0 AS revision, '
            "false AS is_backfill, now() AS ts_init, '' AS trace"
        )
    connection.close()
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer:
        assert writer.write("s", 1, samples.messages(samples.bar(), samples.fill())) == WriteResult(rows=2)
        found = read_all(writer.instance)
        assert len(found["bars"]) == (2 if version else 1)
        with writer.instance.reading() as cursor:
            assert cursor.execute("SELECT version FROM schema_version ORDER BY 1").fetchall() == [
                (number + 1,) for number in range(VERSIONS)
            ]
            views = {
                row[0] for row in cursor.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
            }
    assert views == {
        "orders",
        "executed_trades",
        "latest_positions",
        "latest_bars",
        "latency",
        "all_bars",
        "corrected_bars",
        "warm_up_bars",
        "market_quotes",
        "market_trades",
        "all_marks",
        "bot_control",
        "shadow_guards",
        "setting_changes",
        "shadow_intents",
        "shadow_denials",
        "shadow_fills",
        "shadow_positions",
        "shadow_trades",
        "shadow_performance",
        "every_position_change",
        "every_trade",
        "every_performance",
        "position_changes",
        "trades",
        "strategy_performance",
    }


def test_a_newer_file_is_refused_by_both_ways_in_and_left_as_it_is(tmp_path):
    path = tmp_path / "t.duckdb"
    Writer.open(path, memory_limit_mb=64, threads=1).close()
    make(path, "INSERT INTO schema_version VALUES (99, 'from the future')")
    before = path.read_bytes()
    for opening in (lambda: Writer.open(path, memory_limit_mb=64, threads=1), lambda: open_read_only(path)):
        with pytest.raises(
            ConfigError, match=r"schema version 99, this version knows up to \d+: use the newer tapeline"
        ):
            opening()
    assert path.read_bytes() == before


def test_a_failing_migration_leaves_the_version_before(tmp_path, monkeypatch):
    path = tmp_path / "t.duckdb"
    broken = (*load_migrations(), ("0099_broken.sql", "CREATE TABLE half (a INT); SELECT nonsense"))
    with monkeypatch.context() as patched:
        patched.setattr("storage.schema.load_migrations", lambda: broken)
        with pytest.raises(ConfigError, match=rf"schema version {VERSIONS + 1} \(0099_broken.sql\): Binder Error"):
            Writer.open(path, memory_limit_mb=64, threads=1)
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer, writer.instance.reading() as cursor:
        assert cursor.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == [(0,)]


def test_migrations_are_numbered_without_holes():
    assert [int(name[:4]) for name, _ in load_migrations()] == list(range(1, VERSIONS + 1))


def test_a_foreign_database(tmp_path):
    path = tmp_path / "t.duckdb"
    make(path, "CREATE TABLE bars (a INT)")
    with pytest.raises(ConfigError, match="schema version 1"):
        Writer.open(path, memory_limit_mb=64, threads=1)
    with pytest.raises(ConfigError, match="holds no tables of tapeline"):
        open_read_only(path)


@pytest.mark.parametrize("content", [b"symbol,open\nAAPL,1\n", b"SQLite format 3\0" + bytes(5000), bytes(100_000)])
def test_not_a_duckdb_file(tmp_path, content):
    path = tmp_path / "t.duckdb"
    path.write_bytes(content)
    for opening in (lambda: Writer.open(path, memory_limit_mb=64, threads=1), lambda: open_read_only(path)):
        with pytest.raises(ConfigError, match=r"t\.duckdb is not a DuckDB file: name another file") as caught:
            opening()
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_damaged_file(tmp_path):
    path = tmp_path / "t.duckdb"
    Writer.open(path, memory_limit_mb=64, threads=1).close()
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"t\.duckdb cannot be opened: ") as caught:
        Writer.open(path, memory_limit_mb=64, threads=1)
    assert "\n" not in str(caught.value)


def test_paths_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"the folder .* does not exist: create it"):
        Writer.open(tmp_path / "nowhere" / "t.duckdb", memory_limit_mb=64, threads=1)
    with pytest.raises(ConfigError, match=r"none\.duckdb does not exist"):
        open_read_only(tmp_path / "none.duckdb")
    with pytest.raises(ConfigError, match=r"cannot be opened|does not exist"):
        open_read_only(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_held_by_another_process_names_it(tmp_path):
    path = tmp_path / "t.duckdb"
    with child(path, "hold") as process:
        assert process.stdout.readline() == "holding\n"
        for opening in (lambda: Writer.open(path, memory_limit_mb=64, threads=1), lambda: open_read_only(path)):
            with pytest.raises(BusyError, match=re.escape(f"t.duckdb is held by process {process.pid} ")) as caught:
                opening()
            assert "ask that daemon" in str(caught.value)
            assert "\n" not in str(caught.value)
    with open_read_only(path) as service:
        assert service.query("SELECT count(*) FROM bars").frame().item() == 0, (
            "read-only opening after a kill, WAL left"
        )


def test_a_file_open_in_this_process(tmp_path):
    path = tmp_path / "t.duckdb"
    with Writer.open(path, memory_limit_mb=64, threads=1):
        for opening in (lambda: Writer.open(path, memory_limit_mb=64, threads=1), lambda: open_read_only(path)):
            with pytest.raises(BusyError, match="already open in this process"):
                opening()
    Writer.open(path, memory_limit_mb=64, threads=1).close()


def test_what_a_dead_process_spilled_is_removed(tmp_path):
    spill = tmp_path / "t.duckdb.tmp" / "duckdb_temp_storage_DEFAULT-0.tmp"
    spill.parent.mkdir()
    spill.write_bytes(b"left")
    with Writer.open(tmp_path / "t.duckdb", memory_limit_mb=64, threads=1):
        assert not spill.exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.duckdb"]
