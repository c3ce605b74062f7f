"""Exits of one bot while others hold the other side: at the venue both are one position."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine.bots import Bot, RiskLimits
from engine.execution import ExecutionCore
from engine.messages import (
    AnyBody,
    Correction,
    Fill,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    RiskDenied,
    SymbolStatus,
)
from engine.risk import RiskCore, RiskState
from engine.values import NS_PER_S, Direction, Side
from tests.engine.build import T0, D, always_open, bot, fill, intent, lent, minute, opened, signal

BOTH_SIDES = RiskLimits(opposite_sides=True)


def hold(core: RiskCore, **held: int) -> None:
    """Let bots hold signed quantities of AAPL, as fills made them."""
    for name, quantity in held.items():
        side = Side.BUY if quantity > 0 else Side.SELL
        core.apply(Fill(f"v-{name}", D(abs(quantity)), f"c-{name}", name, "AAPL", side, D(abs(quantity)), D(100), T0))


def desk(limits: RiskLimits, cash: str = "100000", status: SymbolStatus | None = None, **held: int) -> RiskCore:
    bots: list[Bot] = [bot(), bot(name="beta")]
    core = RiskCore(bots, limits)
    for body in (opened(cash), always_open(), *([status] if status else lent("AAPL"))):
        core.apply(body)
    hold(core, **held)
    return core


def flat(core: RiskCore) -> OrderIntent | RiskDenied:
    core.apply(signal(Direction.FLAT, number=2))
    [answer] = core.decide_waiting(minute(2))
    assert isinstance(answer, OrderIntent | RiskDenied)
    return answer


def end(core: RiskCore, of: OrderIntent) -> None:
    core.apply(fill(of, of.quantity, of.quantity, ts_event=minute(2)))
    core.apply(OrderFilled(of.id, of.bot, of.symbol, "v", of.quantity, D(100), minute(2)))


def test_an_exit_closes_at_most_what_the_account_holds_and_the_rest_follows() -> None:
    core = desk(BOTH_SIDES, alpha=100, beta=-60)
    first = flat(core)
    assert isinstance(first, OrderIntent)
    assert (first.side, first.quantity, first.reserved) == (Side.SELL, 40, 0)
    end(core, first)
    [rest] = core.decide_waiting(minute(2) + 2 * NS_PER_S)
    assert isinstance(rest, OrderIntent)
    assert (rest.side, rest.quantity, rest.signal_id) == (Side.SELL, 60, first.signal_id)
    end(core, rest)
    assert core.state.portfolio.net() == {"AAPL": D(-60)}


@pytest.mark.parametrize(
    ("limits", "cash", "status", "rule"),
    [
        (BOTH_SIDES, "100000", SymbolStatus("AAPL", "assets", "active", T0, is_shortable=False), "shortable"),
        (
            RiskLimits(opposite_sides=True, restricted_symbols=("AAPL",)),
            "100000",
            None,
            "restricted_symbols",
        ),
        (RiskLimits(opposite_sides=True, short_equity_usd_min=None), "100", None, "buying_power"),
    ],
)
def test_an_exit_that_opens_a_short_at_the_venue_passes_the_rules_of_shorts(
    limits: RiskLimits, cash: str, status: SymbolStatus | None, rule: str
) -> None:
    denied = flat(desk(limits, cash, status, alpha=100, beta=-100))
    assert isinstance(denied, RiskDenied)
    assert denied.rule == rule


def test_the_same_exit_without_another_side_passes_them_all() -> None:
    status = SymbolStatus("AAPL", "assets", "active", T0, is_shortable=False)
    limits = RiskLimits(opposite_sides=True, restricted_symbols=("AAPL",))
    for other in (0, 50):
        core = desk(limits, "100", status, alpha=100, **({"beta": other} if other else {}))
        assert isinstance(flat(core), OrderIntent)


def correction(quantity: Decimal) -> Correction:
    return Correction("k", "unattributed", "AAPL", quantity, D(0), D(0), D(0), "positions", "nothing explains it", T0)


def test_what_the_account_lacks_of_a_bots_position_is_not_sold_until_it_is_there() -> None:
    core = desk(RiskLimits(), alpha=100)
    core.apply(correction(D(-3)))
    exit_ = flat(core)
    assert isinstance(exit_, OrderIntent)
    assert exit_.quantity == 97
    end(core, exit_)
    assert core.decide_waiting(minute(9)) == []
    assert not core.has_work
    core.apply(msgspec.structs.replace(correction(D(3)), id="back"))
    [rest] = core.decide_waiting(minute(10))
    assert isinstance(rest, OrderIntent)
    assert rest.quantity == 3


def test_an_exit_that_executor_refuses_ends_once() -> None:
    of = intent(side=Side.SELL, reserved=D(0))
    executor = ExecutionCore()
    for body in (opened(), of):
        executor.apply(body)
    refusal = executor.submit(of, T0)
    assert isinstance(refusal, OrderExpired)
    executor.apply(refusal)
    assert executor.unsent() == []
    assert executor.state.open_ids == {}


def test_a_restart_asks_for_the_same() -> None:
    core = desk(BOTH_SIDES, alpha=100, beta=-60)
    first = flat(core)
    assert isinstance(first, OrderIntent)
    core.apply(OrderRejected(first.id, "alpha", "AAPL", "403", "no", minute(2)))
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(core.state), type=RiskState)
    other = RiskCore([bot(), bot(name="beta")], BOTH_SIDES, state)
    answers: list[list[AnyBody]] = [list(each.decide_waiting(minute(3))) for each in (core, other)]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 1
