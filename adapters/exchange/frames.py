"""Market-data messages as bytes: msgpack with Timestamp ext -1, or JSON; `T` first; arrays below 1 MiB.

A bar is packed by one struct template per asset class instead of by the general packer, because the bars of 11,000
symbols must leave within milliseconds; a test compares the template with what the general packer reads back. It knows
no connections. Called by the market websocket.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, cast

import msgpack
import msgspec

from adapters.exchange.bars import VenueBar
from adapters.exchange.wire import rfc3339
from engine.values import NS_PER_S

Codec = Literal["msgpack", "json"]
MESSAGES_PER_FRAME_MAX = 2000
BYTES_PER_FRAME_MAX = 1_000_000

_F64, _U64, _EXT8 = b"\xcb", b"\xcf", b"\xd7\xff"


def _key(name: str, kind: bytes) -> bytes:
    return bytes([0xA0 | len(name)]) + name.encode() + kind


_STOCK = struct.Struct(">3sd3sd3sd3sd3sQ3sQ4sd4sQ")
_CRYPTO = struct.Struct(">3sd3sd3sd3sd3sd3sQ4sd4sQ")
_O, _H, _L, _C = (_key(name, _F64) for name in "ohlc")
_N, _VW, _T = _key("n", _U64), _key("vw", _F64), _key("t", _EXT8)
_V_STOCK, _V_CRYPTO = _key("v", _U64), _key("v", _F64)


@lru_cache(maxsize=65536)
def _prefix(kind: str, symbol: str) -> bytes:
    packed = cast("bytes", msgpack.packb(symbol))
    return b"\x8a" + _key("T", b"") + _key(kind, b"") + _key("S", b"") + packed


def pack_bar(kind: str, bar: VenueBar) -> bytes:
    """One bar (`b`, `u` or `d`) as a msgpack map. Stock volumes are integers, crypto volumes floats."""
    seconds, nanoseconds = divmod(bar.open_ns, NS_PER_S)
    stamp = nanoseconds << 34 | seconds
    if "/" in bar.symbol:
        template, volume_key, volume = _CRYPTO, _V_CRYPTO, bar.volume
    else:
        template, volume_key, volume = _STOCK, _V_STOCK, int(bar.volume)
    return _prefix(kind, bar.symbol) + template.pack(
        _O, bar.open, _H, bar.high, _L, bar.low, _C, bar.close, volume_key, volume, _N, bar.trade_count, _VW, bar.vwap,
        _T, stamp,
    )  # fmt: skip


def bar_map(bar: VenueBar) -> dict[str, Any]:
    """A bar as JSON has it, without kind and symbol."""
    volume = bar.volume if "/" in bar.symbol else int(bar.volume)
    return {
        "t": rfc3339(bar.open_ns), "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": volume,
        "n": bar.trade_count, "vw": bar.vwap,
    }  # fmt: skip


def encode_bar(codec: Codec, kind: str, bar: VenueBar) -> bytes:
    """One bar in the connection's codec."""
    if codec == "msgpack":
        return pack_bar(kind, bar)
    return msgspec.json.encode({"T": kind, "S": bar.symbol, **bar_map(bar)})


def encode_message(codec: Codec, message: dict[str, Any]) -> bytes:
    """Any message; `t` as int ns UTC becomes a Timestamp or text."""
    stamped = dict(message)
    if "t" in stamped:
        ns = int(stamped["t"])
        stamped["t"] = msgpack.Timestamp(*divmod(ns, NS_PER_S)) if codec == "msgpack" else rfc3339(ns)
    if codec == "json":
        return msgspec.json.encode(stamped)
    return cast("bytes", msgpack.packb(stamped))


def array_frames(codec: Codec, messages: Sequence[bytes]) -> list[bytes | str]:
    """Arrays of at most 2,000 messages and less than 1 MiB each; binary for msgpack, text for JSON."""
    frames: list[bytes | str] = []
    start = 0
    while start < len(messages):
        stop = min(len(messages), start + MESSAGES_PER_FRAME_MAX)
        while (part := b"".join(messages[start:stop])) and len(part) > BYTES_PER_FRAME_MAX:
            stop = start + (stop - start) // 2
        count = stop - start
        if codec == "msgpack":
            header = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
            frames.append(header + part)
        else:
            frames.append((b"[" + b",".join(messages[start:stop]) + b"]").decode())
        start = stop
    return frames
