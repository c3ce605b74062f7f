"""Splits and changes of name from pairs of activities, in whatever order and however far apart they come."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.conversions import ALONE_NS_MAX, conversions
from engine.ports import VenueActivity, VenueSplit

D = Decimal
T0 = 10**18
MINUTE = 60 * 10**9


def _row(name: str, symbol: str, quantity: str, said: str = "", **more: object) -> VenueActivity:
    fields: dict[str, object] = {"kind": "SPLIT", "cash": D(0), "ts_event": T0, "description": said}
    return VenueActivity(id=name, symbol=symbol, quantity=D(quantity), **(fields | more))  # type: ignore[arg-type]


# As in Alpaca's samples (legacy activities, 2024-12).
WORDS = "From QTY:-0.29194239, To QTY:0.029194239, Position Value:1.5"
REMOVE = _row("a1", "FTCI", "-0.29194239", f"REMOVE, {WORDS}", sub_kind="RSPLIT")
ADD = _row("a2", "FTCI", "0.029194239", f"ADD, {WORDS}", sub_kind="RSPLIT", ts_event=T0 + 3 * MINUTE)
REVERSE = VenueSplit(
    "a1", "FTCI", "FTCI", D("0.1"), T0 + 3 * MINUTE, D("0.29194239"), D("0.029194239"), ("a1", "a2")
)  # fmt: skip
RENAMED = "Name Change from OLD to NEW"
OLD = _row("n2", "OLD", "-10", RENAMED, kind="NC", sub_kind="SNC")
NEW = _row("n1", "NEW", "10", RENAMED, kind="NC", sub_kind="SNC")
NAME = VenueSplit("n1", "OLD", "NEW", D(1), T0, D(10), D(10), ("n1", "n2"))
FEE = _row("f1", "BTC/USD", "-0.1", kind="CFEE")


@given(st.permutations([REMOVE, ADD, OLD, NEW, FEE]))
def test_pairs_are_found_in_any_order(rows: list[VenueActivity]) -> None:
    found = conversions(rows, T0 + MINUTE)
    assert found.splits == (NAME, REVERSE)
    assert (found.others, found.waiting, found.alone) == ((FEE,), (), ())


def test_forward_split() -> None:
    said = "From QTY:10, To QTY:30, Position Value:1000.00"
    rows = [_row("b", "AAA", "30", f"ADD, {said}"), _row("a", "AAA", "-10", f"REMOVE, {said}")]
    (split,) = conversions(rows, T0).splits
    assert (split.ratio, split.removed, split.added) == (D(3), D(10), D(30))


def test_short_position_is_removed_by_a_positive_row() -> None:
    rows = [_row("a", "AAA", "25", "REMOVE, From QTY:-25"), _row("b", "AAA", "-2.5", "ADD, From QTY:-25")]
    (split,) = conversions(rows, T0).splits
    assert (split.ratio, split.removed, split.added) == (D("0.1"), D(-25), D("-2.5"))


def test_short_position_with_a_new_name() -> None:
    rows = [_row("a", "OLD", "25", RENAMED, kind="NC"), _row("b", "NEW", "-25", RENAMED, kind="NC")]
    (split,) = conversions(rows, T0).splits
    assert (split.symbol, split.new_symbol, split.ratio, split.added) == ("OLD", "NEW", D(1), D(-25))


def test_group_of_the_venue_counts_before_anything_else() -> None:
    rows = [
        _row("a", "AAA", "-10", group="g1"),
        _row("b", "AAA", "20", group="g2"),
        _row("c", "AAA", "40", group="g1"),
        _row("d", "AAA", "-5", group="g2"),
    ]
    found = conversions(rows, T0)
    assert [(split.id, split.ratio) for split in found.splits] == [("a", D(4)), ("b", D(4))]


@pytest.mark.parametrize(
    "other",
    [
        _row("x", "BBB", "3", f"ADD, {WORDS}", sub_kind="RSPLIT"),
        _row("x", "FTCI", "-0.03", f"ADD, {WORDS}", sub_kind="RSPLIT"),
        _row("x", "FTCI", "0.03", f"ADD, {WORDS}", sub_kind="FSPLIT"),
        _row("x", "FTCI", "0.03", f"ADD, {WORDS}", sub_kind="RSPLIT", kind="NC"),
        _row("x", "FTCI", "0.03", "ADD, From QTY:-7, To QTY:0.7", sub_kind="RSPLIT"),
        _row("x", "FTCI", "0.03", f"ADD, {WORDS}", sub_kind="RSPLIT", group="g"),
        _row("x", "FTCI", "0.03", f"ADD, {WORDS}", sub_kind="RSPLIT", ts_event=T0 + 2 * ALONE_NS_MAX),
    ],
)
def test_what_is_no_pair(other: VenueActivity) -> None:
    found = conversions([REMOVE, other], T0)
    assert found.splits == ()
    assert found.waiting == (REMOVE, other)


def test_row_without_its_partner_waits_and_is_booked_alone_in_the_end() -> None:
    early = conversions([REMOVE, FEE], T0 + ALONE_NS_MAX)
    assert (early.others, early.waiting, early.alone) == ((FEE,), (REMOVE,), ())
    late = conversions([REMOVE, FEE], T0 + ALONE_NS_MAX + 1)
    assert (late.others, late.waiting, late.alone) == ((REMOVE, FEE), (), ("a1",))


def test_unit_split_and_a_row_that_moves_nothing_are_booked_as_they_are() -> None:
    unit = [
        _row("u1", "UNIT", "-8", sub_kind="USPLIT"),
        _row("u2", "SHARE", "8", sub_kind="USPLIT"),
        _row("u3", "WARRANT", "2", sub_kind="USPLIT"),
    ]
    nothing = _row("z", "AAA", "0")
    assert conversions([*unit, nothing], T0).others == (*unit, nothing)


_rows = st.builds(
    _row,
    st.uuids().map(str),
    st.sampled_from(["AAA", "BBB"]),
    st.sampled_from(["-10", "10", "40", "-2.5", "0"]),
    st.sampled_from(["", "REMOVE, x", "ADD, x", "Name Change from AAA to BBB"]),
    kind=st.sampled_from(["SPLIT", "NC", "CFEE"]),
    group=st.sampled_from(["", "", "g"]),
    ts_event=st.integers(0, 3).map(lambda days: T0 + days * ALONE_NS_MAX),
)


@given(st.lists(_rows, max_size=8, unique_by=lambda row: row.id), st.integers(0, 4), st.randoms())
def test_nothing_is_lost_or_counted_twice(rows: list[VenueActivity], days: int, shuffle: object) -> None:
    now = T0 + days * ALONE_NS_MAX
    found = conversions(rows, now)
    named = [name for split in found.splits for name in split.activities]
    left = [row.id for row in (*found.others, *found.waiting)]
    assert sorted(named + left) == sorted(row.id for row in rows)
    moved = sum(((split.added or D(0)) - (split.removed or D(0)) for split in found.splits), D(0))
    moved += sum((row.quantity for row in (*found.others, *found.waiting)), D(0))
    assert moved == sum((row.quantity for row in rows), D(0))
    assert all(split.ratio > 0 for split in found.splits)
    mixed = list(rows)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    again = conversions(mixed, now)
    assert (again.splits, set(again.alone)) == (found.splits, set(found.alone))
