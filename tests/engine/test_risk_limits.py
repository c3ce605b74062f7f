"""Every limit just below, at and just above, with input that is missing, for orders that reduce, and switched off."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from engine.bots import RiskLimits
from engine.messages import Sessions
from engine.risk.exposure import Sums
from engine.risk.rules import RULES, Activity, Proposal, judge
from engine.sessions import SessionTable
from engine.values import AssetClass
from tests.engine.build import D, bot, minute, signal

NOW = minute(2)
OFF = RiskLimits(
    order_notional_usd_max=D(10**9), position_fraction_max=1, bot_exposure_fraction_max=None, open_orders_max=None,
    orders_per_min_max=None, bot_orders_per_min_max=None, bot_orders_per_day_max=None, repeats_max=None,
    bot_daily_loss_fraction_max=None, bot_drawdown_fraction_max=None, price_move_fraction_max=None, opposite_sides=True,
    shortable_known=False,
)  # fmt: skip
"""Every rule that can be switched off is."""


def _proposal(limits: dict[str, object], **more: object) -> Proposal:
    """10 shares at 100 USD by a bot with 100,000 USD that holds nothing."""
    table = SessionTable()
    table.add(Sessions(AssetClass.US_EQUITY, ((0, 1 << 62),), 0))
    fields: dict[str, object] = {
        "bot": bot(),
        "signal": signal(number=2),
        "quantity": D(10),
        "price": D(100),
        "held": D(0),
        "working": D(0),
        "cash_free": D(10**9),
        "repeated": "",
        "now_ns": NOW,
        "sessions": table,
        "limits": msgspec.structs.replace(OFF, **limits),
    }
    return Proposal(**(fields | more))  # type: ignore[arg-type]


def _sums(**more: object) -> Sums:
    return Sums(**more)  # type: ignore[arg-type]


# setting, its value, then what is observed: just below, at, just above the limit, and the observation of the last
CASES: tuple[tuple[str, object, dict[str, object], dict[str, object], dict[str, object], str], ...] = (
    ("order_notional_usd_max", D(1000), {"price": D("99.99")}, {}, {"price": D("100.01")}, "1000.1"),
    ("order_quantity_max", D(10), {"quantity": D("9.99")}, {}, {"quantity": D("10.01")}, "10.01"),
    ("order_quantity_max", D(10), {"quantity": D(-9)}, {"quantity": D(-10)}, {"quantity": D(-11)}, "11"),
    ("position_fraction_max", 0.01, {"quantity": D("9.99")}, {}, {"quantity": D("10.01")}, "1001"),
    ("symbol_exposure_usd_max", D(5000), {"symbol_gross": D("3999.99")}, {"symbol_gross": D(4000)},
     {"symbol_gross": D("4000.01")}, "5000.01"),
    ("bot_exposure_fraction_max", 0.05, {"of_bot": _sums(gross=D("3999.99"))}, {"of_bot": _sums(gross=D(4000))},
     {"of_bot": _sums(gross=D("4000.01"))}, "5000.01"),
    ("gross_exposure_usd_max", D(5000), {"account": _sums(gross=D("3999.99"))}, {"account": _sums(gross=D(4000))},
     {"account": _sums(gross=D("4000.01"))}, "5000.01"),
    ("net_exposure_usd_max", D(5000), {"account": _sums(net=D("3999.99"))}, {"account": _sums(net=D(4000))},
     {"account": _sums(net=D("4000.01"))}, "5000.01"),
    ("net_exposure_usd_max", D(5000), {"account": _sums(net=D("-5999.99"))}, {"account": _sums(net=D(-6000))},
     {"account": _sums(net=D("-6000.01"))}, "5000.01"),
    ("positions_max", 3, {"account": _sums(open_symbols=1)}, {"account": _sums(open_symbols=2)},
     {"account": _sums(open_symbols=3)}, "4"),
    ("open_orders_max", 3, {"activity": Activity(open_orders=1)}, {"activity": Activity(open_orders=2)},
     {"activity": Activity(open_orders=3)}, "4"),
    ("orders_per_min_max", 3, {"activity": Activity(account_minute=1)}, {"activity": Activity(account_minute=2)},
     {"activity": Activity(account_minute=3)}, "4"),
    ("bot_orders_per_min_max", 3, {"activity": Activity(bot_minute=1)}, {"activity": Activity(bot_minute=2)},
     {"activity": Activity(bot_minute=3)}, "4"),
    ("bot_orders_per_day_max", 3, {"activity": Activity(bot_day=1)}, {"activity": Activity(bot_day=2)},
     {"activity": Activity(bot_day=3)}, "4"),
    ("repeats_max", 3, {"activity": Activity(same_side=1)}, {"activity": Activity(same_side=2)},
     {"activity": Activity(same_side=3)}, "4"),
    ("daily_loss_usd_max", D(500), {"activity": Activity(account_loss=D("499.99"))},
     {"activity": Activity(account_loss=D(500))}, {"activity": Activity(account_loss=D("500.01"))}, "500.01"),
    ("bot_daily_loss_fraction_max", 0.005, {"activity": Activity(bot_loss=D("499.99"))},
     {"activity": Activity(bot_loss=D(500))}, {"activity": Activity(bot_loss=D("500.01"))}, "500.01"),
    ("drawdown_usd_max", D(500), {"activity": Activity(account_drawdown=D("499.99"))},
     {"activity": Activity(account_drawdown=D(500))}, {"activity": Activity(account_drawdown=D("500.01"))}, "500.01"),
    ("bot_drawdown_fraction_max", 0.005, {"activity": Activity(bot_drawdown=D("499.99"))},
     {"activity": Activity(bot_drawdown=D(500))}, {"activity": Activity(bot_drawdown=D("500.01"))}, "500.01"),
    ("price_move_fraction_max", 0.25, {"last_price": D("80.01")}, {"last_price": D(80)}, {"last_price": D("79.99")},
     "0.25015626953369171146393299162395299412426553319164895611951493936742"),
)  # fmt: skip
REDUCING = {"held": D(50), "quantity": D(-10)}


@pytest.mark.parametrize(("rule", "limit", "below", "at", "above", "observed"), CASES)
def test_limits(
    rule: str,
    limit: object,
    below: dict[str, object],
    at: dict[str, object],
    above: dict[str, object],
    observed: str,
) -> None:
    assert judge(_proposal({rule: limit}, **below)) is None
    assert judge(_proposal({rule: limit}, **at)) is None
    refusal = judge(_proposal({rule: limit}, **above))
    assert refusal is not None
    assert refusal.rule == rule
    assert refusal.observed.startswith(observed[:20])
    assert judge(_proposal({}, **above)) is None, "switched off"
    assert judge(_proposal({rule: limit}, **(above | REDUCING))) is None, "an exit passes"


@pytest.mark.parametrize(
    ("rule", "limit", "unknown"),
    [
        ("bot_exposure_fraction_max", 0.5, "of_bot"),
        ("bot_daily_loss_fraction_max", 0.5, "of_bot"),
        ("bot_drawdown_fraction_max", 0.5, "of_bot"),
        ("gross_exposure_usd_max", D(10**6), "account"),
        ("net_exposure_usd_max", D(10**6), "account"),
        ("daily_loss_usd_max", D(10**6), "account"),
        ("drawdown_usd_max", D(10**6), "account"),
    ],
)
def test_a_holding_without_a_price_trips_what_needs_it(rule: str, limit: object, unknown: str) -> None:
    sums = _sums(unknown={"unattributed|XYZ": None})
    refusal = judge(_proposal({rule: limit}, **{unknown: sums}))
    assert refusal is not None
    assert (refusal.rule, refusal.observed) == (rule, "unknown")
    assert judge(_proposal({}, **{unknown: sums})) is None
    assert judge(_proposal({rule: limit}, **{unknown: sums}, **REDUCING)) is None


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
    refusal = judge(_proposal(limits))
    assert (refusal is None) is passes
    if refusal:
        assert refusal.rule == next(iter(limits))
        assert refusal.observed == "AAPL"
    assert judge(_proposal(limits, **REDUCING)) is None, "what is held may be sold"


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
    refusal = judge(_proposal({"opposite_sides": False}, **more))
    assert (refusal is None) is passes
    if refusal:
        assert refusal.rule == "opposite_sides"
    assert judge(_proposal({"opposite_sides": True}, **more)) is None


@pytest.mark.parametrize("value", ["NaN", "Infinity", "0", "-1"])
@pytest.mark.parametrize(
    "name", [field.name for field in msgspec.structs.fields(RiskLimits) if field.name.endswith("_usd_max")]
)
def test_a_limit_that_compares_with_nothing_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        RiskLimits(**{name: D(value)})


def test_every_rule_has_its_row_in_the_table_of_controls() -> None:
    table = (Path(__file__).parents[2] / "docs" / "risk-controls.md").read_text(encoding="utf-8")
    for rule, _ in RULES:
        assert f"`{rule.__name__}`" in table, rule.__name__
    for field in msgspec.structs.fields(RiskLimits):
        assert f"`limits.{field.name}`" in table, field.name
