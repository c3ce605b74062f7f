"""Guarded SQL: what is refused and why, what works, and that nothing here hurts the writer."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from time import monotonic, perf_counter

import duckdb
import polars as pl
import pytest

from engine.errors import BusyError
from engine.messages import Head, Message, OrderCanceled
from engine.values import Purpose
from storage import ipc
from storage.guard import SqlRefusedError
from storage.sql import SqlService, open_read_only
from storage.writer import Writer, WriteResult
from tests.storage import samples

HOSTILE = [
    # writes
    ("DELETE FROM bars", "DELETE is not a SELECT"),
    ("INSERT INTO alerts SELECT * FROM alerts", "INSERT is not a SELECT"),
    ("UPDATE fills SET last_px = 1", "UPDATE is not a SELECT"),
    ("DROP TABLE fills", "DROP is not a SELECT"),
    ("CREATE TABLE x (a INT)", "CREATE is not a SELECT"),
    ("CREATE TEMP TABLE x (a INT)", "CREATE is not a SELECT"),
    ("ALTER TABLE bars ADD COLUMN x INT", "ALTER is not a SELECT"),
    ("TRUNCATE bars", "is not a SELECT"),
    ("MERGE INTO fills f USING fills g ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES", "is not a SELECT"),
    ("WITH gone AS (DELETE FROM fills RETURNING *) SELECT * FROM gone", "the text writes (DELETE inside a CTE)"),
    ("WITH a AS (WITH b AS (UPDATE fills SET bot='x' RETURNING 1) FROM b) FROM a", "writes (UPDATE inside a CTE)"),
    (
        "SELECT (WITH x AS (INSERT INTO alerts FROM alerts RETURNING 1) SELECT count(*) FROM x)",
        "the text writes (INSERT",
    ),
    ("EXPLAIN ANALYZE DELETE FROM fills", "DELETE is not a SELECT"),
    ("EXPLAIN EXPLAIN SELECT 1", "refused: "),
    ("PREPARE p AS SELECT 1", "PREPARE is not a SELECT"),
    ("BEGIN", "TRANSACTION is not a SELECT"),
    ("COMMIT", "TRANSACTION is not a SELECT"),
    # files, programs, other databases
    ("SELECT * FROM read_text('/etc/passwd')", "read_text() reads outside"),
    ("SELECT (SELECT content FROM read_blob('/etc/passwd'))", "read_blob() reads outside"),
    ("FROM read_csv('/etc/passwd')", "read_csv() reads outside"),
    ("FROM read_parquet('x.parquet')", "read_parquet() reads outside"),
    ("FROM 'file.parquet'", "'file.parquet' is a file"),
    ("FROM '/etc/passwd'", "'/etc/passwd' is a file"),
    ("FROM 'https://example.com/x.csv'", "is a file"),
    ("FROM 'snapshot.duckdb'", "is a file"),
    ("FROM glob('/etc/*')", "glob() reads outside"),
    ("DESCRIBE FROM read_csv('/etc/passwd')", "read_csv() reads outside"),
    ("SUMMARIZE FROM glob('*')", "glob() reads outside"),
    ("EXPLAIN SELECT * FROM read_text('/etc/passwd')", "read_text() reads outside"),
    ("FROM sniff_csv('/etc/passwd')", "sniff_csv() reads outside"),
    ("SELECT * FROM bars, LATERAL (SELECT * FROM read_text(symbol))", "read_text() reads outside"),
    ("COPY bars TO '/tmp/x.csv'", "COPY is not a SELECT"),
    ("COPY bars FROM '/tmp/x.csv'", "COPY is not a SELECT"),
    ("EXPORT DATABASE '/tmp/x'", "EXPORT is not a SELECT"),
    ("ATTACH '/tmp/x.duckdb' AS x", "ATTACH is not a SELECT"),
    ("DETACH t", "DETACH is not a SELECT"),
    ("USE memory", "SET is not a SELECT"),
    ("INSTALL httpfs", "LOAD is not a SELECT"),
    ("LOAD httpfs", "LOAD is not a SELECT"),
    # settings, secrets, the process
    ("SET threads = 1", "SET is not a SELECT"),
    ("SET GLOBAL memory_limit = '10GB'", "SET is not a SELECT"),
    ("RESET lock_configuration", "SET is not a SELECT"),
    ("PRAGMA enable_profiling", "PRAGMA is not a SELECT"),
    ("CALL enable_logging()", "CALL is not a SELECT"),
    ("CHECKPOINT", "CALL is not a SELECT"),
    ("SELECT * FROM checkpoint()", "checkpoint() is not on the list"),
    ("SELECT * FROM force_checkpoint()", "force_checkpoint() is not on the list"),
    ("SELECT * FROM enable_logging()", "enable_logging() is not on the list"),
    ("SELECT * FROM duckdb_secrets()", "duckdb_secrets() reads outside"),
    ("SELECT * FROM duckdb_logs", "duckdb_logs may hold"),
    ("SELECT getenv('HOME')", "getenv() does more than read"),
    ("SELECT write_log('x')", "write_log() does more than read"),
    ("SELECT sleep_ms(100000)", "sleep_ms() does more than read"),
    ("SELECT * FROM query('DELETE FROM bars')", "query() is not on the list"),
    ("SELECT * FROM query_table('bars')", "query_table() is not on the list"),
    ("SELECT * FROM arrow_scan(1, 2, 3)", "arrow_scan() reads outside"),
    ("SELECT * FROM pandas_scan(1)", "pandas_scan() reads outside"),
    ("FROM json_execute_serialized_sql('{}')", "json_execute_serialized_sql() reads outside"),
    ("FROM python_variable", "python_variable does not exist"),
    # more than a query can have
    ("SELECT 1; SELECT 2", "one statement at a time, found 2"),
    ("SELECT 1; DROP TABLE bars", "one statement at a time, found 2"),
    ("", "the text is empty"),
    ("-- nothing", "the text is empty"),
    ("SELCT 1", 'Parser Error: syntax error at or near "SELCT"'),
    ("SELECT nonsense FROM bars", 'Referenced column "nonsense" not found'),
    ("SELECT * FROM no_such_table", "Table with name no_such_table does not exist"),
    ("SELECT 'a'::INT", "Conversion Error"),
    ("SELECT 1 WHERE '\ud800' = ''", "not valid Unicode"),
    ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "Max expression depth"),
    ("SELECT '" + "x" * 70_000 + "'", "longer than 65536 bytes"),
    ("SELECT repeat('x', 4000000000)", "10000 characters at most"),
    ("SELECT repeat(repeat('x', 1000), 1000)", "10000 characters at most"),
    ("SELECT 'x'.repeat(4000000000)", "10000 characters at most"),
    ("SELECT repeat('x', volume::INT) FROM bars", "must be a whole number written out"),
    ("SELECT lpad('x', 2000000000, 'y')", "10000 characters at most"),
    ("SELECT printf('%2000000000d', 1)", "10000 characters at most"),
    ("SELECT printf('%*d', 2000000000, 1)", "template given to printf() must be written out"),
    ("SELECT format('{:>{}}', 'x', 2000000000)", "template given to format() must be written out"),
    ("SELECT format(symbol, 1) FROM bars", "template given to format() must be written out"),
    ("SELECT printf('%" + "9" * 5000 + "d', 1)", "10000 characters at most"),
    ("SELECT repeat('x', '\u00b2')", "must be a whole number written out"),
    ("SELECT * FROM " + "(SELECT * FROM " * 3000 + "bars" + ")" * 3000, "refused: "),
    ("SELECT range(1000000000)", "10000 characters at most"),
    (
        "SELECT generate_series(now(), now() + INTERVAL 1 YEAR, INTERVAL 1 MICROSECOND)",
        "FROM range(...) has no such limit",
    ),
    ("SELECT INTERVAL 1 DAY AS span", "column span is of a type that does not travel"),
]

FINE = [
    ("SELECT symbol, count(*) AS n FROM bars GROUP BY ALL ORDER BY ALL", [("AAPL", 3), ("BRK.B", 3)]),
    ("FROM fills SELECT last_px", [(Decimal("100.250000000"),)]),
    ("TABLE no_trades", []),
    ("VALUES (1, 'a')", [(1, "a")]),
    ("WITH a AS (SELECT 1 AS x), b AS MATERIALIZED (SELECT x + 1 AS x FROM a) SELECT * FROM b", [(2,)]),
    ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT max(n) FROM r", [(5,)]),
    (
        """SELECT symbol, "close" - lag("close") OVER (PARTITION BY symbol ORDER BY ts_event) AS change FROM bars
        QUALIFY change IS NOT NULL AND symbol = 'AAPL' ORDER BY ts_event""",
        [("AAPL", 1.0), ("AAPL", 1.0)],
    ),
    (
        "SELECT b.symbol FROM bars b ASOF JOIN fills f ON b.symbol = f.symbol AND b.ts_event >= f.ts_event LIMIT 1",
        [("AAPL",)],
    ),
    ("SELECT (indicators->>'sma_3')::DOUBLE FROM signals", [(100.125,)]),
    ("SELECT count(*) FROM range(1000000)", [(1_000_000,)]),
    ("SELECT unnest(range(3)) AS n", [(0,), (1,), (2,)]),
    ("SELECT lpad(symbol, 6, '.'), format('{:>6.2f}', price) FROM signals", [("..AAPL", "100.50")]),
    ("SELECT 1 AS a, 2 AS a, 3 AS a_1", [(1, 2, 3)]),
    ("SELECT current_setting('TimeZone') ;", [("UTC",)]),
    ("SELECT printf('%5.1f%%', 1.5), format('{{{}}}', 2)", [("  1.5%", "{2}")]),
    ("/* a remark */ SELECT 1 -- and another\n;", [(1,)]),
    ("PIVOT (SELECT symbol, revision FROM bars) ON symbol IN ('AAPL', 'BRK.B') USING count(*)", [(0, 3, 3)]),
    ('SELECT x FROM (SELECT 1 AS x) "odd name"', [(1,)]),
]


def fill_file(writer):
    three = [samples.bar(symbol, minute, close=100.0 + minute) for symbol in ("AAPL", "BRK.B") for minute in range(3)]
    writer.write("market", 6, samples.messages(*three))
    writer.write("trading", 2, samples.messages(samples.signal(), samples.fill()))


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A writer's file with a service beside it."""
    path = tmp_path_factory.mktemp("live") / "t.duckdb"
    with Writer.open(path, memory_limit_mb=128, threads=2, snapshot_dir=path.parent / "snapshots") as writer:
        fill_file(writer)
        with SqlService.beside(writer) as service:
            yield writer, service


