"""Silence and lag: what is named, and what is only quiet."""

from __future__ import annotations

import pytest

from engine.liveness import Silence, few, left_behind
from tests.engine.build import minute


def test_a_stream_that_is_silent_for_too_long_is_named_with_the_time() -> None:
    silence = Silence(["stocks", "crypto"], 100.0)
    silence.heard("crypto", 150.0)
    assert silence.longer_than(60.0, 160.0) == []
    assert silence.longer_than(60.0, 161.0) == [("stocks", 61.0)]
    assert silence.longer_than(10.0, 161.0) == [("crypto", 11.0), ("stocks", 61.0)]
    silence.heard("stocks", 161.0)
    assert silence.longer_than(60.0, 200.0) == []


LAG = minute(10) - minute(0)


@pytest.mark.parametrize(
    ("last", "floor", "names"),
    [
        ({"A": 20, "B": 10, "C": 9}, 0, ["C"]),
        ({"A": 20, "B": 20}, 0, ["C"]),
        ({"A": 20, "B": 20}, 10, []),
        ({}, 0, []),
        ({"A": 20, "X": 99}, 9, ["B", "C"]),
    ],
)
def test_symbols_whose_bars_stay_away_while_others_come(last: dict[str, int], floor: int, names: list[str]) -> None:
    known = {symbol: minute(number) for symbol, number in last.items()}
    assert left_behind(("A", "B", "C"), known, minute(floor), LAG) == names


def test_few_names_stand_for_many() -> None:
    assert few(["A"]) == "1 (A)"
    assert few(list("ABCDE")) == "5 (A, B, C, D, E)"
    assert few(list("ABCDEFG")) == "7 (A, B, C, D, E, ...)"
