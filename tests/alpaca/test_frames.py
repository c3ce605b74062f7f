"""Frames of the market-data stream: the typed way and the careful way give the same, and nothing raises."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.alpaca.frames import FrameReader
from adapters.alpaca.parse import parse_bar
from engine.values import NS_PER_MINUTE
from tests.alpaca.wire import bar_record, relaxed


def _pack(records: Any) -> bytes:
    return msgpack.packb(records)


@relaxed
@given(
    st.lists(
        st.builds(
            bar_record,
            st.sampled_from(["SPY", "BRK.B", "BTC/USD"]),
            st.integers(-(10**6), 10**7),
            v=st.integers(0, 10**9) | st.floats(0, 1e12),
            n=st.none() | st.integers(0, 10**6),
            vw=st.none() | st.floats(0, 1e6) | st.just(math.nan),
            h=st.floats(389, 1e6),
            l=st.floats(1e-9, 388),
        ),
        max_size=5,
    )
)
def test_typed_and_careful_reading_agree(records: list[dict[str, Any]]) -> None:
    frame = FrameReader().read(_pack(records))
    assert frame.bars == [parse_bar(record, "1m", NS_PER_MINUTE) for record in records]
    assert (frame.problems, frame.controls, frame.has_data) == ([], [], bool(records))
    mixed = FrameReader().read(_pack([*records, {"T": "u", "S": "SPY"}]))
    assert (mixed.bars, mixed.has_data) == (frame.bars, True)


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999])
@pytest.mark.parametrize("seconds", [-5, 0, 2**32 - 1, 2**34])
def test_every_form_of_the_timestamp_is_exact(seconds: int, nanoseconds: int) -> None:
    record = bar_record("SPY", t=msgpack.Timestamp(seconds, nanoseconds))
    (bar,) = FrameReader().read(_pack([record])).bars
    assert bar.ts_event == seconds * 10**9 + nanoseconds + NS_PER_MINUTE


@pytest.mark.parametrize(
    "damage",
    [{"c": math.nan}, {"h": 1.0}, {"o": None}, {"S": 5}, {"t": "soon"}, {"t": msgpack.ExtType(5, b"abcd")}, {"v": "x"}],
)
def test_one_bad_bar_among_500_costs_itself_only(damage: dict[str, Any]) -> None:
    records = [bar_record(f"S{index}") for index in range(500)]
    records[250] |= damage
    frame = FrameReader().read(_pack(records))
    assert [bar.symbol for bar in frame.bars] == [f"S{index}" for index in range(500) if index != 250]
    assert len(frame.problems) == 1
    assert frame.problems[0].startswith("bar of S250") or "S must be a text" in frame.problems[0]


def test_extension_type_is_looked_at_even_when_its_bytes_are_known() -> None:
    good = bar_record("SPY")
    payload = struct.pack(">I", good["t"].seconds)
    frame = FrameReader().read(_pack([good, bar_record("SPY", t=msgpack.ExtType(5, payload))]))
    assert (len(frame.bars), len(frame.problems)) == (1, 1)


def test_controls_and_other_records_are_told_apart() -> None:
    ack = {"T": "subscription", "bars": ["SPY"]}
    frame = FrameReader().read(_pack([ack, {"T": "error", "code": 405, "msg": "symbol limit exceeded"}]))
    assert (frame.bars, [control["T"] for control in frame.controls], frame.has_data) == (
        [],
        ["subscription", "error"],
        False,
    )
    assert FrameReader().read(_pack([{"T": "q", "S": "SPY"}])).has_data
    assert FrameReader().read(_pack([bar_record("SPY", o=None)])).has_data
    assert not FrameReader().read(_pack([{"T": "whatever"}])).has_data


def test_json_text_frame_is_read_too() -> None:
    record = bar_record("SPY", t="2021-02-22T19:15:00Z")
    frame = FrameReader().read(json.dumps([record]))
    assert [bar.ts_event for bar in frame.bars] == [1614021360 * 10**9]


def test_bare_record_counts_as_a_list_of_one() -> None:
    assert len(FrameReader().read(_pack(bar_record("SPY"))).bars) == 1


@relaxed
@given(st.binary(max_size=200) | st.text(max_size=100))
def test_junk_frames_never_raise(data: bytes | str) -> None:
    FrameReader().read(data)


@relaxed
@given(st.binary(min_size=1, max_size=3), st.integers(0, 500))
def test_damaged_frames_never_raise(noise: bytes, at: int) -> None:
    good = _pack([bar_record("SPY"), bar_record("QQQ")])
    FrameReader().read(good[:at] + noise + good[at + len(noise) :])
    FrameReader().read(good[:at])


def test_memory_of_closes_is_bounded() -> None:
    reader = FrameReader()
    for minute in range(3000):
        reader.read(_pack([bar_record("SPY", minute)]))
    assert len(reader._closes) <= 1024
