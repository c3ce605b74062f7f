"""Each rule just below, at and just above its limit, and which of them let a reducing order pass."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bots import RiskLimits
from engine.messages import Sessions
from engine.ordering import Terms
from engine.risk.rules import (
    RULES,
    Proposal,
    buying_power,
    duplicate,
    judge,
    order_notional,
    position_fraction,
    price_sanity,
    reservation,
    session,
    stale_bar,
)
from engine.sessions import SessionTable
from engine.values import NS_PER_MINUTE, NS_PER_MS, AssetClass, OrderType, TimeInForce, TradingMode
from tests.engine.build import D, bot, minute, signal

NOW = minute(2)


def _sessions(first: int = 0, last: int = 1 << 62) -> SessionTable:
    table = SessionTable()
    table.add(Sessions(AssetClass.US_EQUITY, ((first, last),), 0))
    return table


def _proposal(**more: object) -> Proposal:
    fields: dict[str, object] = {
        "bot": bot(),
        "signal": signal(number=2),
        "quantity": D(10),
        "price": D(100),
        "held": D(0),
        "working": D(0),
        "cash_free": D(100_000),
        "repeated": "",
        "now_ns": NOW,
        "sessions": _sessions(),
        "limits": RiskLimits(),
    }
    return Proposal(**(fields | more))  # type: ignore[arg-type]


REDUCING = {"held": D(50), "quantity": D(-10)}


def test_a_plain_order_passes_every_rule() -> None:
    assert judge(_proposal()) is None
    assert judge(_proposal(**REDUCING)) is None
    assert {rule.__name__ for rule, on_reducing in RULES if on_reducing} == {
        "number_sanity", "trading_mode", "price_sanity", "session", "duplicate",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "more", "passes"),
    [
        (TradingMode.ACTIVE, {}, True),
        (TradingMode.ACTIVE, REDUCING, True),
        (TradingMode.REDUCING, {}, False),
        (TradingMode.REDUCING, REDUCING, True),
        (TradingMode.REDUCING, {"held": D(50), "quantity": D(-50)}, True),
        (TradingMode.REDUCING, {"held": D(50), "quantity": D(-51)}, False),
        (TradingMode.REDUCING, {"held": D(50), "working": D(-50), "quantity": D(-1)}, False),
        (TradingMode.HALTED, {}, False),
        (TradingMode.HALTED, REDUCING, False),
    ],
)
def test_trading_mode(mode: TradingMode, more: dict[str, object], passes: bool) -> None:
    refusal = judge(_proposal(mode=mode, mode_reason="odd fills", **more))
    assert (refusal is None) is passes
    if refusal:
        assert (refusal.rule, refusal.limit, refusal.observed) == ("trading_mode", "active", mode.value)
        assert "odd fills" in refusal.reason


@pytest.mark.parametrize(("price", "passes"), [("0.0001", True), ("0", False), ("-1", False)])
def test_price(price: str, passes: bool) -> None:
    refusal = price_sanity(_proposal(price=D(price)))
    assert (refusal is None) is passes
    if refusal:
        assert (refusal.rule, refusal.limit, refusal.observed) == ("price_sanity", "0", price)


@pytest.mark.parametrize(
    ("opens", "closes", "passes"),
    [(NOW, NOW + 1, True), (NOW - 1, NOW, False), (NOW + 1, NOW + 2, False), (NOW - 1, NOW + 1, True)],
)
def test_session(opens: int, closes: int, passes: bool) -> None:
    refusal = session(_proposal(sessions=_sessions(opens, closes)))
    assert (refusal is None) is passes
    if refusal:
        assert (refusal.rule, refusal.limit, refusal.observed) == ("session", "open", str(NOW))


def test_session_of_bots_and_markets_without_hours() -> None:
    closed = _sessions(0, 1)
    assert session(_proposal(sessions=closed)) is not None
    assert session(_proposal(sessions=closed, bot=bot(session="any"))) is not None  # it would wait for the opening
    late = Terms(OrderType.LIMIT, TimeInForce.DAY, D(100), extended_hours=True)
    assert session(_proposal(sessions=closed, bot=bot(session="any"), terms=late)) is None
    assert session(_proposal(sessions=closed, terms=late)) is not None
    assert session(_proposal(sessions=closed, signal=signal(symbol="BTC/USD"))) is None
    assert session(_proposal(sessions=SessionTable())) is not None


_AUCTIONS = SessionTable()
_AUCTIONS.add(
    Sessions(AssetClass.US_EQUITY, ((0, 390 * NS_PER_MINUTE), (1440 * NS_PER_MINUTE, 1830 * NS_PER_MINUTE)), 0)
)


@pytest.mark.parametrize(
    ("life", "minutes", "passes"),
    [
        (TimeInForce.OPG, 100, False),  # the market is open
        (TimeInForce.OPG, 749.99, False),
        (TimeInForce.OPG, 750, True),  # six hours after the close
        (TimeInForce.OPG, 1437.99, True),
        (TimeInForce.OPG, 1438, False),  # two minutes before the opening
        (TimeInForce.OPG, 3000, False),  # no opening to come is known
        (TimeInForce.CLS, 379.99, True),
        (TimeInForce.CLS, 380, False),  # ten minutes before the close
        (TimeInForce.CLS, 400, False),
        (TimeInForce.CLS, 750, True),
        (TimeInForce.CLS, 1500, True),
        (TimeInForce.CLS, 3000, False),
    ],
)
def test_orders_of_auctions_have_cut_offs(life: TimeInForce, minutes: float, passes: bool) -> None:
    terms = Terms(OrderType.MARKET, life)
    proposal = _proposal(sessions=_AUCTIONS, now_ns=int(minutes * NS_PER_MINUTE), bot=bot(session="any"), terms=terms)
    assert (session(proposal) is None) is passes


@pytest.mark.parametrize(
    ("age_ns", "passes", "observed"),
    [
        (0, True, ""),
        (120_000 * NS_PER_MS, True, ""),
        (120_001 * NS_PER_MS, False, "120001"),
        (-1, False, "-1"),  # a bar from the future: one of the clocks is wrong
    ],
)
def test_stale_bar(age_ns: int, passes: bool, observed: str) -> None:
    refusal = stale_bar(_proposal(now_ns=minute(2) + age_ns))
    assert (refusal is None) is passes
    if refusal:
        assert (refusal.rule, refusal.limit, refusal.observed) == ("bar_age_ms_max", "120000", observed)


def test_duplicate() -> None:
    assert duplicate(_proposal()) is None
    refusal = duplicate(_proposal(repeated="another"))
    assert refusal is not None
    assert (refusal.rule, refusal.limit, refusal.observed) == ("duplicate", "another", "signal-alpha-AAPL-2")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("quantity", "passes"), [("499.99", True), ("500", True), ("500.01", False)])
def test_order_notional(sign: int, quantity: str, passes: bool) -> None:
    refusal = order_notional(_proposal(quantity=sign * D(quantity)))
    assert (refusal is None) is passes
    if refusal:
        assert (refusal.rule, refusal.limit, refusal.observed) == ("order_notional_usd_max", "50000", "50001")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("held", "working", "quantity", "passes"),
    [
        ("0", "0", "249.99", True),
        ("0", "0", "250", True),
        ("0", "0", "250.01", False),
        ("150", "50", "50", True),
        ("150", "50", "50.01", False),
        ("150", "-50", "150", True),
        ("150", "-50", "150.01", False),
    ],
)
def test_position_counts_what_is_working(sign: int, held: str, working: str, quantity: str, passes: bool) -> None:
    """A quarter of 100,000 USD at 100 is 250."""
    refusal = position_fraction(_proposal(held=sign * D(held), working=sign * D(working), quantity=sign * D(quantity)))
    assert (refusal is None) is passes
    if refusal:
        assert (refusal.rule, refusal.limit, refusal.observed) == ("position_fraction_max", "25000", "25001")


@pytest.mark.parametrize(
    ("cash", "quantity", "passes"),
    [
        ("1020.01", "10", True),
        ("1020", "10", True),
        ("1019.99", "10", False),
        ("1019.99", "-10", False),
        ("-1", "1", False),
    ],
)
def test_buying_power_has_a_buffer_and_shorts_need_it_too(cash: str, quantity: str, passes: bool) -> None:
    refusal = buying_power(_proposal(cash_free=D(cash), quantity=D(quantity)))
    assert (refusal is None) is passes
    if refusal:
        assert (refusal.rule, refusal.limit) == ("buying_power", cash)
        assert D(refusal.observed) == abs(D(quantity)) * 102


@pytest.mark.parametrize(
    ("held", "working", "quantity", "reduces"),
    [
        ("10", "0", "-10", True),
        ("10", "0", "-9", True),
        ("-10", "0", "10", True),
        ("10", "-4", "-6", True),
        ("0", "10", "-3", True),
        ("0", "0", "-1", False),
        ("10", "0", "1", False),
        ("10", "0", "-11", False),  # through zero is no reduction
        ("10", "-10", "-1", False),
        ("-10", "0", "21", False),
    ],
)
def test_what_reduces(held: str, working: str, quantity: str, reduces: bool) -> None:
    proposal = _proposal(held=D(held), working=D(working), quantity=D(quantity))
    assert proposal.reduces is reduces
    assert (reservation(proposal) == 0) is reduces


@pytest.mark.parametrize(
    ("breach", "rule", "also_reducing"),
    [
        ({"price": D(0)}, "price_sanity", True),
        ({"sessions": SessionTable()}, "session", True),
        ({"repeated": "another"}, "duplicate", True),
        ({"now_ns": NOW + 121_000 * NS_PER_MS}, "bar_age_ms_max", False),
        ({"limits": RiskLimits(order_notional_usd_max=D(1))}, "order_notional_usd_max", False),
        ({"limits": RiskLimits(position_fraction_max=0.001)}, "position_fraction_max", False),
        ({"cash_free": D(-10_000)}, "buying_power", False),
    ],
)
def test_which_rules_stop_an_order_that_reduces(breach: dict[str, object], rule: str, also_reducing: bool) -> None:
    refusal = judge(_proposal(**breach))
    assert refusal is not None
    assert refusal.rule == rule
    reducing = judge(_proposal(**(REDUCING | breach)))
    assert (reducing is not None) is also_reducing


def test_the_first_rule_in_order_is_the_one_named() -> None:
    everything = _proposal(
        price=D(-1), sessions=SessionTable(), repeated="x", now_ns=0, cash_free=D(-1), quantity=D(10**9)
    )
    named: list[str] = []
    mended = everything
    for mend in (
        {"price": D(100)}, {"sessions": _sessions()}, {"repeated": ""}, {"now_ns": NOW}, {"quantity": D(300)},
        {"quantity": D(200)}, {"cash_free": D(10**6)},
    ):  # fmt: skip
        refusal = judge(mended)
        assert refusal is not None
        named.append(refusal.rule)
        mended = msgspec.structs.replace(mended, **mend)
    assert judge(mended) is None
    assert named == [
        "price_sanity", "session", "duplicate", "bar_age_ms_max", "order_notional_usd_max", "position_fraction_max",
        "buying_power",
    ]  # fmt: skip


@given(
    st.decimals(min_value=1, max_value=10**6, places=4),
    st.decimals(min_value="0.000000001", max_value=10**5, places=9),
    st.floats(0, 0.5),
)
def test_a_reservation_covers_the_order_and_its_buffer(price: Decimal, quantity: Decimal, buffer: float) -> None:
    held = reservation(_proposal(price=price, quantity=quantity, limits=RiskLimits(price_buffer_fraction=buffer)))
    assert held >= (price * quantity).quantize(D("0.000000001"))
    assert abs(held - price * quantity * (1 + D(repr(buffer)))) <= D("0.0000000005")
