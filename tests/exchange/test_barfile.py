"""Bar files: good ones read as they are, each kind of bad one is one clear line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from adapters.exchange.barfile import FileBars, read_bars
from engine.errors import ConfigError
from tests.exchange.harness import data_folder

HEADER = "symbol,timestamp,open,high,low,close,volume"
GOOD = "AAPL,2025-03-10T13:30:00Z,10,11,9,10.5,100"


def written(tmp_path: Path, *lines: str, header: str = HEADER) -> Path:
    path = tmp_path / "bars.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([GOOD, "AAPL,2025-03-10T13:31:00Z,10,8,9,10.5,100"], "row 2 (AAPL), column 'high': 8.0 is below"),
        ([GOOD, "AAPL,2025-03-10T13:31:00Z,12,11,9,10,100"], "row 2 (AAPL), column 'open': 12.0 lies outside"),
        ([GOOD, "AAPL,2025-03-10T13:31:00Z,10,11,9,8.99,100"], "row 2 (AAPL), column 'close': 8.99 lies outside"),
        (["AAPL,2025-03-10T13:30:00Z,NaN,11,9,10.5,100"], "row 1 (AAPL), column 'open': nan is not a finite number"),
        (["AAPL,2025-03-10T13:30:00Z,10,inf,9,10.5,100"], "row 1 (AAPL), column 'high': inf is not a finite number"),
        (["AAPL,2025-03-10T13:30:00Z,10,11,-9,10.5,100"], "row 1 (AAPL), column 'low': -9.0 is negative"),
        (["AAPL,2025-03-10T13:30:00Z,10,11,0,10.5,100"], "row 1 (AAPL), column 'low': 0.0 is zero"),
        (["AAPL,2025-03-10T13:30:00Z,10,11,9,10.5,-1"], "row 1 (AAPL), column 'volume': -1.0 is negative"),
        (["AAPL,2025-03-10T13:30:00Z,ten,11,9,10.5,1"], "row 1, column 'open' holds 'ten', not a value; correct it"),
        (["AAPL,2025-03-10T13:30:00Z,,11,9,10.5,1"], "row 1, column 'open' holds None, not a value"),
        (["AAPL,yesterday,10,11,9,10.5,1"], "row 1, column 'timestamp' holds 'yesterday', not a UTC time"),
        ([GOOD, GOOD], "row 2 (AAPL), column 'symbol': AAPL has a second bar for the same timestamp"),
        (
            [GOOD, "MSFT,2025-03-10T13:29:00Z,10,11,9,10.5,100"],
            "row 2 (MSFT), column 'timestamp': 2025-03-10T13:29:00Z is before the row above; sort the file",
        ),
        (["AAPL,2025-03-10T13:30:30Z,10,11,9,10.5,1"], "row 1 (AAPL), column 'timestamp': 2025-03-10T13:30:30Z is no"),
        (["aapl,2025-03-10T13:30:00Z,10,11,9,10.5,1"], "row 1, column 'symbol': 'aapl' is no symbol"),
        ([], "has no rows"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_with_its_value_and_mend(tmp_path: Path, lines: list[str], expected: str) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(ConfigError) as caught:
        read_bars(path)
    message = str(caught.value)
    assert message.startswith(f"bar file {path} ")
    assert expected in message
    assert "\n" not in message


def test_a_bad_optional_column_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, f"{GOOD},-3", header=f"{HEADER},trade_count")
    with pytest.raises(ConfigError, match=r"column 'trade_count': -3\.0 is negative"):
        read_bars(path)


def test_a_missing_or_wrong_column_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, header=HEADER.replace("volume", "vol"))
    with pytest.raises(ConfigError, match="has no column 'volume', only symbol, timestamp"):
        read_bars(path)
    parquet = tmp_path / "bars.parquet"
    numbers = {"open": [1.0], "high": [1.0], "low": [1.0], "close": [1.0], "volume": [1.0]}
    pl.DataFrame({"symbol": [1], "timestamp": [5], **numbers}).write_parquet(parquet)
    with pytest.raises(ConfigError, match="column 'symbol' must hold text, was Int64"):
        read_bars(parquet)
    frame = pl.DataFrame({"symbol": ["A"], "timestamp": [5], **numbers})
    frame.write_parquet(parquet)
    with pytest.raises(ConfigError, match="column 'timestamp' must hold UTC times, was Int64"):
        read_bars(parquet)


def test_a_file_that_is_missing_unreadable_empty_or_of_another_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist or is no file"):
        read_bars(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="does not exist or is no file"):
        read_bars(tmp_path)
    other = tmp_path / "bars.xlsx"
    other.write_text("x")
    with pytest.raises(ConfigError, match=r"has the unknown type '\.xlsx'; give a \.parquet or \.csv file"):
        read_bars(other)
    broken = tmp_path / "bars.parquet"
    broken.write_bytes(b"no parquet at all")
    with pytest.raises(ConfigError, match="cannot be read as parquet"):
        read_bars(broken)
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        read_bars(empty)


def test_choices_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    with pytest.raises(ConfigError, match="holds no symbol 'IBM'; it has AAPL"):
        read_bars(path, ("AAPL", "IBM"))
    with pytest.raises(ConfigError, match="has no bar between the chosen start and end"):
        read_bars(path, start_ns=2**62)


def test_symbols_and_times_choose_rows(tmp_path: Path) -> None:
    moments = [f"2025-03-10T13:3{i}:00Z" for i in range(4)]
    path = written(tmp_path, *(f"{s},{t},10,11,9,10.5,100" for t in moments for s in ("B", "A", "C")))
    at = [int(datetime(2025, 3, 10, 13, 30 + i, tzinfo=UTC).timestamp()) * 10**9 for i in range(4)]
    frame = read_bars(path, ("A", "B"), at[1], at[3])
    assert list(zip(frame["open_ns"], frame["symbol"], strict=True)) == [
        (at[1], "A"),
        (at[1], "B"),
        (at[2], "A"),
        (at[2], "B"),
    ]
    source = FileBars(frame)
    assert source.symbols == ("A", "B")
    assert [bar.symbol for bar in source.take()] == ["A", "B"]
    assert source.next_open() == at[2]
    assert len(source.take()) == 2
    assert source.next_open() is None


def test_what_opens_before_the_start_is_history(tmp_path: Path) -> None:
    moments = [f"2025-03-10T13:3{i}:00Z" for i in range(4)]
    path = written(tmp_path, *(f"{s},{t},10,11,9,10.5,100" for t in moments for s in ("B", "A")))
    at = [int(datetime(2025, 3, 10, 13, 30 + i, tzinfo=UTC).timestamp()) * 10**9 for i in range(4)]
    source = FileBars(read_bars(path, None, at[2], at[3], past_rows_max=3), at[2])
    assert [[(bar.symbol, bar.open_ns) for bar in bars] for bars in source.history()] == [
        [("B", at[0])],
        [("A", at[1]), ("B", at[1])],
    ]
    assert [bar.open_ns for bar in source.take()] == [at[2], at[2]]
    assert source.next_open() is None
    assert list(FileBars(read_bars(path)).history()) == []
    with pytest.raises(ConfigError, match="has no bar between the chosen start and end"):
        read_bars(path, start_ns=2**62, past_rows_max=3)


@pytest.mark.parametrize(
    "text",
    ["2025-03-10T13:30:00Z", "2025-03-10 13:30:00", "2025-03-10T09:30:00-04:00", "2025-03-10T13:30:00.000000+00:00"],
)
def test_times_are_utc_unless_they_say_otherwise(tmp_path: Path, text: str) -> None:
    frame = read_bars(written(tmp_path, f"AAPL,{text},10,11,9,10.5,100"))
    assert frame["open_ns"][0] == int(datetime(2025, 3, 10, 13, 30, tzinfo=UTC).timestamp()) * 10**9


def test_parquet_and_csv_read_the_same_and_optional_columns_are_kept(tmp_path: Path) -> None:
    header = f"{HEADER},trade_count,vwap"
    path = written(tmp_path, f"{GOOD},7,10.1", header=header)
    parquet = tmp_path / "bars.parquet"
    pl.read_csv(path, try_parse_dates=True).write_parquet(parquet)
    assert read_bars(path).rows() == read_bars(parquet).rows()
    assert read_bars(path).rows()[0][2:] == (10.0, 11.0, 9.0, 10.5, 100.0, 7, 10.1)
    plain = read_bars(written(tmp_path, GOOD))
    assert plain.rows()[0][-2:] == (1, 10.166667), "one trade per 100 units, vwap of high, low and close"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "rows", "symbols"),
    [
        ("us_equity_1min_20131004_20131011.parquet", 13_429, ("AIG", "BAC", "IBM", "SPY")),
        ("crypto_1min_20180404_20180406.parquet", 3_887, ("BTC/USD",)),
    ],
)
def test_real_bars_are_read_whole(name: str, rows: int, symbols: tuple[str, ...]) -> None:
    frame = read_bars(data_folder() / name)
    source = FileBars(frame)
    assert (frame.height, source.symbols) == (rows, symbols)
    count = 0
    while source.next_open() is not None:
        count += len(source.take())
    assert count == rows
