"""The writer on real files: whole bodies, exactly once, one transaction."""

import datetime as dt
import typing
from decimal import Decimal

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import BrokenPromiseError
from engine.messages import AnyBody, Bar, BarMarks, Head, Mark, MarketMessage, Message, decode, decode_market, encode
from storage.bodies import read_all
from storage.tables import TABLE_OF, TABLES, keys_of, row_of
from storage.writer import Writer, WriteResult
from tests.storage import samples, strategies

SLOW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def key_of(body):
    return keys_of(TABLE_OF[type(body)], [body])[0]


@pytest.fixture
def writer(new_file):
    with Writer.open(new_file(), memory_limit_mb=128, threads=1) as writer:
        yield writer


def rows(writer, sql):
    with writer.instance.reading() as cursor:
        return cursor.execute(sql).fetchall()


@SLOW
@given(data=st.data())
def test_every_table_keeps_whole_bodies(data, new_file):
    """All tables in one batch through the wire, the file closed and opened again, bodies compared whole."""
    drawn = [
        b for t in typing.get_args(AnyBody) for b in data.draw(st.lists(strategies.bodies(t), min_size=1, max_size=3))
    ]
    first: dict[object, AnyBody] = {}
    for body in drawn:
        first.setdefault((TABLE_OF[type(body)], key_of(body)), body)
    path = new_file()
    with Writer.open(path, memory_limit_mb=128, threads=1) as writer:
        result = writer.write("s", 9, [decode(encode(samples.HEAD, body)) for body in drawn])
    with Writer.open(path, memory_limit_mb=128, threads=1) as writer:
        found = read_all(writer.instance)
        assert writer.positions() == {"s": 9}
    assert result.rows == len(first)
    assert sum(vars_ for vars_ in (result.rows, result.duplicates, result.conflicts)) == len(drawn)
    for table in TABLES:
        kept = [body for (owner, _), body in first.items() if owner is table]
        assert found[table.name] == kept, table.name


KEYS = st.sampled_from(["a", "b"])
SMALL = st.one_of(
    st.builds(
        samples.bar,
        symbol=KEYS,
        minute=st.integers(0, 2),
        revision=st.integers(0, 1),
        close=st.sampled_from([1.0, 2.0]),
    ),
    st.builds(
        samples.fill, venue_order_id=KEYS, cum_qty=st.sampled_from(["1", "2.0"]), last_px=st.sampled_from(["1", "2"])
    ),
    st.builds(samples.accepted, ident=KEYS, venue=st.sampled_from(["v1", "v2"])),
    st.builds(samples.submitted, ident=KEYS),
    st.builds(samples.signal, ident=KEYS, strength=st.sampled_from([0.5, 1.0])),
)


@settings(max_examples=12, deadline=None)
@given(batches=st.lists(st.tuples(st.booleans(), st.lists(SMALL, max_size=8)), max_size=6))
def test_exactly_once_against_a_plain_dictionary(batches, new_file):
    """Duplicates and conflicts in a batch, across batches and across restarts: a dictionary says what is right."""
    path = new_file()
    model: dict[object, AnyBody] = {}
    contradictions = set()
    writer = Writer.open(path, memory_limit_mb=64, threads=1)
    try:
        for seq, (restart, batch) in enumerate(batches):
            if restart:
                writer.close()
                writer = Writer.open(path, memory_limit_mb=64, threads=1)
            expected = [0, 0, 0]
            for body in batch:
                table = TABLE_OF[type(body)]
                kept = model.setdefault((table.name, key_of(body)), body)
                kind = 0 if kept is body else 1 if row_of(table, kept) == row_of(table, body) else 2
                expected[kind] += 1
                if kind == 2:
                    contradictions.add((table.name, repr(key_of(body)), repr(row_of(table, body))))
            assert writer.write("s", seq, samples.messages(*batch)) == WriteResult(*expected)
        found = read_all(writer.instance)
        for table in TABLES:
            kept = {key: body for (name, key), body in model.items() if name == table.name}
            assert {key_of(body): body for body in found[table.name]} == kept
            assert len(found[table.name]) == len(kept)
        assert rows(writer, "SELECT count(*) FROM conflicts") == [(len(contradictions),)]
    finally:
        writer.close()


