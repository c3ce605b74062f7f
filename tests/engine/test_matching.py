"""Fills by hand: each row is an order, a candle and what a trader expects of it.

Columns: side and type with limit (L) and stop (S) prices, time in force, quantity | open high low close | expectation,
where "10 @ 100" is a fill, "-" none, "x" the cancellation of the rest, "!" a stop that has triggered without filling.
"""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.matching import (
    Candle,
    Draws,
    FillModel,
    FillRule,
    Match,
    WorkingOrder,
    match,
    moved_hwm,
    takes_profit_first,
    trail_stop,
)
from engine.values import CRYPTO_LOT, CRYPTO_TICK, OrderType, Side, TimeInForce, plain

D = Decimal
NO_DRAWS = Draws()
PLAIN = FillModel()

TABLE = """
# market: the open, whatever follows
buy  market             day 10 | 100 102  99 101 | 10 @ 100
sell market             day 10 | 100 102  99 101 | 10 @ 100
buy  market             gtc 10 | 100 100 100 100 | 10 @ 100
buy  market             ioc 10 | 100 102  99 101 | 10 @ 100
buy  market             fok 10 | 100 102  99 101 | 10 @ 100

# buy limit: inside, touched, gapped through, missed by one cent
buy  limit L99.5        day 10 | 100 102  99 101 | 10 @ 99.5
buy  limit L99          day 10 | 100 102  99 101 | 10 @ 99
buy  limit L100         day 10 | 100 102  99 101 | 10 @ 100
buy  limit L101         day 10 | 100 102  99 101 | 10 @ 100
buy  limit L98.99       day 10 | 100 102  99 101 | -
buy  limit L98.99       gtc 10 | 100 102  99 101 | -
buy  limit L98.99       ioc 10 | 100 102  99 101 | - x
buy  limit L98.99       fok 10 | 100 102  99 101 | - x
buy  limit L99          ioc 10 | 100 102  99 101 | 10 @ 99
buy  limit L99          fok 10 | 100 102  99 101 | 10 @ 99

# sell limit: the mirror
sell limit L101.5       day 10 | 100 102  99 101 | 10 @ 101.5
sell limit L102         day 10 | 100 102  99 101 | 10 @ 102
sell limit L100         day 10 | 100 102  99 101 | 10 @ 100
sell limit L98          day 10 | 100 102  99 101 | 10 @ 100
sell limit L102.01      day 10 | 100 102  99 101 | -
sell limit L102.01      ioc 10 | 100 102  99 101 | - x
sell limit L102.01      fok 10 | 100 102  99 101 | - x

# buy stop: inside, touched, gapped through (the open, not the stop), not reached
buy  stop S101          day 10 | 100 102  99 101 | 10 @ 101
buy  stop S102          day 10 | 100 102  99 101 | 10 @ 102
buy  stop S100          day 10 | 100 102  99 101 | 10 @ 100
buy  stop S98           day 10 | 100 102  99 101 | 10 @ 100
buy  stop S102.01       day 10 | 100 102  99 101 | -

# sell stop
sell stop S99.5         day 10 | 100 102  99 101 | 10 @ 99.5
sell stop S99           gtc 10 | 100 102  99 101 | 10 @ 99
sell stop S100          day 10 | 100 102  99 101 | 10 @ 100
sell stop S101          day 10 | 100 102  99 101 | 10 @ 100
sell stop S98.99        day 10 | 100 102  99 101 | -

# buy stop-limit: triggered inside and allowed -> at the stop; not reached -> nothing
buy  stop_limit S101 L101.5  day 10 | 100 102  99 101 | 10 @ 101
buy  stop_limit S101 L101    day 10 | 100 102  99 101 | 10 @ 101
buy  stop_limit S103 L104    day 10 | 100 102  99 101 | -
# gapped over stop and limit: a limit order for the whole candle
buy  stop_limit S95  L96     day 10 | 100 102  99 101 | - !
buy  stop_limit S95  L99     day 10 | 100 102  99 101 | 10 @ 99
buy  stop_limit S95  L100    day 10 | 100 102  99 101 | 10 @ 100
# triggered inside beyond its limit: the low may have come before the trigger, only the close counts
buy  stop_limit S101 L100.5  day 10 | 100 102  99 101 | - !
buy  stop_limit S101 L100.5  day 10 | 100 102  99 100 | 10 @ 100.5
buy  stop_limit S101 L100.5  day 10 | 100 102  99 100.5 | 10 @ 100.5

# sell stop-limit: the mirror
sell stop_limit S99.5 L99    day 10 | 100 102  99 101 | 10 @ 99.5
sell stop_limit S98   L97    day 10 | 100 102  99 101 | -
sell stop_limit S105  L104   day 10 | 100 102  99 101 | - !
sell stop_limit S105  L101   day 10 | 100 102  99 101 | 10 @ 101
sell stop_limit S99.5 L99.8  day 10 | 100 102  99 99.6 | - !
sell stop_limit S99.5 L99.8  day 10 | 100 102  99 100 | 10 @ 99.8

# a candle that gaps away
buy  limit L99          day 10 | 105 106 104 105 | -
sell limit L101         day 10 | 105 106 104 105 | 10 @ 105
buy  stop S101          day 10 | 105 106 104 105 | 10 @ 105
sell stop S99           day 10 |  95  96  94  95 | 10 @ 95

# auctions: the open, or the close, and nothing else; what is left ends
buy  market             opg 10 | 100 102  99 101 | 10 @ 100
sell market             cls 10 | 100 102  99 101 | 10 @ 101
buy  limit L100         opg 10 | 100 102  99 101 | 10 @ 100
buy  limit L99          opg 10 | 100 102  99 101 | - x
sell limit L101         cls 10 | 100 102  99 101 | 10 @ 101
sell limit L102         cls 10 | 100 102  99 101 | - x

# trailing stop, H = best price before, T = trail in USD, P = in percent: old stop touched, gapped, not reached
sell trailing_stop H102 T2     day 10 | 101 101.5 99 101 | 10 @ 100
sell trailing_stop H102 T2     day 10 |  99 100   98  99 | 10 @ 99
sell trailing_stop H102 T4     day 10 | 101 101.5 99 101 | -
sell trailing_stop H100 P2     day 10 |  99 100   98  99 | 10 @ 98
buy  trailing_stop H98  T2     day 10 |  99 100   98.5 99 | 10 @ 100
buy  trailing_stop H98  P1.5   day 10 |  99 99.47 98.5 99 | 10 @ 99.47

# ... the candle makes a new best price and closes beyond its stop: certainly triggered, at the close
sell trailing_stop H100 T3     day 10 | 101 110  100 106 | 10 @ 106
sell trailing_stop H100 T3     day 10 | 101 110  100 108 | -
buy  trailing_stop H100 T3     day 10 |  99 100   90  94 | 10 @ 94
"""


