"""What an event means for a person's wish about an order, and which order an id means."""

from decimal import Decimal

import pytest

from engine.errors import ConfigError
from engine.messages import (
    CancelOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    ReplaceOrder,
    RiskDenied,
)
from engine.values import OrderType, Side, TimeInForce
from tapeline.orders import Found, Wish, choose, find_sql, number

ID, NEW = "a" * 32, "b" * 32
TEN, PX = Decimal(10), Decimal(5)


def accepted(order: str) -> OrderAccepted:
    return OrderAccepted(order, "bot", "AAPL", f"v-{order}", 1)


def filled(order: str) -> OrderFilled:
    return OrderFilled(order, "bot", "AAPL", f"v-{order}", TEN, PX, 1)


def canceled(order: str) -> OrderCanceled:
    return OrderCanceled(order, "bot", "AAPL", f"v-{order}", Decimal(4), 1)


def answer(wish: str) -> OrderIntent:
    return OrderIntent(
        NEW, wish, "bot", "AAPL", Side.BUY, TEN, OrderType.LIMIT, TimeInForce.DAY, PX, PX, 1, 2, limit_px=PX, replaces=ID
    )  # fmt: skip


def denial(wish: str) -> RiskDenied:
    return RiskDenied(NEW, wish, "bot", "AAPL", "replace", "nothing would change", "a change", "none", 1)


def follow(wish: CancelOrder | ReplaceOrder, *events) -> list[tuple[bool, str]]:
    """Ends that events bring, in order."""
    following = Wish(wish)
    return [(end.is_done, end.text) for end in map(following.take, events) if end is not None]


def test_a_cancel_ends_with_the_end_of_its_order_and_no_other():
    wish = CancelOrder("w", ID, "", "anna", 1)
    assert follow(wish, canceled("other"), accepted(ID), denial("w")) == []
    assert follow(wish, canceled(ID)) == [(True, "canceled; 4 of it had been filled")]
    assert follow(wish, filled(ID)) == [(False, "filled before: 10 at 5")]
    assert follow(wish, OrderExpired(ID, "bot", "AAPL", "venue", 1)) == [(False, "ended before: venue")]


def test_a_change_ends_with_the_new_order_or_a_refusal():
    wish = ReplaceOrder("w", ID, "", "anna", 1, limit_px=PX)
    replaced = OrderReplaced(ID, "bot", "AAPL", "v", TEN, 1, "v2")
    assert follow(wish, answer("another wish"), accepted(NEW), denial("another wish")) == []
    assert follow(wish, answer("w"), replaced, accepted(NEW)) == [(True, f"replaced by {NEW}")]
    assert follow(wish, denial("w")) == [(False, "denied by risk: nothing would change (replace, a change, was none)")]
    refused = OrderRejected(NEW, "bot", "AAPL", "422", "too late", 1)
    assert follow(wish, answer("w"), refused) == [(False, "the venue refuses: too late (422)")]
    ((is_done, text),) = follow(wish, answer("w"), OrderExpired(NEW, "bot", "AAPL", "not_sent", 1))
    assert (is_done, "not sent" in text) == (False, True)
    assert follow(wish, filled(ID))[0][0] is False
    assert follow(wish, canceled(ID)) == [(False, "canceled before it could be changed")]


def test_an_id_means_one_open_order():
    one, two = Found(ID, "AAPL", "Accepted"), Found("a" * 31 + "b", "AAPL", "Submitted")
    over = Found("a" * 31 + "c", "AAPL", "Filled")
    assert choose("aaaaaaaa", [one, over]) == one
    for found, why in (([one, two], "begins 2 open orders"), ([over], "not open any more: Filled"), ([], "no order")):
        with pytest.raises(ConfigError, match=why):
            choose("aaaaaaaa", found)


@pytest.mark.parametrize("text", ["", "   ", "x" * 129, "a\nb"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(ConfigError, match="ID must be"):
        find_sql(text)


def test_an_id_is_quoted_and_a_short_one_must_be_whole():
    assert "'o''clock'" in find_sql("o'clock")
    assert "starts_with" not in find_sql("o'clock")
    assert "starts_with" in find_sql("o'clock12")


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf", "1e999999999", "1e-10", "0.0000000001"])
def test_numbers_are_above_zero(text):
    with pytest.raises(ConfigError, match="limit_px must be"):
        number("limit_px", text)
    assert number("limit_px", "1.50") == Decimal("1.5")
