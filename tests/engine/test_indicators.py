"""Indicators against computations that share nothing with the library behind them, and against their own memory."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talipp.indicators import EMA, RSI, SMA

from engine.indicators import make
from tests.engine.build import bar

Values = Sequence[float | None]


def _sma(closes: Sequence[float], period: int) -> Values:
    return [
        None if end < period else math.fsum(closes[end - period : end]) / period for end in range(1, len(closes) + 1)
    ]


def _ema(closes: Sequence[float], period: int) -> Values:
    """Seeded with the plain average of the first `period` closes, then weighted 2 / (period + 1)."""
    values: list[float | None] = [None] * (period - 1)
    weight = 2 / (period + 1)
    for end in range(period, len(closes) + 1):
        last = values[-1] if end > period else None
        values.append(
            math.fsum(closes[:period]) / period if last is None else weight * closes[end - 1] + (1 - weight) * last
        )
    return values


def _rsi(closes: Sequence[float], period: int) -> Values:
    """Wilder 1978: first averages are plain ones over `period` changes, later ones are smoothed by 1 / period."""
    values: list[float | None] = [None] * min(period, len(closes))
    changes = [new - old for old, new in zip(closes, closes[1:], strict=False)]
    up = down = 0.0
    for number in range(period, len(changes) + 1):
        if number == period:
            up = math.fsum(max(c, 0.0) for c in changes[:period]) / period
            down = math.fsum(max(-c, 0.0) for c in changes[:period]) / period
        else:
            up = (up * (period - 1) + max(changes[number - 1], 0.0)) / period
            down = (down * (period - 1) + max(-changes[number - 1], 0.0)) / period
        values.append(100.0 if down == 0 else 100 - 100 / (1 + up / down))
    return values


REFERENCES: dict[str, Callable[[Sequence[float], int], Values]] = {"sma": _sma, "ema": _ema, "rsi": _rsi}
NAMES = sorted(REFERENCES)
BARE: dict[str, Callable[[int], Any]] = {"sma": SMA, "ema": EMA, "rsi": RSI}


def _walk(seed: int, count: int) -> list[float]:
    """A random walk on a cent grid with flat stretches, as closes are."""
    draw = random.Random(seed)
    price, closes = 10_000, []
    for _ in range(count):
        price = max(100, price + draw.choice([-35, -7, -1, 0, 0, 0, 1, 8, 33]))
        closes.append(price / 100)
    return closes


def _run(name: str, period: int, closes: Sequence[float]) -> list[float | None]:
    indicator = make(name, {"period": period})
    return [indicator.update(bar(close, number)) for number, close in enumerate(closes, 1)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("period", [2, 3, 5, 14, 50])
def test_values_agree_with_a_straightforward_computation(name: str, period: int) -> None:
    closes = _walk(period, 400)
    expected = REFERENCES[name](closes, period)
    found = _run(name, period, closes)
    assert len(expected) == len(found)
    for number, (mine, theirs) in enumerate(zip(expected, found, strict=True)):
        assert (mine is None) == (theirs is None), number
        if mine is not None:
            assert theirs == pytest.approx(mine, rel=1e-9, abs=1e-7), number


def test_first_values_by_hand() -> None:
    assert _run("sma", 3, [1, 2, 6, 7]) == [None, None, 3.0, 5.0]
    assert _run("ema", 3, [1, 2, 6, 7]) == [None, None, 3.0, 5.0]
    assert _run("sma", 1, [4, 5]) == [4.0, 5.0]
    # Changes +1 +1 -1: averages 2/3 and 1/3; then -3: (2/3 * 2) / 3 = 4/9 and (1/3 * 2 + 3) / 3 = 11/9.
    rsi = _run("rsi", 3, [10, 11, 12, 11, 8])
    assert rsi[:3] == [None, None, None]
    assert rsi[3:] == [pytest.approx(100 * 2 / 3), pytest.approx(100 * 4 / 15)]


@pytest.mark.parametrize(("closes", "value"), [([5.0] * 4, 100.0), ([5, 6, 7, 8], 100.0), ([8, 7, 6, 5], 0.0)])
def test_rsi_of_a_market_that_goes_one_way_or_nowhere(closes: list[float], value: float) -> None:
    assert _run("rsi", 3, closes)[-1] == value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("period", [2, 14, 30])
def test_memory_is_bounded_and_purging_changes_no_bit(name: str, period: int) -> None:
    closes = _walk(7, 5_000)
    indicator, bare = make(name, {"period": period}), BARE[name](period)
    largest = 0
    for number, close in enumerate(closes, 1):
        bare.add(close)
        assert indicator.update(bar(close, number)) == bare[-1]
        largest = max(largest, indicator.size)
    assert largest <= 8 * indicator.warmup + 16
    assert len(bare) == 5_000
    # The library's own memory is bounded too, not only our count of it.
    assert len(pickle.dumps(indicator)) < len(pickle.dumps(bare)) / 3


@pytest.mark.parametrize("name", NAMES)
def test_the_first_value_comes_with_the_last_bar_of_the_warmup(name: str) -> None:
    indicator = make(name, {"period": 5})
    values = [indicator.update(bar(100.0 + number, number)) for number in range(1, indicator.warmup + 1)]
    assert values[:-1] == [None] * (indicator.warmup - 1)
    assert values[-1] is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_close_that_is_no_number_is_refused_and_moves_nothing(name: str, bad: float) -> None:
    closes = _walk(3, 60)
    disturbed, calm = make(name, {"period": 5}), make(name, {"period": 5})
    for number, close in enumerate(closes, 1):
        with pytest.raises(ValueError, match=rf"{name}\(5\): close of AAPL must be finite, was {bad!r}"):
            disturbed.update(bar(bad, number))
        assert disturbed.update(bar(close, number)) == calm.update(bar(close, number))
        assert disturbed.size == calm.size


@given(
    st.sampled_from(NAMES),
    st.integers(2, 8),
    st.lists(st.floats(0.01, 1e6).map(lambda value: round(value, 2)), max_size=60),
    st.integers(0, 60),
)
def test_a_restored_indicator_goes_on_as_if_nothing_had_happened(
    name: str, period: int, closes: list[float], cut: int
) -> None:
    whole = _run(name, period, closes)
    indicator = make(name, {"period": period})
    values: list[float | None] = []
    for number, close in enumerate(closes, 1):
        if number == cut:
            indicator = pickle.loads(pickle.dumps(indicator))
        values.append(indicator.update(bar(close, number)))
    assert values == whole


def test_labels_name_the_parameters() -> None:
    assert [make(name, {"period": 9}).label for name in NAMES] == ["ema(9)", "rsi(9)", "sma(9)"]
