"""One market-data frame to bars, ticks and statuses: the hot path, pure, and it never raises.

Decides nothing about sockets. A frame of nothing but bars (and ticks, where they are wanted) is decoded straight into
typed records (about 2 us each); a frame with anything else in it, or with one record that does not fit, is read record
by record, so that a bad record costs itself and not its neighbours. Called by adapters.alpaca.bars once per frame.
"""

from __future__ import annotations

from collections.abc import Buffer
from typing import Any

import msgpack
import msgspec

from adapters.alpaca.parse import Problem, bar_fault, parse_bar
from adapters.alpaca.ticks import WireQuote, WireTrade, parse_status, parse_tick, stamp_ns, typed_tick
from engine.messages import Bar, SymbolStatus
from engine.ports import Quote, Trade
from engine.values import timeframe_ns

_DATA = frozenset("tqbudslocxni")
"""Types of market-data records; those that nobody asked for only show that the socket is alive."""
_INFINITY = float("inf")
_CLOSES_MAX = 1024


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
        ticks: Trades that count and quotes, in order.
        updates: Bars that late trades have changed since they were sent.
        controls: Records of type success, error and subscription, in order.
        has_data: Some record was market data, of whatever type.
    """

    bars: list[Bar]
    problems: list[str]
    controls: list[dict[str, Any]]
    has_data: bool
    ticks: list[Trade | Quote] = []
    statuses: list[SymbolStatus] = []
    updates: list[Bar] = []


class FrameReader:
    """Reads frames of one stream, whose bars all have one timeframe.

    Args:
        timeframe: Ours (`1m`); Alpaca's streams carry minutes only.
        has_ticks: Trades and quotes are subscribed.
    """

    def __init__(self, timeframe: str = "1m", *, has_ticks: bool = False) -> None:
        self._timeframe = timeframe
        self._length_ns = timeframe_ns(timeframe)
        self.has_ticks = has_ticks
        self._decode = msgspec.msgpack.Decoder(list[_WireBar]).decode
        self._decode_mixed = msgspec.msgpack.Decoder(list[_WireBar | WireTrade | WireQuote]).decode
        self._closes: dict[Buffer, int] = {}

    def read(self, data: bytes | str) -> Frame:
        """Read a frame as it came from the socket: msgpack, or JSON text."""
        if isinstance(data, bytes):
            try:
                if self.has_ticks:
                    return self._mixed(self._decode_mixed(data))
                return self._bars(self._decode(data))
            except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
                return self._read_records(data)
        return self._read_records(data)

    def _mixed(self, records: list[_WireBar | WireTrade | WireQuote]) -> Frame:
        bars: list[_WireBar] = []
        ticks: list[Trade | Quote] = []
        problems: list[str] = []
        for record in records:
            if isinstance(record, _WireBar):
                bars.append(record)
                continue
            tick = typed_tick(record)
            if isinstance(tick, Problem):
                problems.append(tick.what)
            elif tick is not None:
                ticks.append(tick)
        read = self._bars(bars)
        return Frame(read.bars, [*problems, *read.problems], [], bool(records), ticks)

    def _bars(self, records: list[_WireBar]) -> Frame:
        timeframe, closes = self._timeframe, self._closes
        bars: list[Bar] = []
        problems: list[str] = []
        add = bars.append
        for record in records:
            opened = record.opened
            ts_event = closes.get(opened.data) if opened.code == -1 else None
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
        """Read the msgpack Timestamp; the few distinct ones are remembered."""
        ts_open = stamp_ns(opened)
        if ts_open is None:
            return None
        if len(self._closes) >= _CLOSES_MAX:
            self._closes.clear()
        ts_event = self._closes[bytes(opened.data)] = ts_open + self._length_ns
        return ts_event

    def _read_records(self, data: bytes | str) -> Frame:
        read = Frame([], [], [], has_data=False, ticks=[], statuses=[], updates=[])
        has_data = False
        for record in _records(data, read.problems):
            kind = record.get("T")
            if kind in ("error", "subscription", "success"):
                read.controls.append(record)
            elif isinstance(kind, str) and kind in _DATA:
                has_data = True
                self._read_record(kind, record, read)
        return msgspec.structs.replace(read, has_data=has_data)

    def _read_record(self, kind: str, record: dict[str, Any], read: Frame) -> None:
        match kind:
            case "b" | "u":
                found = parse_bar(record, self._timeframe, self._length_ns)
            case "t" | "q" if self.has_ticks:
                found = parse_tick(record)
            case "s" | "l":
                found = parse_status(record)
            case _:
                return
        match found:
            case Problem():
                read.problems.append(found.what)
            case Bar():
                (read.bars if kind == "b" else read.updates).append(found)
            case SymbolStatus():
                read.statuses.append(found)
            case Trade() | Quote():
                read.ticks.append(found)
            case None:
                pass


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