def _rows(table: str = TABLE) -> list[str]:
    return [line for line in table.splitlines() if line.strip() and not line.startswith("#")]


def _order(text: str, *, is_triggered: bool = False) -> WorkingOrder:
    side, kind, *prices, lifetime, quantity = text.split()
    named = {price[0]: D(price[1:]) for price in prices}
    return WorkingOrder(
        Side(side), OrderType(kind), TimeInForce(lifetime), D(quantity), None, named.get("L"), named.get("S"),
        is_triggered, named.get("T"), named.get("P"), named.get("H"),
    )  # fmt: skip


def _candle(text: str, volume: str = "1000") -> Candle:
    return Candle(*(D(price) for price in text.split()), volume=D(volume))


def _shown(result: Match) -> str:
    fill = f"{result.quantity} @ {plain(result.price)}" if result.quantity else "-"
    return fill + (" x" if result.is_canceled else "") + (" !" if result.is_triggered and not result.quantity else "")


@pytest.mark.parametrize("row", _rows(), ids=lambda row: re.sub(r"\s+", " ", row))
def test_one_candle(row: str) -> None:
    order, candle, expected = row.split("|")
    assert _shown(match(_order(order), _candle(candle), PLAIN, NO_DRAWS)) == expected.strip()


def test_on_a_path_no_profit_is_taken_after_a_stop_at_the_open() -> None:
    gap = _candle("94 106 80 90")  # up first; the stop at 95 went at the open
    first = [
        takes_profit_first(Side.SELL, D(105), gap, FillRule.BAR_PATH, stop_px=D(stop), is_triggered=is_triggered)
        for stop, is_triggered in ((95, False), (94, False), (93, False), (93, True))
    ]
    assert first == [False, False, True, False]
    up = _candle("106 120 94 100")  # down first
    assert not takes_profit_first(Side.BUY, D(95), up, FillRule.BAR_PATH, stop_px=D(105))
    assert takes_profit_first(Side.BUY, D(95), up, FillRule.BAR_PATH, stop_px=D(107))