@pytest.fixture(scope="module")
def file_only(tmp_path_factory):
    """The same file without a writer."""
    path = tmp_path_factory.mktemp("file") / "t.duckdb"
    with Writer.open(path, memory_limit_mb=128, threads=2) as writer:
        fill_file(writer)
    with open_read_only(path, memory_limit_mb=128) as service:
        yield service


@pytest.fixture(params=["live", "file_only"])
def service(request):
    found = request.getfixturevalue(request.param)
    return found[1] if request.param == "live" else found


@pytest.mark.parametrize(("sql", "reason"), HOSTILE, ids=lambda value: value[:40].encode("ascii", "replace").decode())
def test_hostile_texts_are_refused_with_a_reason_on_one_line(service, sql, reason):
    with pytest.raises(SqlRefusedError) as caught:
        service.query(sql, time_limit_s=20)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert service.query("SELECT count(*) FROM bars").frame().item() == 6


@pytest.mark.parametrize(("sql", "rows"), FINE, ids=lambda value: str(value)[:40])
def test_honest_texts_work(service, sql, rows):
    result = service.query(sql)
    assert result.frame().rows() == rows
    assert result.truncated is False
    assert ipc.from_ipc(result.to_ipc()).equals(result.frame())


@pytest.mark.parametrize(
    "sql", ["DESCRIBE bars", "SHOW TABLES", "SUMMARIZE fills", "SHOW ALL TABLES", "DESCRIBE SELECT 1 AS a"]
)
def test_descriptions_work(service, sql):
    assert service.query(sql).frame().height > 0


