"""Worst-case exposure where buys and sells of one owner work at once: either may fill without the other."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bots import RiskLimits
from engine.messages import OrderAdopted, OrderCanceled, RiskDenied
from engine.portfolio import Portfolio
from engine.risk import RiskCore
from engine.risk.exposure import Exposure
from engine.values import OrderType, Purpose, Side, TimeInForce
from tests.engine.build import T0, D, always_open, bot, lent, minute, opened, signal

KEY = "manual|AAPL"


def _worst(held: int, *orders: tuple[str, int]) -> tuple[Decimal, Portfolio, Exposure]:
    book = Portfolio()
    book.holding("manual", "AAPL").signed_qty = D(held)
    exposure = Exposure(book, {"AAPL": (1, D(10))})
    for name, quantity in orders:
        book.reserve_for(name, KEY, D(quantity), D(0))
        exposure.touch("manual", "AAPL")
    return exposure.account.gross, book, exposure


@pytest.mark.parametrize(
    ("held", "orders", "worst"),
    [
        (0, (400, -400), 4000),
        (0, (400, -300), 4000),
        (0, (300, -400), 4000),
        (100, (400, -400), 5000),
        (-100, (400, -400), 5000),
        (100, (-50,), 1000),
        (100, (50,), 1500),
        (100, (-50, -40), 1000),
        (0, (), 0),
    ],
)
def test_each_side_counts_for_itself(held: int, orders: tuple[int, ...], worst: int) -> None:
    named = [(f"o{number}", quantity) for number, quantity in enumerate(orders)]
    gross, book, exposure = _worst(held, *named)
    assert gross == worst
    assert Exposure(book, {"AAPL": (1, D(10))}).account.gross == worst, "the same made anew"
    for name, _ in named:
        book.release(name)
        exposure.touch("manual", "AAPL")
    assert (exposure.account.gross, book.working, book.selling) == (abs(held) * 10, {}, {})


@given(st.integers(-9, 9), st.lists(st.integers(-9, 9).filter(bool), max_size=5))
def test_it_is_the_largest_that_any_of_the_orders_filling_could_make_it(held: int, orders: list[int]) -> None:
    gross, _, _ = _worst(held, *((f"o{number}", quantity) for number, quantity in enumerate(orders)))
    reached = {held}
    for quantity in orders:
        reached |= {at + quantity for at in reached}
    assert gross == 10 * max(map(abs, reached))


def _adopted(name: str, side: Side) -> OrderAdopted:
    return OrderAdopted(
        name, "manual", "MSFT", side, D(400), OrderType.LIMIT, TimeInForce.GTC, f"venue-{name}", Purpose.FOREIGN, T0,
        limit_px=D(100),
    )  # fmt: skip


def test_orders_of_others_on_both_sides_count_against_the_account() -> None:
    core = RiskCore([bot()], RiskLimits(gross_exposure_usd_max=D(45_000)))
    for body in (opened("1000000", MSFT="1"), always_open(), *lent("AAPL")):
        core.apply(body)
    core._exposure.mark("MSFT", D(100), T0)
    for body in (_adopted("buy", Side.BUY), _adopted("sell", Side.SELL)):
        core.apply(body)
    core.apply(signal())
    [denied] = core.decide_waiting(minute(1))
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.observed) == ("gross_exposure_usd_max", "50100")
    for name in ("buy", "sell"):
        core.apply(OrderCanceled(name, "manual", "MSFT", f"venue-{name}", D(0), T0))
    core.apply(signal(number=2))
    assert not isinstance(core.decide_waiting(minute(2))[0], RiskDenied)


def test_the_earlier_of_two_prices_is_the_same_in_whatever_order_they_come() -> None:
    """A verdict's own price is taken in when it is made, and at its place in the stream in a replay."""
    told = [(1, D(10)), (2, D(11)), (4, D(13)), (3, D(12))]
    for order in itertools.permutations(told):
        exposure = Exposure(Portfolio(), {})
        for ts_event, price in order:
            exposure.mark("AAPL", price, ts_event)
        assert (exposure.last("AAPL"), exposure.last_before("AAPL", 4)) == (13, 12), order