MARKET_AT_CLOSE = """
buy  market             day 10 | 100 102  99 101 | 10 @ 101
sell market             ioc 10 | 100 102  99 101 | 10 @ 101
buy  limit L99.5        day 10 | 100 102  99 101 | 10 @ 99.5
sell stop S99.5         day 10 | 100 102  99 101 | 10 @ 99.5
"""
# 100 -> 99 -> 102 -> 101 where the low is nearer to the open, 100 -> 101 -> 98 -> 99 where the high is
ON_A_PATH = """
buy  market             day 10 | 100 102  99 101 | 10 @ 100
sell limit L101.5       day 10 | 100 102  99 101 | 10 @ 101.5
# a stop-limit beyond its limit: the low came before the trigger, then after it
buy  stop_limit S101 L99.5   day 10 | 100 102  99 101 | - !
buy  stop_limit S101 L99.5   day 10 | 100 101  98  99 | 10 @ 99.5
sell stop_limit S99.5 L101   day 10 | 100 102  99 100 | 10 @ 101
sell stop_limit S99 L100.5   day 10 | 100 101  98  99 | - !
# a trailing stop: the best price came before the fall, then after it
sell trailing_stop H100 T2   day 10 | 100 101  98  99 | 10 @ 99
sell trailing_stop H100 T2   day 10 | 100 102  99 101 | -
sell trailing_stop H100 T2   day 10 | 100 103  99 100.5 | 10 @ 101
sell trailing_stop H103 T2   day 10 | 100 101  98  99 | 10 @ 100
buy  trailing_stop H100 T2   day 10 | 100 102  99 101 | 10 @ 101
buy  trailing_stop H100 T2   day 10 | 100 101  98 100 | 10 @ 100
buy  trailing_stop H100 T2   day 10 | 100 101  98  99 | -
"""


@pytest.mark.parametrize(
    ("rule", "row"),
    [(FillRule.CLOSE, row) for row in _rows(MARKET_AT_CLOSE)]
    + [(FillRule.BAR_PATH, row) for row in _rows(ON_A_PATH)],
)  # fmt: skip
def test_one_candle_by_another_rule(rule: FillRule, row: str) -> None:
    order, candle, expected = row.split("|")
    assert _shown(match(_order(order), _candle(candle), FillModel(rule=rule), NO_DRAWS)) == expected.strip()


def test_a_triggered_stop_limit_is_a_limit_order_in_later_candles() -> None:
    order = _order("buy stop_limit S101 L100.5 day 10", is_triggered=True)
    assert _shown(match(order, _candle("100.8 100.9 100.4 100.6"), PLAIN, NO_DRAWS)) == "10 @ 100.5"
    assert _shown(match(order, _candle("100.2 100.3 100.1 100.2"), PLAIN, NO_DRAWS)) == "10 @ 100.2"
    assert _shown(match(order, _candle("102 103 101 102"), PLAIN, NO_DRAWS)) == "- !"


cents = st.integers(1, 100_000).map(lambda value: D(value) / 100)
units = st.integers(0, 999).map(lambda value: D(value) / 1000)


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    low, *middle, high = sorted(draw(st.lists(cents, min_size=4, max_size=4)))
    opened, closed = draw(st.permutations(middle))
    return Candle(opened, high, low, closed, D(draw(st.integers(0, 10_000))))


@pytest.mark.parametrize("order", ["sell stop S90 day 10", "sell trailing_stop H100 T9 day 10"])
def test_a_triggered_stop_is_a_market_order_in_later_candles(order: str) -> None:
    triggered = _order(order, is_triggered=True)
    assert _shown(match(triggered, _candle("100.8 100.9 100.4 100.6"), PLAIN, NO_DRAWS)) == "10 @ 100.8"


