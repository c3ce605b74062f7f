"""Offset of two clocks: the middle of question and answer, and an error that is never understated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.offsets import best_of, is_beyond, offset_of, words
from engine.ports import ClockOffset

MS = 10**6
S = 10**9


def test_the_venue_is_asked_in_the_middle() -> None:
    assert offset_of(100 * S, 200 * MS, 99 * S, 1) == ClockOffset(1_100 * MS, 100 * MS)
    assert offset_of(100 * S, 200 * MS, 99 * S, S) == ClockOffset(600 * MS, 600 * MS)


@given(
    truth=st.integers(-(10**12), 10**12),
    there=st.integers(0, 10**10),
    back=st.integers(0, 10**10),
    resolution=st.sampled_from((1, MS, S)),
)
def test_the_true_offset_lies_within_the_error(truth: int, there: int, back: int, resolution: int) -> None:
    asked = 1_700_000_000 * S
    answered = asked + there - truth  # by the venue's clock
    said = answered - answered % resolution
    found = offset_of(asked, there + back, said, resolution)
    assert abs(found.offset_ns - truth) <= found.error_ns + 2


def test_the_surest_counts() -> None:
    assert best_of([ClockOffset(5, 30), ClockOffset(7, 20), ClockOffset(9, 40)]) == ClockOffset(7, 20)


@pytest.mark.parametrize(
    ("offset", "error", "beyond"),
    [(1000, 0, False), (1001, 0, True), (-1001, 0, True), (1500, 500, False), (1501, 500, True), (-1501, 500, True)],
)
def test_only_what_is_surely_too_much_is_beyond(offset: int, error: int, *, beyond: bool) -> None:
    assert is_beyond(ClockOffset(offset * MS, error * MS), 1000) is beyond


def test_it_is_said_in_words() -> None:
    assert words(ClockOffset(120 * MS, 41 * MS)) == "0.120 s ahead of the venue's (+-0.041 s)"
    assert words(ClockOffset(-2_000 * MS, 0)) == "2.000 s behind the venue's (+-0.000 s)"