@pytest.mark.parametrize("head", ["EXPLAIN", "explain analyze", "EXPLAIN (FORMAT json)", "-- why\n/* so */ Explain"])
def test_plans_work(service, head):
    assert "bars" in str(service.query(f"{head} SELECT symbol FROM bars").frame()[0, 1]).lower()


def test_the_second_fence_holds_without_the_first(live, tmp_path, monkeypatch):
    """Were the guard blind, the instance and the read-only transaction still refuse."""
    monkeypatch.setattr("storage.sql.check", lambda *_: None)
    monkeypatch.setattr("storage.sql.python_variable", pl.DataFrame({"a": [1]}), raising=False)
    _, service = live
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    for sql, reason in [
        ("DELETE FROM bars", "read-only"),
        ("WITH gone AS (DELETE FROM fills RETURNING *) SELECT * FROM gone", "read-only"),
        (f"SELECT * FROM read_text('{outside}')", "disabled by configuration"),
        (f"COPY (SELECT 1) TO '{outside}'", "disabled by configuration"),
        (f"ATTACH '{tmp_path / 'x.duckdb'}'", "disabled by configuration"),
        ("SET GLOBAL threads = 8", "locked"),
        ("SET GLOBAL enable_external_access = true", "enable_external_access|locked"),
        ("SET GLOBAL allowed_directories = ['/']", "locked|allowed_directories"),
        ("SET GLOBAL lock_configuration = false", "locked"),
        ("SET python_enable_replacements = true", "locked"),
        ("INSTALL httpfs", "disabled"),
        ("LOAD httpfs", "disabled"),
        ("SELECT getenv('HOME')", "does not exist"),
        ("FROM duckdb_secrets()", "disabled by configuration"),
        ("FROM python_variable", "does not exist"),
    ]:
        with pytest.raises(SqlRefusedError, match=reason):
            service.query(sql)
    assert outside.read_text() == "secret"
    assert len(service.query("FROM bars").frame()) == 6


