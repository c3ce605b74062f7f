"""Reads a bar file (Parquet or CSV) and refuses a bad one with one line: file, row, value, mend.

Columns: symbol, timestamp (UTC open of the minute), open, high, low, close, volume; optional trade_count and vwap.
Where the optional ones are missing they are made from the others: one trade per 100 units of volume (at least one),
vwap = (high + low + close) / 3. It never repairs, sorts or drops a bad row. Called by the server at start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import polars as pl

from adapters.exchange.bars import VenueBar
from adapters.exchange.wire import rfc3339
from engine.errors import ConfigError
from engine.values import NS_PER_MINUTE

_PRICES = ("open", "high", "low", "close")
_NUMBERS = (*_PRICES, "volume")
_ROWS_TOGETHER = 10_000
_REQUIRED = ("symbol", "timestamp", *_NUMBERS)
_SYMBOL = re.compile(r"^[A-Z0-9]+([./][A-Z0-9]+)?$")


class FileBars:
    """A checked bar file as a source of minutes.

    Args:
        frame: What `read_bars` returned.
        start_ns: Bars that open before this are history, ns UTC; None: none are.
    """

    def __init__(self, frame: pl.DataFrame, start_ns: int | None = None) -> None:
        is_past = pl.col("open_ns") < (start_ns or 0)
        self._past = frame.filter(is_past)
        self._frame = frame = frame.filter(~is_past)
        runs = frame.get_column("open_ns").rle().struct.unnest()
        self._opens: list[int] = runs.get_column("value").to_list()
        self._lengths: list[int] = runs.get_column("len").to_list()
        self._minute = 0
        self._row = 0
        self._rows: list[tuple[Any, ...]] = []
        self._taken = 0
        self._symbols = tuple(sorted(cast("list[str]", frame.get_column("symbol").unique().to_list())))

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols of the file, sorted."""
        return self._symbols

    @property
    def past(self) -> pl.DataFrame:
        """Bars of the file from before the start, in the columns of VenueBar."""
        return self._past

    def begins(self) -> dict[str, int]:
        """Open of the first bar from the start on, by symbol, ns UTC."""
        return dict(self._frame.group_by("symbol").agg(pl.col("open_ns").min()).sort("symbol").iter_rows())

    @property
    def frame(self) -> pl.DataFrame:
        """Bars of the file from the start on, in the columns of VenueBar."""
        return self._frame

    @property
    def rows(self) -> int:
        """How many bars there are from the start on."""
        return self._frame.height

    def history(self) -> Iterator[list[VenueBar]]:
        """Minutes of the file from before the start."""
        for _, rows in groupby(self._past.iter_rows(), key=lambda row: row[1]):
            yield [VenueBar(*row) for row in rows]

    def next_open(self) -> int | None:
        """Open of the next minute; None at the end."""
        return self._opens[self._minute] if self._minute < len(self._opens) else None

    def take(self) -> list[VenueBar]:
        """Bars of the next minute, sorted by symbol."""
        length = self._lengths[self._minute]
        if len(self._rows) - self._taken < length:  # a question to polars costs more than a bar
            self._rows = self._frame.slice(self._row, max(length, _ROWS_TOGETHER)).rows()
            self._taken = 0
        rows = self._rows[self._taken : self._taken + length]
        self._minute += 1
        self._row += length
        self._taken += length
        return [VenueBar(*row) for row in rows]


def read_bars(
    path: Path,
    symbols: tuple[str, ...] | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    past_rows_max: int = 0,
) -> pl.DataFrame:
    """Read and check a bar file.

    Args:
        path: `.parquet` or `.csv`.
        symbols: Keep only these; each must be in the file.
        start_ns: Keep bars that open at or after this, ns UTC.
        end_ns: Keep bars that open before this, ns UTC.
        past_rows_max: Keep so many bars from before `start_ns`, too, the newest.

    Returns:
        Columns in the order of VenueBar (symbol, open_ns, open, high, low, close, volume, trade_count, vwap), sorted
        by open_ns, then symbol.

    Raises:
        ConfigError: The file or the choice of symbols and times is bad.
    """
    frame = _typed(path, _load(path))
    if frame.height == 0:
        _fail(path, "has no rows; give a file with at least one bar")
    _check_rows(path, frame)
    if symbols is not None:
        known = set(cast("list[str]", frame.get_column("symbol").unique().to_list()))
        for symbol in symbols:
            if symbol not in known:
                _fail(path, f"holds no symbol {symbol!r}; it has {', '.join(sorted(known)[:20])}")
        frame = frame.filter(pl.col("symbol").is_in(list(symbols)))
    past, all_ = frame.clear(), frame
    if start_ns is not None:
        past = frame.filter(pl.col("open_ns") < start_ns).sort("open_ns", "symbol").tail(past_rows_max)
        frame = frame.filter(pl.col("open_ns") >= start_ns)
    if end_ns is not None:
        frame = frame.filter(pl.col("open_ns") < end_ns)
    if frame.height == 0:
        _fail(path, f"has no bar between the chosen start and end; it has {_span(all_)}: widen --from and --to")
    frame = pl.concat([past, frame])
    return frame.drop("row").with_columns(pl.col("trade_count").cast(pl.Int64)).sort("open_ns", "symbol")


def _span(frame: pl.DataFrame) -> str:
    opens = frame.get_column("open_ns").sort()
    return f"bars from {rfc3339(int(opens[0]))} to {rfc3339(int(opens[-1]))}"


