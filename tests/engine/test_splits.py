"""Splits: nothing of an account is lost or made when its holdings are shared out anew."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import Split
from engine.splits import adjusted, divided, goes_along, net_after, order_quantity, restated, shared_out, times
from engine.values import OrderClass, OrderType, Side
from tests.engine.build import T0, D, bar, intent

THIRD = D(1) / D(3)


def split(ratio: str | object = "4", **more: object) -> Split:
    fields: dict[str, object] = {
        "id": "ca1",
        "symbol": "AAPL",
        "new_symbol": "AAPL",
        "ratio": D(ratio) if isinstance(ratio, str) else ratio,
        "ts_event": T0,
    }
    return Split(**(fields | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quantity", "ratio", "after"),
    [
        ("10", D(4), "40"),
        ("9", THIRD, "3"),
        ("1", THIRD, "0.333333333"),
        ("9000000", THIRD, "3000000"),
        ("-7", D("0.1"), "-0.7"),
    ],
)
def test_quantities_are_right_to_the_venues_smallest_step(quantity: str, ratio: object, after: str) -> None:
    assert str(times(D(quantity), ratio)) == after  # type: ignore[arg-type]


# holdings | ratio, what the venue dropped -> holdings after (after giving)
SHARED = [
    ({"a": "10", "b": "-4"}, D(4), "0", {"a": "40", "b": "-16"}),
    ({"a": "10", "b": "5"}, D("0.1"), "0.5", {"a": "1", "b": "0"}),
    ({"a": "5", "b": "5"}, D("0.1"), "0", {"a": "0.5", "b": "0.5"}),
    ({"a": "13", "b": "14"}, D("0.1"), "0.7", {"a": "1", "b": "1"}),
    ({"a": "17", "b": "-2"}, D("0.1"), "0.5", {"a": "1.2", "b": "-0.2"}),
    ({"a": "-13", "b": "-12"}, D("0.1"), "-0.5", {"a": "-1", "b": "-1"}),
    ({"a": "1", "b": "1", "c": "1"}, THIRD, "0", {"a": "0.333333334", "b": "0.333333333", "c": "0.333333333"}),
]


@pytest.mark.parametrize(("held", "ratio", "dropped", "after"), SHARED)
def test_what_is_dropped_comes_off_the_largest_fractions(held: dict, ratio: object, dropped: str, after: dict) -> None:
    parts = shared_out({name: D(q) for name, q in held.items()}, split(ratio, fraction_qty=D(dropped)))
    assert {name: part.quantity - part.given for name, part in parts.items()} == {n: D(q) for n, q in after.items()}


quantities = st.integers(-(10**13), 10**13).map(lambda n: D(n) / 1000)


@given(
    st.dictionaries(st.sampled_from("abcd"), quantities, max_size=4),
    st.tuples(st.integers(1, 100), st.integers(1, 100)),
    st.booleans(),
)
def test_together_the_bots_have_what_the_account_has(held: dict, terms: tuple[int, int], drops: bool) -> None:
    ratio = D(terms[0]) / D(terms[1])
    net = sum(held.values(), D(0))
    fraction = times(net, ratio) % 1 if drops else D(0)  # of the sign of what is held
    done = split(ratio, fraction_qty=fraction)
    parts = shared_out(held, done)
    assert sum((part.quantity - part.given for part in parts.values()), D(0)) == (net_after(net, done) if held else 0)
    for name, part in parts.items():
        assert abs(part.quantity - held[name] * ratio) < D("0.00000001")
        assert part.given * fraction >= 0
        assert abs(part.given) <= abs(fraction)


def test_an_open_order_goes_with_the_split() -> None:
    of = intent(order_type=OrderType.STOP_LIMIT, limit_px=D("99.99"), stop_px=D("100.01"), trail_px=D("1.01"))
    after = restated(of, split("4"), D(3))
    changed = {name for name in of.__struct_fields__ if getattr(of, name) != getattr(after, name)}
    assert changed == {"quantity", "ref_px", "limit_px", "stop_px", "trail_px"}
    assert (after.quantity, after.limit_px, after.stop_px, after.trail_px) == (31, D("24.99"), D("25.01"), D("0.2525"))
    sale = restated(msgspec.structs.replace(of, side=Side.SELL), split("4"))
    assert (sale.quantity, sale.limit_px, sale.stop_px) == (40, D(25), D(25))
    assert restated(of, split("1", new_symbol="APPL")) == msgspec.structs.replace(of, symbol="APPL")


@pytest.mark.parametrize(
    ("ratio", "order_class", "does"),
    [
        ("4", "simple", True),
        ("1.5", "simple", True),
        ("0.1", "simple", False),
        ("4", "bracket", False),
        ("1", "oco", True),
    ],
)
def test_which_orders_go_along(ratio: str, order_class: str, does: bool) -> None:
    assert goes_along(intent(order_class=OrderClass(order_class)), D(ratio)) is does


@pytest.mark.parametrize(
    ("quantity", "ratio", "after"), [("10", "4", "40"), ("15", "0.1", "1"), ("5", "0.1", "0.5"), ("1.5", "0.1", "0.15")]
)
def test_an_order_keeps_whole_shares_while_one_is_left(quantity: str, ratio: str, after: str) -> None:
    assert order_quantity(D(quantity), D(ratio)) == D(after)


def test_a_bar_from_before_is_in_new_shares() -> None:
    old = bar(100.0, vwap=101.0)
    assert adjusted(old, D(4), "NEW") == msgspec.structs.replace(
        old, symbol="NEW", open=25.0, high=25.0, low=25.0, close=25.0, volume=400.0, vwap=25.25
    )
    assert divided(D(100), THIRD) == 300