@pytest.mark.parametrize(
    ("side", "hwm", "trail_px", "percent", "expected"),
    [
        (Side.SELL, "100", "2.5", None, "97.50"), (Side.BUY, "100", "2.5", None, "102.50"),
        (Side.SELL, "33.33", None, "1", "32.99"), (Side.BUY, "33.33", None, "1", "33.67"),
        (Side.SELL, "1", "5", None, "0.01"),
    ],
)  # fmt: skip
def test_a_trailing_stop_is_rounded_away_from_the_price(
    side: Side, hwm: str, trail_px: str | None, percent: str | None, expected: str
) -> None:
    stop = trail_stop(side, D(hwm), D(trail_px) if trail_px else None, D(percent) if percent else None, D("0.01"))
    assert stop == D(expected)


@given(candle=candles(), side=st.sampled_from(Side), hwm=cents)
def test_the_best_price_never_moves_back(candle: Candle, side: Side, hwm: Decimal) -> None:
    moved = moved_hwm(side, hwm, candle)
    assert (moved - hwm) * side.sign <= 0
    assert moved_hwm(side, moved, candle) == moved


def test_of_two_exits_in_one_candle_the_stop_comes_first_unless_the_profit_is_there_at_the_open() -> None:
    candle = _candle("100 110 90 100")
    assert not takes_profit_first(Side.SELL, D(105), candle)
    assert takes_profit_first(Side.SELL, D(100), candle)
    assert not takes_profit_first(Side.BUY, D(95), candle)
    assert takes_profit_first(Side.BUY, D(100), candle)


@pytest.mark.parametrize(
    ("side", "limit", "prices", "expected"),
    [
        (Side.SELL, 101, "100 101 98 99", True), (Side.SELL, 102, "100 102 99 101", False),
        (Side.BUY, 99, "100 102 99 101", True), (Side.BUY, 98, "100 101 98 99", False),
        (Side.SELL, 101, "100 101 99 100", True), (Side.SELL, 102, "100 101 98 99", False),
    ],
)  # fmt: skip
def test_of_two_exits_on_a_path_the_one_that_is_reached_first_comes_first(
    side: Side, limit: int, prices: str, expected: bool
) -> None:
    assert takes_profit_first(side, D(limit), _candle(prices), FillRule.BAR_PATH) is expected


SLIPPAGE = FillModel(slippage_bps_max=D(100))


@pytest.mark.parametrize(
    ("order", "draw", "expected"),
    [
        ("buy market day 10", "0", "10 @ 100"),
        ("buy market day 10", "0.5", "10 @ 100.5"),
        ("buy market day 10", "0.333", "10 @ 100.34"),  # 100.333 rounded up to the cent, against the buyer
        ("sell market day 10", "0.333", "10 @ 99.66"),
        ("sell market day 10", "0.99", "10 @ 99.01"),
        ("buy stop S101.9 day 10", "0.9", "10 @ 102"),  # 102.82 would be above the high
        ("sell stop S99.1 day 10", "0.9", "10 @ 99"),
        ("buy limit L101 day 10", "0.9", "10 @ 100"),  # limit orders do not slip
    ],
)
def test_slippage_by_the_draw_worsens_the_price_inside_the_candle(order: str, draw: str, expected: str) -> None:
    result = match(_order(order), _candle("100 102 99 101"), SLIPPAGE, Draws(slippage=D(draw)))
    assert _shown(result) == expected


@pytest.mark.parametrize(
    ("order", "model", "expected"),
    [
        ("buy market day 10", FillModel(slippage_ticks=D(3)), "10 @ 100.03"),
        ("sell market day 10", FillModel(slippage_ticks=D(3)), "10 @ 99.97"),
        ("sell market day 10", FillModel(slippage_ticks=D(300)), "10 @ 99"),
        ("buy market day 10", FillModel(slippage_range=D("0.1")), "10 @ 100.3"),
        ("sell stop S99.5 day 10", FillModel(slippage_range=D("0.1")), "10 @ 99.2"),
        ("buy market day 10", FillModel(slippage_range=D("0.1"), slippage_ticks=D(1)), "10 @ 100.31"),
        ("buy limit L101 day 10", FillModel(slippage_ticks=D(3)), "10 @ 100"),
    ],
)
def test_slippage_by_ticks_and_by_the_range_of_the_candle(order: str, model: FillModel, expected: str) -> None:
    assert _shown(match(_order(order), _candle("100 102 99 101"), model, NO_DRAWS)) == expected


