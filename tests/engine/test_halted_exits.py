"""What a halt does to exits: what closes or protects stays at the venue, and a stop that cannot act is told of."""

from __future__ import annotations

import pytest

from engine.messages import Alert, AnyBody, Command, OrderAccepted, OrderCanceled, OrderIntent, Protection
from engine.values import Direction, TradingMode
from tests.engine.build import D, minute, signal
from tests.engine.test_protection import BOTH, LOSS_BY_RISK, Desk, bracket, guarded, none, one

HALT = Command("c1", TradingMode.HALTED, "look", "ada", minute(2))


def _alerts(bodies: list[AnyBody]) -> list[str]:
    return [body.what for body in bodies if isinstance(body, Alert)]


def test_a_halt_tells_of_each_stop_that_risk_holds() -> None:
    desk = guarded(LOSS_BY_RISK)
    [said] = _alerts(desk.hear(HALT))
    assert said.startswith("trading is halted, and 100 AAPL of alpha have no stop at the venue")
    assert desk.core.protector.bare() == {"alpha|AAPL": said}
    assert desk.restarted().core.protector.bare() == desk.core.protector.bare()
    desk.hear(Command("c2", TradingMode.ACTIVE, "looked", "ada", minute(3)))
    assert desk.core.protector.bare() == {}


def test_a_halt_says_nothing_of_what_the_venue_protects() -> None:
    desk = Desk(BOTH)
    bracket(desk)
    assert _alerts(desk.hear(HALT)) == []
    assert desk.core.protector.bare() == {}


@pytest.mark.parametrize("mode", [TradingMode.HALTED, TradingMode.REDUCING])
def test_exits_that_end_while_halted_leave_their_position_bare_and_that_is_told(mode: TradingMode) -> None:
    """Asked to end for an exit that then may not leave."""
    desk = Desk(BOTH)
    _, gain, loss = bracket(desk)
    desk.hear(signal(Direction.FLAT, number=2))
    said = _alerts(desk.hear(Command("c1", mode, "look", "ada", minute(2))))
    assert len(said) == (mode is TradingMode.HALTED), "exits that are asked to end protect nothing any more"
    ended = [OrderCanceled(each.id, "alpha", "AAPL", "v", D(0), minute(3)) for each in (gain, loss)]
    made = desk.hear(*ended)
    assert none(OrderIntent, made) is (mode is TradingMode.HALTED)
    assert bool(_alerts(made)) is (mode is TradingMode.HALTED)
    assert bool(desk.core.protector.bare()) is (mode is TradingMode.HALTED)
    made = desk.hear(Command("c2", TradingMode.ACTIVE, "looked", "ada", minute(4)))
    assert none(OrderIntent, made) is (mode is not TradingMode.HALTED), "closed now, or closing already"


def test_what_is_told_of_exits_at_the_venue_is_where_they_lie() -> None:
    """An entry's exits are placed before its price is known: stop and target lie where it was expected."""
    desk = Desk(BOTH)
    entry, gain, loss = bracket(desk, px="103")
    told = [body for body in desk.said if isinstance(body, Protection)][-1]
    assert (told.holder, told.stop_px, told.target_px) == ("venue", loss.stop_px, gain.limit_px)
    assert (entry.stop_loss_px, entry.take_profit_px) == (told.stop_px, told.target_px) == (D(98), D(105))


def test_an_own_exit_of_two_legs_says_both_levels() -> None:
    """After a canceled part of an entry: one order of ours carries target and stop."""
    desk = Desk(BOTH)
    entry = one(OrderIntent, desk.hear(signal()))
    desk.fills(entry, 40, px="100")
    made = desk.hear(OrderCanceled(entry.id, "alpha", "AAPL", "v", D(40), minute(2)))
    exit_ = one(OrderIntent, made)
    desk.hear(OrderAccepted(exit_.id, "alpha", "AAPL", "v-exit", minute(2)))
    told = [body for body in desk.said if isinstance(body, Protection)][-1]
    assert told.holder == "venue"
    assert (told.stop_px, told.target_px) == (exit_.stop_loss_px, exit_.take_profit_px) == (D(98), D(105))


def _after_halt(direction: Direction, then: Direction) -> list[str]:
    """Fill an order while halted; give what is told of it."""
    desk = Desk(None)
    entry = one(OrderIntent, desk.hear(signal(direction)))
    if then is Direction.FLAT:
        desk.fills(entry)
        entry = one(OrderIntent, desk.hear(signal(Direction.FLAT, number=2)))
    desk.hear(Command("c1", TradingMode.HALTED, "look", "ada", minute(2)))
    return _alerts(desk.fills(entry, at=minute(3)))


@pytest.mark.parametrize("direction", [Direction.LONG, Direction.SHORT])
def test_a_fill_that_opens_a_position_after_the_halt_is_told(direction: Direction) -> None:
    """Sent just before: the venue was faster than its cancel, or the request slower than a flattening."""
    [said] = _after_halt(direction, direction)
    assert "was filled after trading was halted" in said
    assert "tapeline halt --flatten" in said


def test_a_fill_that_closes_one_is_not() -> None:
    assert _after_halt(Direction.LONG, Direction.FLAT) == []
