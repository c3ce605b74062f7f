from __future__ import annotations

import math
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.values import (
    CRYPTO_TICK,
    EQUITY_TICK,
    AssetClass,
    Direction,
    Side,
    asset_class_of,
    plain,
    price_tick,
    round_to,
    timeframe_ns,
    to_decimal,
)

D = Decimal


def test_a_float_becomes_the_decimal_a_person_reads() -> None:
    assert to_decimal(412.35) == D("412.35")
    assert Decimal(412.35) != D("412.35")  # why the function exists
    assert to_decimal(0.1 + 0.2) == D("0.30000000000000004")
    assert to_decimal(1e-9) == D("0.000000001")
    assert to_decimal(1e22) == D("1e22")
    assert to_decimal(7) == D(7)  # an int from JSON


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused_with_its_value(value: float) -> None:
    with pytest.raises(ValueError, match=rf"finite number, was {value!r}"):
        to_decimal(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_decimal_reads_back_as_the_float_it_came_from(value: float) -> None:
    assert float(to_decimal(value)) == value


@pytest.mark.parametrize(
    ("value", "tick", "expected"),
    [
        (412.354, EQUITY_TICK, "412.35"),
        (412.355, EQUITY_TICK, "412.36"),  # 41235.5 ticks, half to even: up
        (412.345, EQUITY_TICK, "412.34"),  # 41234.5 ticks, half to even: down
        (0.12345, D("0.0001"), "0.1234"),
        (65000.1234567894, CRYPTO_TICK, "65000.123456789"),
    ],
)
def test_rounding_to_a_tick(value: float, tick: Decimal, expected: str) -> None:
    assert to_decimal(value, tick) == D(expected)


@given(
    st.decimals(min_value=-(10**9), max_value=10**9, places=9),
    st.sampled_from([EQUITY_TICK, D("0.0001"), CRYPTO_TICK, D(1), D("0.25")]),
    st.sampled_from([ROUND_DOWN, ROUND_UP, ROUND_HALF_EVEN]),
)
def test_a_rounded_value_is_whole_ticks_and_less_than_one_tick_away(value: Decimal, tick: Decimal, how: str) -> None:
    rounded = round_to(value, tick, how)
    assert rounded % tick == 0
    assert abs(rounded - value) < tick
    if how == ROUND_DOWN:
        assert abs(rounded) <= abs(value)
    if how == ROUND_UP:
        assert abs(rounded) >= abs(value)
    if how == ROUND_HALF_EVEN:
        assert abs(rounded - value) * 2 <= tick
    assert round_to(rounded, tick, how) == rounded


@given(
    st.decimals(min_value=-(10**18), max_value=10**18, allow_nan=False),
    st.sampled_from([EQUITY_TICK, D("0.0001"), CRYPTO_TICK, D(1)]),
    st.sampled_from([ROUND_DOWN, ROUND_UP, ROUND_HALF_EVEN]),
)
def test_ticks_that_are_powers_of_ten_round_like_all_others(value: Decimal, tick: Decimal, how: str) -> None:
    """The short way for them writes what the long way writes, sign of a zero and number of digits included."""
    assert str(round_to(value, tick, how)) == str((value / tick).quantize(D(1), rounding=how) * tick)


def test_the_sign_of_a_zero_does_not_depend_on_what_was_converted_before() -> None:
    assert [str(to_decimal(value)) for value in (0.0, -0.0, 0.0, -0.0)] == ["0.0", "-0.0", "0.0", "-0.0"]


def test_price_steps_follow_the_venue() -> None:
    assert price_tick("AAPL", D("1")) == D("0.01")
    assert price_tick("AAPL", D("0.9999")) == D("0.0001")
    assert price_tick("BTC/USD", D("65000")) == D("0.000000001")


def test_only_pairs_are_crypto() -> None:
    assert asset_class_of("BTC/USD") is AssetClass.CRYPTO
    assert asset_class_of("BRK.B") is AssetClass.US_EQUITY


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E+2", "100"),
        ("100", "100"),
        ("1.500", "1.5"),
        ("1.0", "1"),
        ("0.000000001", "0.000000001"),
        ("1E-9", "0.000000001"),
        ("0", "0"),
        ("0.00", "0"),
        ("-0.00", "0"),
        ("-2.50", "-2.5"),
    ],
)
def test_plain_text_of_a_decimal(value: str, text: str) -> None:
    assert plain(D(value)) == text


@given(st.decimals(min_value=-(10**15), max_value=10**15, places=9))
def test_plain_text_is_exact_and_the_same_for_equal_numbers(value: Decimal) -> None:
    assert D(plain(value)) == value
    assert plain(value) == plain(value.normalize()) == plain(value + D("0E-12"))
    assert "E" not in plain(value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("30s", 30), ("1m", 60), ("15m", 900), ("1h", 3600), ("1d", 86400)]
)
def test_timeframes(text: str, seconds: int) -> None:
    assert timeframe_ns(text) == seconds * 1_000_000_000


@pytest.mark.parametrize("text", ["", "m", "1", "0m", "-1m", "1.5m", "1M", "1min", " 1m", "1 m", "²m", "1w"])
def test_a_wrong_timeframe_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="timeframe must be") as caught:
        timeframe_ns(text)
    assert repr(text) in str(caught.value)


def test_signs() -> None:
    assert [Side.BUY.sign, Side.SELL.sign] == [1, -1]
    assert [Direction.LONG.sign, Direction.SHORT.sign, Direction.FLAT.sign] == [1, -1, 0]
