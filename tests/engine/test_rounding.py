"""Rounding to the venue's steps: to which side, how far, and never twice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rounding import RoundingRefused, Terms, round_terms
from engine.values import CRYPTO_LOT, OrderClass, Side, price_tick

D = Decimal
ANY = D(10**9)
ONE = D(1)
CENT = D("0.01")


def _terms(**changes: Any) -> Terms:
    return Terms(**({"symbol": "AAPL", "side": Side.BUY, "quantity": D(10), "ref_px": D(150)} | changes))


def _rounded(terms: Terms, tick: Decimal | None = None, lot: Decimal = ONE, fraction: Decimal = ANY) -> Terms:
    rounded = round_terms(terms, tick, lot, fraction)
    assert isinstance(rounded, Terms)
    return rounded


@pytest.mark.parametrize(
    ("side", "field", "was", "becomes"),
    [
        (Side.BUY, "limit_px", "150.019", "150.01"),
        (Side.SELL, "limit_px", "150.011", "150.02"),
        (Side.BUY, "stop_px", "150.011", "150.02"),
        (Side.SELL, "stop_px", "150.019", "150.01"),
        (Side.SELL, "trail_px", "1.001", "1.01"),
        (Side.BUY, "take_profit_px", "160.001", "160.01"),
        (Side.BUY, "stop_loss_px", "140.009", "140"),
        (Side.BUY, "stop_loss_limit_px", "139.991", "140"),
        (Side.SELL, "take_profit_px", "140.009", "140"),
        (Side.SELL, "stop_loss_px", "160.001", "160.01"),
        (Side.BUY, "limit_px", "0.12349", "0.1234"),
        (Side.SELL, "limit_px", "0.99991", "1"),
        (Side.BUY, "limit_px", "1.009", "1"),
        (Side.BUY, "limit_px", "150.01", "150.01"),
        (Side.BUY, "notional", "25.559", "25.55"),
    ],
)
def test_to_which_side(side: Side, field: str, was: str, becomes: str) -> None:
    assert getattr(_rounded(_terms(side=side, **{field: D(was)})), field) == D(becomes)


def test_exits_of_an_oco_are_on_its_own_side() -> None:
    oco = _terms(side=Side.SELL, order_class=OrderClass.OCO, take_profit_px=D("160.001"), stop_loss_px=D("140.009"))
    rounded = _rounded(oco)
    assert (rounded.take_profit_px, rounded.stop_loss_px) == (D("160.01"), D(140))


def test_quantity_goes_down_to_the_lot() -> None:
    assert _rounded(_terms(quantity=D("10.9"))).quantity == D(10)
    assert _rounded(_terms(quantity=D("10.9")), lot=CRYPTO_LOT).quantity == D("10.9")
    assert _rounded(_terms(quantity=D("0.123456789123")), lot=CRYPTO_LOT).quantity == D("0.123456789")
    # What the venue buys for an amount of money is the venue's business.
    assert _rounded(_terms(quantity=D("0.17"), notional=D(25))).quantity == D("0.17")


def test_step_of_an_asset_counts_before_the_rule() -> None:
    coins = _terms(symbol="BTC/USD", quantity=D("0.00019"), limit_px=D("65000.7"), ref_px=D(65000))
    rounded = _rounded(coins, tick=D(1), lot=D("0.0001"))
    assert (rounded.limit_px, rounded.quantity) == (D(65000), D("0.0001"))
    assert _rounded(coins, lot=CRYPTO_LOT).limit_px == D("65000.7")


@pytest.mark.parametrize(
    ("changes", "fraction", "reason", "limit", "observed"),
    [
        ({"quantity": D("0.9")}, ANY, "quantity 0.9 is less than the smallest the venue takes, 1", "1", "0.9"),
        ({"limit_px": D("0.00004")}, ANY, "limit_px 0.00004 rounds to 0", "> 0", "0"),
        ({"notional": D("0.004")}, ANY, "notional 0.004 rounds to 0", "> 0", "0"),
        ({"quantity": D(0)}, ANY, "quantity must be a believable number > 0, was 0", "> 0", "0"),
        ({"stop_px": D("NaN")}, ANY, "stop_px must be a believable number > 0, was NaN", "> 0", "NaN"),
        ({"limit_px": D("1E+40")}, ANY, "limit_px must be a believable number > 0, was 1E+40", "> 0", "1E+40"),
        ({"ref_px": D(-1)}, ANY, "ref_px must be a believable number > 0, was -1", "> 0", "-1"),
        (
            {"quantity": D("1.9")},
            CENT,
            "rounding to the venue's steps changes the order's worth from 285 to 150",
            "0.01",
            "0.473684",
        ),
        (
            {"limit_px": D("0.00019"), "quantity": D(1000)},
            CENT,
            "rounding to the venue's steps changes the order's worth from 0.19 to 0.1",
            "0.01",
            "0.473684",
        ),
        (
            {"stop_loss_px": D("0.00019")},
            CENT,
            "rounding to the venue's steps changes stop_loss_px from 0.00019 to 0.0001",
            "0.01",
            "0.473684",
        ),
        (
            {"trail_px": D("0.00001"), "ref_px": D("0.005")},
            CENT,
            "rounding to the venue's steps changes trail_px from 0.00001 to 0.0001",
            "0.01",
            "0.018",
        ),
    ],
)
def test_what_would_become_another_order_is_refused(
    changes: dict[str, Any], fraction: Decimal, reason: str, limit: str, observed: str
) -> None:
    assert round_terms(_terms(**changes), None, ONE, fraction) == RoundingRefused(reason, limit, observed)


def test_smallest_quantity_of_the_venue() -> None:
    terms = _terms(symbol="BTC/USD", quantity=D("0.00001"))
    refused = round_terms(terms, None, CRYPTO_LOT, CENT, qty_min=D("0.000016"))
    assert isinstance(refused, RoundingRefused)
    assert (refused.limit, refused.observed) == ("0.000016", "0.00001")
    assert isinstance(round_terms(terms, None, CRYPTO_LOT, CENT, qty_min=D("0.00001")), Terms)


# --- for every order -------------------------------------------------------------------------------------------------

_prices = st.decimals(D("0.0002"), D(500_000), places=7, allow_nan=False)
_maybe = st.none() | _prices
_any_terms = st.builds(
    Terms,
    symbol=st.sampled_from(["AAPL", "BTC/USD"]),
    side=st.sampled_from(Side),
    quantity=st.decimals(D("0.0000001"), D(10_000_000), places=10, allow_nan=False),
    ref_px=_prices,
    order_class=st.sampled_from(OrderClass),
    notional=st.none() | st.decimals(D("0.01"), D(10_000_000), places=4, allow_nan=False),
    limit_px=_maybe,
    stop_px=_maybe,
    trail_px=_maybe,
    take_profit_px=_maybe,
    stop_loss_px=_maybe,
    stop_loss_limit_px=_maybe,
)
_ticks = st.none() | st.sampled_from([CENT, D("0.05"), D(1), D("0.000000001"), D("0.00025")])
_lots = st.sampled_from([ONE, CRYPTO_LOT, D("0.0001"), D(100)])
_fractions = st.sampled_from([D(0), D("0.0001"), CENT, D("0.2"), ANY])
_PRICES = ("limit_px", "stop_px", "trail_px", "take_profit_px", "stop_loss_px", "stop_loss_limit_px")


@settings(max_examples=200, deadline=None)
@given(_any_terms, _ticks, _lots, _fractions)
def test_rounded_once_is_rounded(terms: Terms, tick: Decimal | None, lot: Decimal, fraction: Decimal) -> None:
    once = round_terms(terms, tick, lot, fraction)
    if isinstance(once, Terms):
        assert round_terms(once, tick, lot, D(0)) == once


@settings(max_examples=200, deadline=None)
@given(_any_terms, _ticks, _lots)
def test_every_number_is_on_its_step_and_less_than_a_step_away(
    terms: Terms, tick: Decimal | None, lot: Decimal
) -> None:
    rounded = round_terms(terms, tick, lot, ANY)
    if not isinstance(rounded, Terms):
        return
    for name in _PRICES:
        was, is_now = getattr(terms, name), getattr(rounded, name)
        assert (was is None) == (is_now is None)
        if was is not None:
            step = tick or price_tick(terms.symbol, was)
            assert is_now > 0
            assert is_now % (tick or price_tick(terms.symbol, is_now)) == 0
            assert abs(is_now - was) < step
    if terms.notional is None:
        assert rounded.quantity % lot == 0
        assert 0 <= terms.quantity - rounded.quantity < lot
    else:
        assert rounded.notional is not None
        assert 0 <= terms.notional - rounded.notional < CENT


@settings(max_examples=200, deadline=None)
@given(_any_terms, _ticks, _lots)
def test_nothing_gets_more_aggressive(terms: Terms, tick: Decimal | None, lot: Decimal) -> None:
    rounded = round_terms(terms, tick, lot, ANY)
    if not isinstance(rounded, Terms):
        return
    sign = terms.side.sign
    exit_sign = sign if terms.order_class is OrderClass.OCO else -sign
    for name, way in (("limit_px", -sign), ("stop_px", sign), ("take_profit_px", -exit_sign),
                      ("stop_loss_px", exit_sign), ("stop_loss_limit_px", -exit_sign), ("trail_px", 1)):  # fmt: skip
        was, is_now = getattr(terms, name), getattr(rounded, name)
        if was is not None:
            assert (is_now - was) * way >= 0, name


@settings(max_examples=200, deadline=None)
@given(_any_terms, _ticks, _lots, _fractions)
def test_worth_changes_by_no_more_than_the_limit(
    terms: Terms, tick: Decimal | None, lot: Decimal, fraction: Decimal
) -> None:
    rounded = round_terms(terms, tick, lot, fraction)
    if not isinstance(rounded, Terms):
        return
    if terms.notional is not None and rounded.notional is not None:
        was, is_now = terms.notional, rounded.notional
    else:
        was = terms.quantity * (terms.limit_px or terms.ref_px)
        is_now = rounded.quantity * (rounded.limit_px or rounded.ref_px)
    assert abs(is_now - was) <= fraction * was