def _load(path: Path) -> pl.DataFrame:
    if not path.is_file():
        _fail(path, "does not exist or is no file; give the path of a .parquet or .csv file")
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        _fail(path, f"has the unknown type {suffix!r}; give a .parquet or .csv file")
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False)
    except pl.exceptions.NoDataError:
        _fail(path, "is empty; give a file with a header and at least one bar")
    except (pl.exceptions.PolarsError, OSError) as error:
        _fail(path, f"cannot be read as {suffix[1:]} ({str(error).splitlines()[0][:120]}); write it again")
    raise AssertionError


def _typed(path: Path, raw: pl.DataFrame) -> pl.DataFrame:
    for name in _REQUIRED:
        if name not in raw.columns:
            wanted = ", ".join(_REQUIRED)
            _fail(path, f"has no column {name!r}, only {', '.join(raw.columns[:12])}; name the columns {wanted}")
    numbers = [*_NUMBERS, *(name for name in ("trade_count", "vwap") if name in raw.columns)]
    if raw.schema["symbol"] != pl.String:
        _fail(path, f"column 'symbol' must hold text, was {raw.schema['symbol']}; write it as text")
    if raw.schema["timestamp"] != pl.String and not isinstance(raw.schema["timestamp"], pl.Datetime):
        _fail(path, f"column 'timestamp' must hold UTC times, was {raw.schema['timestamp']}; write it as a timestamp")
    for name in numbers:
        if raw.schema[name] != pl.String and not raw.schema[name].is_numeric():
            _fail(path, f"column {name!r} must hold numbers, was {raw.schema[name]}; write it as numbers")
    typed = raw.with_row_index("row", offset=1).with_columns(
        pl.col("symbol").str.strip_chars(),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in numbers),
        _open_ns(raw).alias("open_ns"),
    )
    for name in (*numbers, "open_ns", "symbol"):
        missing = typed.filter(pl.col(name).is_null())
        if missing.height:
            row = int(missing.item(0, "row"))
            source = "timestamp" if name == "open_ns" else name
            what = "a UTC time such as 2013-10-04T13:30:00Z" if name == "open_ns" else "a value"
            _fail(path, f"row {row}, column {source!r} holds {raw.item(row - 1, source)!r}, not {what}; correct it")
    trade_count = pl.col("trade_count") if "trade_count" in numbers else (pl.col("volume") / 100).clip(lower_bound=1)
    vwap = pl.col("vwap") if "vwap" in numbers else ((pl.col("high") + pl.col("low") + pl.col("close")) / 3).round(6)
    return typed.select("symbol", "open_ns", *_NUMBERS, trade_count.alias("trade_count"), vwap.alias("vwap"), "row")


def _open_ns(raw: pl.DataFrame) -> pl.Expr:
    """Times as ns UTC. Text without a zone is read as UTC, a zone is honoured."""
    kind = raw.schema["timestamp"]
    column = pl.col("timestamp")
    if isinstance(kind, pl.Datetime):
        return column.dt.convert_time_zone("UTC").dt.epoch("ns") if kind.time_zone else column.dt.epoch("ns")
    text = column.str.strip_chars().str.replace(" ", "T", literal=True)
    zoned = pl.when(text.str.contains(r"(Z|[+-]\d{2}:?\d{2})$")).then(text).otherwise(text + "Z")
    return zoned.str.to_datetime(format="%+", time_unit="ns", time_zone="UTC", strict=False).dt.epoch("ns")


def _check_rows(path: Path, frame: pl.DataFrame) -> None:
    """Find the first bad row of each rule, in the order a person would mend them."""
    for name in (*_NUMBERS, "trade_count", "vwap"):
        _refuse(path, frame, ~pl.col(name).is_finite(), name, "is not a finite number; remove or correct the row")
    for name in (*_NUMBERS, "trade_count", "vwap"):
        _refuse(path, frame, pl.col(name) < 0, name, "is negative; correct the row")
    for name in _PRICES:
        _refuse(path, frame, pl.col(name) == 0, name, "is zero; a price must be above 0")
    _refuse(path, frame, pl.col("high") < pl.col("low"), "high", "is below the row's low; correct the row")
    for name in ("open", "close"):
        outside = (pl.col(name) > pl.col("high")) | (pl.col(name) < pl.col("low"))
        _refuse(path, frame, outside, name, "lies outside the row's low to high; correct the row")
    minute = pl.col("open_ns") % NS_PER_MINUTE != 0
    _refuse(path, frame, minute, "timestamp", "is no whole minute; stamp bars by the open of their minute")
    is_earlier = pl.col("open_ns").diff() < 0
    _refuse(path, frame, is_earlier, "timestamp", "is before the row above; sort the file by timestamp")
    twice = ~pl.struct("symbol", "open_ns").is_first_distinct()
    _refuse(path, frame, twice, "symbol", "has a second bar for the same timestamp; remove the duplicate")
    names = frame.unique("symbol", keep="first", maintain_order=True)
    for symbol, row in zip(names.get_column("symbol").to_list(), names.get_column("row").to_list(), strict=True):
        if not _SYMBOL.fullmatch(symbol):
            _fail(path, f"row {row}, column 'symbol': {symbol!r} is no symbol; write AAPL, BRK.B or BTC/USD")


def _refuse(path: Path, frame: pl.DataFrame, is_bad: pl.Expr, column: str, mend: str) -> None:
    bad = frame.filter(is_bad).head(1)
    if bad.height:
        row, symbol = bad.item(0, "row"), bad.item(0, "symbol")
        value = rfc3339(int(bad.item(0, "open_ns"))) if column == "timestamp" else bad.item(0, column)
        _fail(path, f"row {row} ({symbol}), column {column!r}: {value} {mend}")


def _fail(path: Path, what: str) -> None:
    msg = f"bar file {path} {what}"
    raise ConfigError(msg)
