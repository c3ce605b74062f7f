"""What comes of holding a symbol belongs to those that hold it; what comes of trading to who traded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bots import RiskLimits
from engine.messages import Account, Fee, Fill, Position
from engine.portfolio import Holding, Portfolio
from engine.risk import RiskCore
from engine.values import Side
from tests.engine.build import T0, D, always_open, bot, opened


def dividend(cash: str | Decimal, kind: str = "DIV", quantity: str = "0", id: str = "d1") -> Fee:
    return Fee(id, kind, "beta", "AAPL", D(cash), D(quantity), T0 + 5)


def core(**held: int) -> RiskCore:
    made = RiskCore([bot(), bot(name="beta")], RiskLimits(opposite_sides=True))
    for body in (opened(), always_open()):
        made.apply(body)
    for name, quantity in held.items():
        side = Side.BUY if quantity > 0 else Side.SELL
        made.apply(Fill(f"v-{name}", D(abs(quantity)), f"c-{name}", name, "AAPL", side, D(abs(quantity)), D(100), T0))
    return made


def said(of: RiskCore, fee: Fee) -> dict[str, Decimal]:
    bodies = of.apply(fee)
    assert len([body for body in bodies if isinstance(body, Account)]) == 1
    return {body.bot: body.realized_pnl for body in bodies if isinstance(body, Position)}


def test_a_dividend_is_shared_by_what_each_holds() -> None:
    held = core(alpha=30, beta=10, manual=60)
    assert said(held, dividend("10")) == {"alpha": D(3), "beta": D(1), "manual": D(6)}
    assert held.apply(dividend("10")) == [], "once"


def test_who_is_short_pays_what_the_others_get() -> None:
    assert said(core(alpha=30, beta=-10), dividend("2")) == {"alpha": D(3), "beta": D(-1)}


@pytest.mark.parametrize(
    ("fee", "held"),
    [
        (dividend("-0.02", "CFEE"), {"alpha": 30}),
        (dividend("-0.02", "FEE"), {"alpha": 30}),
        (dividend("5", "CSD"), {"alpha": 30}),
        (dividend("0", "DIV", "3"), {"alpha": 30}),
        (dividend("5"), {}),
        (dividend("5"), {"alpha": 30, "manual": -30}),
    ],
)
def test_everything_else_is_of_who_traded_last(fee: Fee, held: dict[str, int]) -> None:
    assert list(said(core(**held), fee)) == ["beta"]


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(-500, 500).map(D), min_size=1),
    st.decimals(min_value=-1_000, max_value=1_000, places=2),
)
def test_no_cent_is_lost(held: dict[str, Decimal], cash: Decimal) -> None:
    book = Portfolio(holdings={f"{name}|AAPL": Holding(quantity) for name, quantity in held.items()})
    parts = book.parts_of(dividend(cash))
    assert sum((part.cash for part in parts), D(0)) == cash
    assert {part.id for part in parts} == {"d1"}
    assert len({part.bot for part in parts}) == len(parts)