def test_rows_beyond_the_limit_are_cut_and_said(service):
    cut = service.query("SELECT range AS n FROM range(100000)", row_limit=3000)
    assert (cut.table.num_rows, cut.truncated) == (3000, True)
    assert cut.frame()["n"].to_list() == list(range(3000))
    whole = service.query("SELECT range AS n FROM range(3000)", row_limit=3000)
    assert (whole.table.num_rows, whole.truncated) == (3000, False)


def test_bytes_beyond_the_limit_are_cut_and_said(service, monkeypatch):
    monkeypatch.setattr("storage.sql.BYTES_MAX", 1_000_000)
    cut = service.query("SELECT repeat('x', 1000) AS t FROM range(20000)", row_limit=20_000)
    assert cut.truncated
    assert 0 < cut.table.nbytes <= 1_000_000


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(100000000000)",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
        "SELECT a.range FROM range(100000000) a ORDER BY hash(a.range)",
    ],
)
def test_the_time_limit_ends_a_query_and_leaves_the_service_well(service, sql):
    started = monotonic()
    with pytest.raises(SqlRefusedError, match=r"^stopped: it ran longer than 0.2 s$"):
        service.query(sql, time_limit_s=0.2)
    assert monotonic() - started < 5
    assert service.query("SELECT 1").frame().item() == 1


def test_a_query_without_memory_ends_in_words(service):
    with pytest.raises(SqlRefusedError, match="needs more memory than the limit"):
        service.query("SELECT list(range) FROM range(1000000000)", time_limit_s=20)
    assert service.query("SELECT 1").frame().item() == 1


def test_temporary_files_stay_beside_the_file_and_within_their_limit(tmp_path):
    path = tmp_path / "t.duckdb"
    with (
        Writer.open(path, memory_limit_mb=64, threads=2, temp_limit_mb=16) as writer,
        SqlService.beside(writer) as service,
    ):
        with pytest.raises(SqlRefusedError, match=r"needs more memory|temp"):
            service.query("SELECT range FROM range(50000000) ORDER BY hash(range)", time_limit_s=30)
        for file in (tmp_path / "t.duckdb.tmp").glob("*"):
            assert file.stat().st_size <= 20 * 2**20
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.duckdb"]


def test_too_many_waiting_queries_are_refused_at_once(live):
    writer, _ = live
    with SqlService(writer.instance, workers=1, waiting_max=1) as service:
        futures = [service.submit("SELECT count(*) FROM range(100000000000)", time_limit_s=30) for _ in range(2)]
        with pytest.raises(BusyError, match="too many SQL queries wait"):
            service.submit("SELECT 1")
        until = monotonic() + 10
        while not service._running:
            assert monotonic() < until
        service.interrupt_all()
        with pytest.raises(SqlRefusedError, match="stopped: the writer needs the memory"):
            futures[0].result(30)
        started = monotonic()
        service.close()
        assert monotonic() - started < 5
        with pytest.raises(SqlRefusedError, match=r"stopped: the (database is being closed|writer needs the memory)"):
            futures[1].result(0)
        with pytest.raises(BusyError, match="is closed"):
            service.submit("SELECT 1")


