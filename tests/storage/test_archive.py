"""Whole messages back from the database, by their sequence: what a damaged trading stream is made whole from."""

from __future__ import annotations

import tempfile
import typing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import AnyBody, Bar, Gap, Head, PastBars, Ticks, decode, encode
from storage.archive import open_archive
from storage.dedupe import Numbered
from storage.tables import TABLE_OF, row_of
from storage.writer import Writer
from tests.storage import samples, strategies

BODIES = [body for body in typing.get_args(AnyBody) if body not in (Bar, Gap, PastBars, Ticks)]


def _store(path: Path, rows: list[Numbered]) -> None:
    with Writer.open(path, memory_limit_mb=64, threads=1) as writer:
        writer.write("trading", rows[-1].seq, rows, (1, "digest"))


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_message_of_every_kind_comes_back_whole(data: st.DataObject) -> None:
    """But for the nanoseconds of its head, and decimals beyond nine places."""
    drawn = [data.draw(strategies.bodies(body), label=body.__name__) for body in BODIES]
    head = Head(1_700_000_000_123_456_000, 1_700_000_000_123_000_000, "AAPL|1m|0|0")
    rows = [Numbered(head, body, seq) for seq, body in enumerate(drawn, 5)]
    with tempfile.TemporaryDirectory() as folder:
        _store(Path(folder) / "db", rows)
        with open_archive(Path(folder) / "db", memory_limit_mb=64) as archive:
            assert archive is not None
            assert archive.last_seq == rows[-1].seq
            found = archive.messages(1, archive.last_seq)
    assert [row.seq for row in found] == [row.seq for row in rows]
    for back, stored in zip(found, rows, strict=True):
        assert type(back.body) is type(stored.body)
        table = TABLE_OF[type(stored.body)]
        assert row_of(table, back.body) == row_of(table, stored.body)
        assert back.head == stored.head
        assert decode(encode(back.head, back.body)).body == back.body


def test_a_range_comes_back_with_the_names_of_a_fill(tmp_path: Path) -> None:
    fills = [samples.fill(cum_qty=str(n)) for n in range(1, 10)]
    refs = {"execution_id": "e1", "via": "trade_updates"}
    _store(tmp_path / "db", [Numbered(Head(1_000, refs=refs), fill, seq) for seq, fill in enumerate(fills, 1)])
    with open_archive(tmp_path / "db", memory_limit_mb=64) as archive:
        assert archive is not None
        found = archive.messages(3, 5)
        assert [(row.seq, row.body, row.head.refs) for row in found] == [(n, fills[n - 1], refs) for n in (3, 4, 5)]
        archive.forget("trading", 4)
        assert [row.seq for row in archive.messages(1, 99)] == [1, 2, 3, 4]
    with Writer.open(tmp_path / "db", memory_limit_mb=64, threads=1) as writer:
        assert writer.positions() == {"trading": 4}
        assert writer.seals() == {}, "what stands at 4 was never told"


def test_no_file_and_a_damaged_one_are_no_archive(tmp_path: Path) -> None:
    with open_archive(tmp_path / "none", memory_limit_mb=64) as archive:
        assert archive is None
    (tmp_path / "junk").write_bytes(b"junk" * 5_000)
    with open_archive(tmp_path / "junk", memory_limit_mb=64) as archive:
        assert archive is None
    assert (tmp_path / "junk").read_bytes() == b"junk" * 5_000
