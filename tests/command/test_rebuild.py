"""What rebuild says; what it does is tested on a real run (tests/system) and on files (tests/storage/test_carry.py)."""

from pathlib import Path

from storage.carry import TableChange
from streams.refill import Refilled
from tapeline.rebuild import report

PATH, KEPT = Path("d/t.duckdb"), Path("d/t.duckdb.before-x")
STREAMS = [
    Refilled(stream="M", first_seq=8, last_seq=20, first_ns=1, messages=13, rows=12, duplicates=1),
    Refilled(stream="T", is_there=False),
]


def test_the_report_names_all_that_differs():
    changes = [TableChange("bars", 12, before=20, carried=7, left=1, changed=2), TableChange("fills", 0, before=0)]
    found = [TableChange("bars", 19, "2026-01-05 14:31:00", "2026-01-05 14:55:00"), TableChange("fills", 0)]
    lines = report(PATH, KEPT, "", streams=STREAMS, changes=changes, found=found)
    assert lines[:4] == [
        "made anew: d/t.duckdb",
        "kept the file before: d/t.duckdb.before-x",
        "stream M: 13 messages, sequences 8 to 20, 12 rows, 1 duplicates; the 7 before them aged out",
        "stream T: not in the store",
    ]
    assert lines[5].split() == ["bars", "19", "20", "7", "2026-01-05", "14:31:00", "2026-01-05", "14:55:00"]
    assert lines[6].split() == ["fills", "0", "0", "0", "-", "-"]
    assert lines[7] == "carried over from the file before: 7 rows that the streams no longer hold"
    assert "1 rows of the old file are in no stream" in lines[8]
    assert "2 rows of the old file said something else" in lines[9]


def test_the_report_without_a_readable_file_before():
    one = [TableChange("bars", 12)]
    lines = report(PATH, KEPT, "it is junk", streams=STREAMS, changes=one, found=one)
    assert lines[2] == "nothing was carried over from it: it is junk"
    assert "what aged out of the streams is not in the new file" in lines[-1]
    whole = [Refilled(stream="M", first_seq=1, last_seq=20)]
    lines = report(PATH, None, "d/t.duckdb does not exist", streams=whole, changes=one, found=one)
    assert lines[1] == "there was no file before"
    assert lines[-1] == "nothing aged out of the streams"
