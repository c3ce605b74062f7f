from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bots import OrderStyle
from engine.ordering import lot_of
from engine.sizing import order_quantity, reference_price, target_quantity
from engine.values import Direction
from tests.engine.build import D, bot, signal

LONG, SHORT, FLAT = Direction.LONG, Direction.SHORT, Direction.FLAT


@pytest.mark.parametrize(
    ("direction", "strength", "price", "symbol", "quantity"),
    [
        (LONG, 1.0, "100", "AAPL", "100"),
        (LONG, 1.0, "100.01", "AAPL", "99"),
        (SHORT, 1.0, "100.01", "AAPL", "-99"),
        (LONG, 0.5, "100", "AAPL", "50"),
        (FLAT, 0.0, "100", "AAPL", "0"),
        (FLAT, 1.0, "100", "AAPL", "0"),
        (LONG, 1.0, "10000.01", "AAPL", "0"),
        (LONG, 1.0, "65000", "BTC/USD", "0.153846153"),
        (SHORT, 1.0, "65000", "BTC/USD", "-0.153846153"),
        (LONG, 1.0, "0", "AAPL", "0"),
        (LONG, 1.0, "-5", "AAPL", "0"),
    ],
)
def test_targets_by_hand(direction: Direction, strength: float, price: str, symbol: str, quantity: str) -> None:
    """A tenth of 100,000 USD in one symbol."""
    of = signal(direction, strength=strength, symbol=symbol)
    assert target_quantity(bot(), of, D(price)) == D(quantity)


@given(
    direction=st.sampled_from(Direction),
    strength=st.floats(0, 1),
    fraction=st.floats(0.001, 1),
    capital=st.decimals(min_value=1, max_value=10**9, places=2),
    price=st.decimals(min_value="0.0001", max_value=10**6, places=4),
    symbol=st.sampled_from(["AAPL", "BTC/USD"]),
)
def test_a_target_never_costs_more_than_its_share_and_wastes_less_than_one_lot(
    direction: Direction, strength: float, fraction: float, capital: Decimal, price: Decimal, symbol: str
) -> None:
    of = bot(capital=capital, position_fraction=fraction)
    target = target_quantity(of, signal(direction, strength=strength, symbol=symbol), price)
    # Their exact decimal values, as a person reads them.
    budget = Fraction(capital) * Fraction(repr(fraction)) * Fraction(repr(strength))
    lot = lot_of(symbol, OrderStyle())
    assert target % lot == 0
    assert target == 0 or (target > 0) == (direction.sign > 0)
    assert Fraction(abs(target)) * Fraction(price) <= budget
    if direction is not FLAT:
        assert (Fraction(abs(target)) + Fraction(lot)) * Fraction(price) > budget


_quantities = st.integers(-1000, 1000).map(Decimal) | st.decimals(min_value=-10, max_value=10, places=9)


@pytest.mark.parametrize(
    ("target", "held", "working", "quantity", "rest"),
    [
        ("10", "0", "0", "10", False),
        ("10", "4", "0", "6", False),
        ("10", "4", "6", "0", False),
        ("10", "4", "2", "4", False),
        ("0", "10", "0", "-10", False),
        ("0", "10", "-4", "-6", False),
        ("-5", "10", "0", "-10", True),
        ("5", "-10", "0", "10", True),
        ("-5", "10", "-10", "-5", False),
        ("-5", "10", "-4", "-6", True),
    ],
)
def test_orders_by_hand(target: str, held: str, working: str, quantity: str, rest: bool) -> None:
    assert order_quantity(D(target), D(held), D(working)) == (D(quantity), rest)


@given(_quantities, _quantities, _quantities)
def test_an_order_never_goes_beyond_the_target_nor_through_zero_and_two_always_reach_it(
    target: Decimal, held: Decimal, working: Decimal
) -> None:
    first, rest = order_quantity(target, held, working)
    before = held + working
    after = before + first
    assert after * before >= 0
    assert min(before, target) <= after <= max(before, target)
    assert rest is (after != target)
    if rest:
        assert after == 0
        second, more = order_quantity(target, after, D(0))
        assert after + second == target
        assert not more


def test_the_reference_price_is_on_the_venues_tick() -> None:
    assert reference_price(signal(price=412.354999)) == D("412.35")
    assert reference_price(signal(price=0.123456)) == D("0.1235")
    assert reference_price(signal(price=0.1234567891, symbol="DOGE/USD")) == D("0.123456789")
    for price in (float("nan"), float("inf"), -1.0, 0.0, 1e12):
        assert reference_price(signal(price=price)) == 0