def test_time_spent_waiting_counts(live):
    writer, _ = live
    with SqlService(writer.instance, workers=1) as service:
        first = service.submit("SELECT count(*) FROM range(100000000000)", time_limit_s=0.4)
        second = service.submit("SELECT count(*) FROM range(100000000000)", time_limit_s=0.1)
        for future in (first, second):
            with pytest.raises(SqlRefusedError, match="stopped: it ran longer"):
                future.result(10)


@pytest.mark.soak
def test_queries_and_commits_do_not_wait_for_each_other(tmp_path):
    """Readers see whole batches only, counts never fall, and a heavy query does not hold a commit."""
    path = tmp_path / "t.duckdb"
    with Writer.open(path, memory_limit_mb=128, threads=2) as writer, SqlService.beside(writer) as service:
        writer.write("market", 200, samples.messages(*samples.bars(0, 200)))
        stop, problems, slowest = threading.Event(), [], [0.0]

        def read():
            last = 0
            while not stop.is_set():
                sql = "SELECT (SELECT count(*) FROM bars), (SELECT seq FROM recorder_positions)"
                ((count, seq),) = service.query(sql).frame().rows()
                if count != seq or count < last:
                    problems.append((count, seq, last))
                last = count

        heavy = service.submit("SELECT count(DISTINCT hash(range)) FROM range(10000000000)", time_limit_s=60)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            for n in range(1, 61):
                batch = samples.messages(*samples.bars(200 * n, 200))
                started = perf_counter()
                assert writer.write("market", 200 * (n + 1), batch) == WriteResult(rows=200)
                slowest[0] = max(slowest[0], perf_counter() - started)
            still_running = not heavy.done()
            stop.set()
            reading.result(30)
        service.interrupt_all("enough")
        assert problems == []
        assert still_running or "memory" in str(heavy.exception())
        assert slowest[0] < 5