@pytest.mark.parametrize(
    ("order", "probability", "share", "expected", "is_done"),
    [
        ("buy market day 10", "0", "0.55", "10 @ 100", True),
        ("buy market day 10", "1", "0.55", "5 @ 100", False),
        ("buy market gtc 10", "1", "0.01", "1 @ 100", False),
        ("buy market gtc 1", "1", "0.01", "1 @ 100", True),
        ("buy market ioc 10", "1", "0.55", "5 @ 100 x", False),
        ("buy market fok 10", "1", "0.55", "- x", False),
    ],
)
def test_partial_fills(order: str, probability: str, share: str, expected: str, is_done: bool) -> None:
    model = FillModel(partial_fill_probability=D(probability))
    result = match(_order(order), _candle("100 102 99 101"), model, Draws(share=D(share)))
    assert (_shown(result), result.is_done) == (expected, is_done)


@pytest.mark.parametrize(
    ("order", "volume", "expected"),
    [
        ("buy market day 10", "100", "10 @ 100"),
        ("buy market day 10", "99", "9 @ 100"),
        ("buy market day 10", "9", "-"),
        ("buy market ioc 10", "50", "5 @ 100 x"),
        ("buy market fok 10", "99", "- x"),
        ("buy market fok 10", "100", "10 @ 100"),
        ("buy market ioc 10", "0", "- x"),
    ],
)
def test_share_of_the_volume(order: str, volume: str, expected: str) -> None:
    model = FillModel(volume_share_max=D("0.1"))
    assert _shown(match(_order(order), _candle("100 102 99 101", volume), model, NO_DRAWS)) == expected


def test_a_notional_order_buys_what_its_dollars_give_rounded_down_to_nine_decimals() -> None:
    order = WorkingOrder(Side.BUY, OrderType.MARKET, TimeInForce.DAY, None, D(100))
    model = FillModel(tick=CRYPTO_TICK, lot=CRYPTO_LOT)
    result = match(order, _candle("3 3 3 3"), model, NO_DRAWS)
    assert (result.quantity, result.is_done) == (D("33.333333333"), True)


def test_an_order_without_its_price_is_a_broken_promise() -> None:
    with pytest.raises(ValueError, match="limit_px must be given"):
        match(_order("buy limit day 10"), _candle("3 3 3 3"), PLAIN, NO_DRAWS)


@given(
    candle=candles(), side=st.sampled_from(Side), kind=st.sampled_from([t for t in OrderType if t is not OrderType.OTHER]),
    lifetime=st.sampled_from([t for t in TimeInForce if t is not TimeInForce.OTHER]),
    quantity=st.integers(1, 1000), limit=cents, stop=cents, is_triggered=st.booleans(),
    share=st.none() | units.filter(bool), chance=units, draws=st.builds(Draws, units, units, units),
)  # fmt: skip
def test_no_fill_is_outside_the_candle_beyond_the_limit_or_more_than_wanted(
    *, candle: Candle, side: Side, kind: OrderType, lifetime: TimeInForce, quantity: int, limit: Decimal, stop: Decimal,
    is_triggered: bool, share: Decimal | None, chance: Decimal, draws: Draws,
) -> None:  # fmt: skip
    order = WorkingOrder(side, kind, lifetime, D(quantity), None, limit, stop, is_triggered, limit, None, stop)
    result = match(order, candle, FillModel(D(50), chance, share), draws)
    assert 0 <= result.quantity <= quantity
    assert result.is_done == (result.quantity == quantity)
    if result.quantity:
        assert candle.low <= result.price <= candle.high
        if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            assert (result.price - limit) * side.sign <= 0
    if lifetime is TimeInForce.FOK:
        assert result.quantity in (0, quantity)
    ends = lifetime not in (TimeInForce.DAY, TimeInForce.GTC)
    assert result.is_canceled == (ends and result.quantity < quantity)
