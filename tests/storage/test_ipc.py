"""Frames as bytes and back."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from storage.ipc import chunks, from_ipc, join, to_ipc

FRAME = pl.DataFrame(
    {
        "quantity": pl.Series(
            [Decimal("0.000000001"), None, Decimal("99999999999999999999.5")], dtype=pl.Decimal(38, 9)
        ),
        "ts_event": pl.Series(
            [dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC), None, None], dtype=pl.Datetime("us", "UTC")
        ),
        "ts_event_ns": [1, None, 2**62],
        "symbol": ["BRK.B", "", None],
        "price": [0.1, float("inf"), None],
        "is_backfill": [True, False, None],
    }
)


@pytest.mark.parametrize("frame", [FRAME, FRAME.clear(), FRAME[:1]], ids=["rows", "none", "one"])
def test_types_and_values_survive(frame):
    back = from_ipc(to_ipc(frame))
    assert back.schema == frame.schema
    assert_frame_equal(back, frame)


def test_old_readers_can_read_it():
    """No string views: Arrow libraries before 2024 do not know them."""
    with pa.ipc.open_stream(to_ipc(FRAME)) as reader:
        assert reader.schema.field("symbol").type == pa.large_string()


@given(data=st.binary(max_size=300), size=st.integers(1, 320))
def test_pieces_join_again_and_keep_the_limit(data, size):
    pieces = chunks(data, size)
    assert join(pieces) == data
    assert all(0 < len(piece) <= size for piece in pieces) or pieces == [b""]


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="must be > 0, was 0"):
        chunks(b"x", 0)
