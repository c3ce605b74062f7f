"""One market-data frame to bars: the hot path, pure, and it never raises.

Decides nothing about sockets. A frame of nothing but bars is decoded straight into typed records (about 2 us per bar);
a frame with anything else in it, or with one record that does not fit, is read record by record, so that a bad bar
costs itself and not its neighbours. Called by adapters.alpaca.bars once per frame.
"""

from __future__ import annotations

from collections.abc import Buffer
from typing import Any

import msgpack
import msgspec

from adapters.alpaca.parse import Problem, bar_fault, parse_bar
from engine.messages import Bar
from engine.values import NS_PER_S, timeframe_ns

_DATA = frozenset("tqbudslocxni")
"""Types of market-data records; those other than `b` only show that the socket is alive."""
_INFINITY = float("inf")
_CLOSES_MAX = 1024
_TIMESTAMP = -1
"""Extension type of msgpack's Timestamp."""


class _WireBar(msgspec.Struct, tag="b", tag_field="T", gc=False):
    symbol: str = msgspec.field(name="S")
    open: float = msgspec.field(name="o")
    high: float = msgspec.field(name="h")
    low: float = msgspec.field(name="l")
    close: float = msgspec.field(name="c")
    volume: float = msgspec.field(name="v")
    opened: msgspec.msgpack.Ext = msgspec.field(name="t")
    count: int | None = msgspec.field(name="n", default=None)
    vwap: float | None = msgspec.field(name="vw", default=None)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """What a frame held.

    Attributes:
        controls: Records of type success, error and subscription, in order.
        has_data: Some record was market data, of whatever type.
    """

    bars: list[Bar]
    problems: list[str]
    controls: list[dict[str, Any]]
    has_data: bool


class FrameReader:
    """Reads frames of one stream, whose bars all have one timeframe.

    Args:
        timeframe: Ours (`1m`); Alpaca's streams carry minutes only.
    """

    def __init__(self, timeframe: str = "1m") -> None:
        self._timeframe = timeframe
        self._length_ns = timeframe_ns(timeframe)
        self._decode = msgspec.msgpack.Decoder(list[_WireBar]).decode
        self._closes: dict[Buffer, int] = {}

    def read(self, data: bytes | str) -> Frame:
        """Read a frame as it came from the socket: msgpack, or JSON text."""
        if isinstance(data, bytes):
            try:
                records = self._decode(data)
            except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
                return self._read_records(data)
            return self._bars(records)
        return self._read_records(data)

    def _bars(self, records: list[_WireBar]) -> Frame:
        timeframe, closes = self._timeframe, self._closes
        bars: list[Bar] = []
        problems: list[str] = []
        add = bars.append
        for record in records:
            opened = record.opened
            ts_event = closes.get(opened.data) if opened.code == _TIMESTAMP else None
            if ts_event is None:
                ts_event = self._close_of(opened)
                if ts_event is None:
                    problems.append(f"bar of {record.symbol}: t must be a time, was {opened!r}")
                    continue
            open_, high, low, close, volume = record.open, record.high, record.low, record.close, record.volume
            # One chain of comparisons is the whole check of a good bar; NaN makes it false.
            if 0.0 < low <= high < _INFINITY and 0.0 < open_ < _INFINITY and 0.0 < close < _INFINITY > volume >= 0.0:
                vwap = record.vwap
                if vwap is not None and not -_INFINITY < vwap < _INFINITY:
                    vwap = None
                add(Bar(record.symbol, timeframe, ts_event, open_, high, low, close, volume, record.count, vwap))
            else:
                fault = bar_fault(low, high, open_, close, volume)
                problems.append(f"bar of {record.symbol}: {fault}")
        return Frame(bars, problems, [], bool(records))

    def _close_of(self, opened: msgspec.msgpack.Ext) -> int | None:
        """Read the msgpack Timestamp exactly (4, 8 or 12 bytes); the few distinct ones are remembered."""
        data = bytes(opened.data)
        if opened.code != _TIMESTAMP or len(data) not in (4, 8, 12):
            return None
        stamp = msgpack.Timestamp.from_bytes(data)
        ts_event = stamp.seconds * NS_PER_S + stamp.nanoseconds + self._length_ns
        if len(self._closes) >= _CLOSES_MAX:
            self._closes.clear()
        self._closes[data] = ts_event
        return ts_event

    def _read_records(self, data: bytes | str) -> Frame:
        bars: list[Bar] = []
        problems: list[str] = []
        controls: list[dict[str, Any]] = []
        has_data = False
        for record in _records(data, problems):
            kind = record.get("T")
            if kind == "b":
                has_data = True
                bar = parse_bar(record, self._timeframe, self._length_ns)
                if isinstance(bar, Problem):
                    problems.append(bar.what)
                else:
                    bars.append(bar)
            elif kind in ("error", "subscription", "success"):
                controls.append(record)
            elif isinstance(kind, str) and kind in _DATA:
                has_data = True
        return Frame(bars, problems, controls, has_data)


def _records(data: bytes | str, problems: list[str]) -> list[dict[str, Any]]:
    """Unpack a frame to its records, whichever codec it came in; a bare record counts as a list of one."""
    try:
        content: Any = msgpack.unpackb(data) if isinstance(data, bytes) else msgspec.json.decode(data)
    except Exception as error:  # noqa: BLE001 - msgpack raises several unrelated types on junk
        problems.append(f"frame of {len(data)} bytes is neither msgpack nor JSON: {type(error).__name__}: {error}")
        return []
    listed: list[Any] = content if isinstance(content, list) else [content]
    records = [record for record in listed if isinstance(record, dict)]
    if len(records) < len(listed):
        problems.append(f"frame holds {len(listed) - len(records)} records that are no objects")
    return records