def test_a_query_built_to_take_all_memory_is_survived(tmp_path):
    """With the cap on the process even what no static rule sees ends as a refusal, and commits go on."""
    code = """
import sys
from pathlib import Path
from storage.guard import SqlRefusedError
from storage.instance import cap_process_memory
from storage.sql import SqlService
from storage.writer import Writer
from tests.storage.samples import bars, messages
with Writer.open(Path(sys.argv[1]), memory_limit_mb=128, threads=2) as writer, SqlService.beside(writer) as service:
    cap_process_memory(1500)
    writer.write("s", 100, messages(*bars(0, 100)))
    bomb = "WITH x AS (SELECT list(range) AS l FROM range(1000000)) SELECT list_transform(l, lambda e: l) FROM x"
    future = service.submit(bomb, time_limit_s=30)
    seq = 100
    while not future.done():
        seq += 10
        writer.write("s", seq, messages(*bars(seq - 10, 10)))
    print(type(future.exception()).__name__, service.query("SELECT count(*) FROM bars").frame().item() == seq)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "t.duckdb")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("SqlRefusedError True\n", 0), done.stderr


def test_views_tell_the_story_of_an_order(tmp_path):
    path, head = tmp_path / "t.duckdb", Head(samples.T0 + 8_000_000, samples.T0 + 1_000_000, "AAPL|1m|1|0")
    bodies = [
        samples.signal(),
        *(samples.intent(f"c{n}") for n in range(1, 7)),
        *(samples.submitted(f"c{n}") for n in range(2, 7)),
        *(samples.accepted(f"c{n}", f"v{n}") for n in range(3, 7)),
        samples.fill("v4", "10", "10", "100", client_order_id="c4"),
        samples.fill("v5", "10", "10", "100", client_order_id="c5", commission="0.5"),
        samples.fill("v5", "30", "20", "101.5", client_order_id="c5", ts_event=samples.T0 + 9, commission="0.25"),
        samples.filled("c5", "v5", "30", "101"),
        samples.canceled("c6", "v6", "0"),
        samples.fill("v6", "5", "5", "99", client_order_id="c6"),  # a canceled order may still fill
        samples.fill("v9", "1", "1", "50", client_order_id="by hand", bot="manual"),
        samples.adopted("leg", "v10", purpose=Purpose.PROTECT, parent="c3", stop_px=Decimal(90)),
        samples.adopted("flatten-1-AAPL-1", "v11", bot="flatten", purpose=Purpose.FLATTEN),
        samples.fill("v11", "4", "4", "98", client_order_id="flatten-1-AAPL-1", bot="flatten"),
        OrderCanceled("flatten-1-AAPL-1", "flatten", "AAPL", "v11", Decimal(4), samples.T0),
        samples.position("v5|10", 10),
        samples.position("v5|30", 30),
        samples.position("x", 7, symbol="MSFT"),
    ]
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer, SqlService.beside(writer) as service:
        writer.write("trading", len(bodies), [Message(head, body) for body in bodies])
        writer.write(
            "market",
            3,
            samples.messages(samples.bar(minute=1), samples.bar(minute=2), samples.bar(minute=2, revision=1)),
        )
        orders = "SELECT client_order_id, status, filled_qty, avg_px, commission, venue_order_id, quantity FROM orders"
        found = {
            row[0]: tuple(format(v, "f") if isinstance(v, Decimal) else v for v in row[1:])
            for row in service.query(orders).frame().rows()
        }
        nine = "0.000000000"
        assert found == {
            "c1": ("Initialized", nine, None, nine, None, "30.000000000"),
            "c2": ("Submitted", nine, None, nine, None, "30.000000000"),
            "c3": ("Accepted", nine, None, nine, "v3", "30.000000000"),
            "c4": ("PartiallyFilled", "10.000000000", "100.000000000", nine, "v4", "30.000000000"),
            "c5": ("Filled", "30.000000000", "101.000000000", "0.750000000", "v5", "30.000000000"),
            "c6": ("Canceled", "5.000000000", "99.000000000", nine, "v6", "30.000000000"),
            "by hand": ("PartiallyFilled", "1.000000000", "50.000000000", nine, "v9", None),
            "leg": ("Accepted", nine, None, nine, "v10", "30.000000000"),
            "flatten-1-AAPL-1": ("Canceled", "4.000000000", "98.000000000", nine, "v11", "30.000000000"),
        }
        legs = "SELECT bot, side, order_type, stop_px, purpose, parent FROM orders WHERE client_order_id = 'leg'"
        assert service.query(legs).frame().rows() == [("alpha", "sell", "stop", Decimal(90), "protect", "c3")]
        trades = service.query("FROM executed_trades ORDER BY client_order_id, cum_qty").frame()
        assert (
            ",".join(trades.columns[:9]) == "symbol,action,price,quantity,signal,strategy,reason,indicators,created_at"
        )
        assert trades.filter(pl.col("client_order_id") == "c5").select(
            "price", "signal", "strategy", "indicators"
        ).rows() == [
            (Decimal(100), "long", "sma_crossover", '{"sma_3":100.125,"sma_5":100.0}'),
            (Decimal("101.5"), "long", "sma_crossover", '{"sma_3":100.125,"sma_5":100.0}'),
        ]
        assert trades.filter(pl.col("bot") == "manual")["signal"].to_list() == [None]
        latest = service.query("SELECT symbol, signed_qty FROM latest_positions ORDER BY 1").frame().rows()
        assert latest == [("AAPL", Decimal(30)), ("MSFT", Decimal(7))]
        assert service.query("SELECT revision, epoch_us(ts_event) FROM latest_bars").frame().rows() == [
            (1, samples.bar(minute=2).ts_event // 1000)
        ]
        assert set(service.query("SELECT ms FROM latency").frame()["ms"].to_list()) == {7.0}


def test_names_of_columns_are_made_unique_as_in_a_subquery(service):
    assert service.query("SELECT 1 AS a, 2 AS a, 3 AS a_1").frame().columns == ["a", "a_1", "a_1_1"]


def test_allowed_table_functions_exist():
    """A list of names rots: each must be one of this DuckDB's."""
    from storage.guard import TABLE_FUNCTIONS

    known = {
        name for (name,) in duckdb.connect().execute("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()
    }
    assert known >= TABLE_FUNCTIONS