def test_a_conflict_keeps_both_contents_once(writer):
    good, bad = samples.fill(last_px="100.25"), samples.fill(last_px="100.26")
    writer.write("trading", 1, samples.messages(good))
    for seq in (2, 3):
        assert writer.write("trading", seq, samples.messages(bad)) == WriteResult(conflicts=1)
    found = rows(writer, 'SELECT table_name, "key", existing, incoming, stream, epoch_us(seen) FROM conflicts')
    assert len(found) == 1
    table_name, key, existing, incoming, stream, seen = found[0]
    assert (table_name, key, stream, seen) == ("fills", "v1|10.000000000", "trading", samples.HEAD.ts_init // 1000)
    assert msgspec.json.decode(existing)["last_px"] == "100.25"
    assert msgspec.json.decode(incoming)["last_px"] == "100.26"
    assert rows(writer, "SELECT last_px FROM fills") == [(Decimal("100.250000000"),)]


def test_heads_are_no_part_of_content(writer):
    """The stream and the activities name one execution differently; whichever comes first is kept."""
    by_stream = Head(samples.T0 + 1, refs={"execution_id": "e1", "via": "trade_updates"})
    by_activity = Head(samples.T0 + 99, refs={"activity_id": "a1"})
    first = writer.write("trading", 1, [Message(by_stream, samples.fill())])
    again = writer.write("trading", 2, [Message(by_activity, samples.fill(cum_qty="10.0"))])
    assert (first, again) == (WriteResult(rows=1), WriteResult(duplicates=1))
    assert rows(writer, "SELECT execution_id, activity_id, via FROM fills") == [("e1", None, "trade_updates")]


def test_late_and_revised_bars_are_new_ones(writer):
    assert writer.write("market", 1, samples.messages(samples.bar(minute=5))).rows == 1
    late, revised = samples.bar(minute=2), samples.bar(minute=5, revision=1, close=1.0)
    assert writer.write("market", 2, samples.messages(late, revised, late)) == WriteResult(rows=2, duplicates=1)
    again = samples.messages(samples.bar(minute=5), late, revised)
    assert writer.write("market", 3, again) == WriteResult(duplicates=3)


def test_one_batch_may_hold_the_same_bar_more_than_once(writer):
    bar, other = samples.bar(minute=1), samples.bar(minute=1, close=7.0)
    assert writer.write("market", 1, samples.messages(bar, bar, other)) == WriteResult(1, 1, 1)
    assert read_all(writer.instance)["bars"] == [bar]


def test_digits_that_are_not_stored_make_no_conflict(writer):
    body = samples.fill(last_px="100.1234567891")
    for seq, expected in ((1, WriteResult(rows=1)), (2, WriteResult(duplicates=1))):
        assert writer.write("trading", seq, samples.messages(body)) == expected


def test_market_messages_are_taken_as_they_are_decoded(writer):
    message = decode_market(encode(samples.HEAD, samples.bar()))
    assert isinstance(message, MarketMessage)
    assert writer.write("market", 1, [message]).rows == 1


def test_moments_stand_exact_and_readable_in_utc(writer):
    odd = samples.T0 + 1_234_567_891
    writer.write("trading", 1, [Message(Head(ts_init=odd), samples.fill(ts_event=odd))])
    found = rows(writer, "SELECT ts_event, ts_event_ns, ts_init, ts_recv, trace FROM fills")
    shown = dt.datetime(2023, 11, 14, 22, 13, 21, 234567, tzinfo=dt.UTC)
    assert found == [(shown, odd, shown, None, "")]
    assert rows(writer, "SELECT date_trunc('day', ts_event)::VARCHAR FROM fills") == [("2023-11-14 00:00:00+00",)]


def test_positions_move_with_rows_alone_and_back(writer):
    assert writer.positions() == {}
    writer.write("market", 7, samples.messages(samples.bar()))
    writer.write("trading", 3, [])
    writer.write("market", 2, [])
    assert writer.positions() == {"market": 2, "trading": 3}
    assert sorted(rows(writer, "SELECT stream, seq FROM recorder_positions")) == [("market", 2), ("trading", 3)]


def test_a_message_that_cannot_be_stored_stores_nothing_of_its_batch(writer):
    writer.write("s", 1, samples.messages(samples.bar(minute=0)))
    batch = samples.messages(samples.bar(minute=1), samples.fill(last_px="NaN"))
    with pytest.raises(BrokenPromiseError, match="last_px: NaN is not a finite number"):
        writer.write("s", 2, batch)
    too_late = Bar("X", "1m", 2**63, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(BrokenPromiseError, match="table bars cannot be stored: ts_event"):
        writer.write("s", 2, samples.messages(samples.bar(minute=1), too_late))
    assert writer.positions() == {"s": 1}
    assert len(read_all(writer.instance)["bars"]) == 1
    assert writer.write("s", 2, batch[:1]) == WriteResult(rows=1)


def test_a_failed_batch_leaves_no_watermark(writer, monkeypatch):
    """A watermark must follow the rows: neither ahead of them nor behind."""
    batch = samples.messages(samples.bar(minute=3))
    with monkeypatch.context() as patched:
        patched.setattr(writer, "_move", lambda *_: (_ for _ in ()).throw(duckdb.IOException("disk full\nhint")))
        with pytest.raises(BrokenPromiseError, match=r"did not write: disk full$"):
            writer.write("market", 1, batch)
    assert read_all(writer.instance)["bars"] == []
    assert writer.write("market", 1, batch) == WriteResult(rows=1)
    assert writer.write("market", 2, batch) == WriteResult(duplicates=1)


def test_a_lack_of_memory_makes_queries_give_way_and_the_batch_is_tried_again(writer, monkeypatch):
    asked, failures, move = [], [duckdb.OutOfMemoryException("failed to allocate"), None], writer._move

    def fail_once(*args):
        if error := failures.pop(0):
            raise error
        move(*args)

    monkeypatch.setattr(writer, "_move", fail_once)
    writer.on_memory_pressure(lambda: asked.append(1))
    assert writer.write("market", 1, samples.messages(samples.bar())) == WriteResult(rows=1)
    assert asked == [1]
    assert len(read_all(writer.instance)["bars"]) == 1


def test_a_real_lack_of_memory_is_survived(writer):
    """Not a raised exception but DuckDB's own state after one: its connection refuses even ROLLBACK and BEGIN."""

    def allow(limit):
        writer.instance._root.execute(f"SET GLOBAL memory_limit = '{limit}'")

    writer.write("market", 100, samples.messages(*samples.bars(0, 100)))
    batch = samples.messages(*samples.bars(10_000, 5000, symbols=1000))
    allow("1MiB")
    with pytest.raises(BrokenPromiseError):
        writer.write("market", 5100, batch)
    asked = []
    writer.on_memory_pressure(lambda: (asked.append(1), allow("128MiB")))
    result = writer.write("market", 5100, batch)
    assert asked == [1]
    assert writer.write("market", 5100, batch) == WriteResult(duplicates=5000)
    assert len(read_all(writer.instance)["bars"]) == 100 + result.rows
    assert writer.positions() == {"market": 5100}


def test_memory_that_stays_away_is_an_error_after_some_tries(writer, monkeypatch):
    asked = []
    monkeypatch.setattr(writer, "_move", lambda *_: (_ for _ in ()).throw(duckdb.OutOfMemoryException("no memory")))
    writer.on_memory_pressure(lambda: asked.append(1))
    with pytest.raises(BrokenPromiseError, match="no memory"):
        writer.write("market", 1, samples.messages(samples.bar()))
    assert len(asked) == 3


def test_a_hash_that_is_known_does_not_drop_another_key(writer, monkeypatch):
    """With every hash equal, only the exact comparison is left to tell keys apart."""
    monkeypatch.setattr("storage.dedupe.key_hash", lambda *_: 42)
    batch = samples.messages(*(samples.fill(cum_qty=str(n)) for n in range(1, 6)))
    assert writer.write("s", 1, batch[:3]) == WriteResult(rows=3)
    assert writer.write("s", 2, batch) == WriteResult(rows=2, duplicates=3)


def test_trimming_happens_by_rows_and_waits_for_readers(writer, monkeypatch):
    monkeypatch.setattr("storage.writer.TRIM_EVERY_ROWS", 100)
    with writer.instance.reading():
        assert writer.instance.trim(16) is False
        writer.write("market", 1, samples.messages(*samples.bars(0, 150)))
        assert writer._rows_since_trim == 150
    writer.write("market", 2, samples.messages(*samples.bars(150, 1)))
    assert writer._rows_since_trim == 0
    assert rows(writer, "SELECT current_setting('memory_limit')") == [("128.0 MiB",)]
    assert rows(writer, "SELECT count(*) FROM bars") == [(151,)]


def test_marks_of_bars_are_one_row_and_every_mark_can_be_asked_for(writer):
    prices, t0 = {"AAPL": (100.1, 99.0, 101.5), "BRK.B": (0.1, 0.1, 0.1)}, samples.T0
    one = Mark("MSFT", t0, t0 + 1, Decimal(5), Decimal(4), Decimal(6), Decimal("4.9"))
    of_bars = BarMarks("b1", t0, t0 + 60, prices)
    assert writer.write("trading", 2, samples.messages(one, of_bars)) == WriteResult(rows=2)
    assert writer.write("trading", 3, samples.messages(of_bars)) == WriteResult(duplicates=1)
    query = "SELECT symbol, ts_from_ns, ts_event_ns, last_px, low_px, high_px, bid_px FROM all_marks ORDER BY ALL"
    assert rows(writer, query) == [
        ("AAPL", t0, t0 + 60, Decimal("100.1"), Decimal(99), Decimal("101.5"), None),
        ("BRK.B", t0, t0 + 60, Decimal("0.1"), Decimal("0.1"), Decimal("0.1"), None),
        ("MSFT", t0, t0 + 1, Decimal(5), Decimal(4), Decimal(6), Decimal("4.9")),
    ]
