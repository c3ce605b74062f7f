"""Lists of symbols, bots on two sides, and limits that are none; every rule at its limit: test_rules_table."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine.bots import RiskLimits
from engine.risk.rules import judge
from tests.engine.build import D
from tests.engine.judged import proposal

REDUCING = {"held": D(50), "quantity": D(-10)}


@pytest.mark.parametrize(
    ("limits", "passes"),
    [
        ({}, True),
        ({"allowed_symbols": ("AAPL", "MSFT")}, True),
        ({"allowed_symbols": ("MSFT",)}, False),
        ({"restricted_symbols": ("MSFT",)}, True),
        ({"restricted_symbols": ("AAPL",)}, False),
    ],
)
def test_lists_of_symbols(limits: dict[str, object], passes: bool) -> None:
    refusal = judge(proposal(limits))
    assert (refusal is None) is passes
    if refusal:
        assert refusal.rule == next(iter(limits))
        assert refusal.observed == "AAPL"
    assert judge(proposal(limits, **REDUCING)) is None, "what is held may be sold"


@pytest.mark.parametrize(
    ("others", "quantity", "held", "passes"),
    [
        ((), 10, 0, True),
        ((D(0), D(5)), 10, 0, True),
        ((D(-1),), 10, 0, False),
        ((D(5), D(-1)), 10, 0, False),
        ((D(1),), -10, 0, False),
        ((D(-1),), -10, 0, True),
        ((D(-1),), -10, 50, True),  # an exit
    ],
)
def test_opposite_sides(others: tuple[Decimal, ...], quantity: int, held: int, passes: bool) -> None:
    more = {"others": others, "quantity": D(quantity), "held": D(held)}
    refusal = judge(proposal({"opposite_sides": False}, **more))
    assert (refusal is None) is passes
    if refusal:
        assert refusal.rule == "opposite_sides"
    assert judge(proposal({"opposite_sides": True}, **more)) is None


@pytest.mark.parametrize("value", ["NaN", "Infinity", "0", "-1"])
@pytest.mark.parametrize(
    "name", [field.name for field in msgspec.structs.fields(RiskLimits) if field.name.endswith("_usd_max")]
)
def test_a_limit_that_compares_with_nothing_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        RiskLimits(**{name: D(value)})
