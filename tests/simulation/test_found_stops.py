"""Defects the seeds with stops, styles, halts and wishes found, each as small as it gets; all are mended."""

from __future__ import annotations

import msgspec
import pytest

from engine.execution import ExecutionCore
from engine.messages import (
    AnyBody,
    Fill,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    ReplaceOrder,
    RiskDenied,
    Signal,
    TargetReached,
)
from engine.ports import VenueExecution, VenueUpdate
from engine.risk.guards import STRATEGY
from engine.values import NS_PER_MINUTE, NS_PER_S, Direction, OrderType, Purpose, Side, TimeInForce
from streams.services.executor import _Asks
from tests.engine.build import T0, D, fill, intent, minute, opened, signal
from tests.engine.test_protection import BOTH, LOSS_BY_RISK, Desk, bracket, guarded, mark, none, one
from tests.engine.venue_says import listed
from tests.simulation.test_found import ExecutorDesk

# --- guards --------------------------------------------------------------------------------------------------------------


def test_a_stop_closes_though_its_mark_comes_late() -> None:
    """Feed was away; a signal of a later bar was answered before the mark came that touches the stop."""
    desk = guarded(LOSS_BY_RISK)
    desk.hear(signal(number=4))
    made = desk.hear(mark(3, "97"), now_ns=minute(4) + NS_PER_S)
    assert one(OrderIntent, made).purpose is Purpose.GUARD


def test_a_stop_is_not_superseded_by_what_the_strategy_says_meanwhile() -> None:
    desk = Desk(BOTH)
    _, gain, loss = bracket(desk)
    desk.hear(OrderCanceled(loss.id, "alpha", "AAPL", "v", D(0), minute(2)), mark(4, "97"))
    assert none(OrderIntent, desk.hear(signal(Direction.LONG, number=5))), "the other exit is still in the way"
    made = desk.hear(OrderCanceled(gain.id, "alpha", "AAPL", "v", D(0), minute(5)))
    assert [body.side for body in made if isinstance(body, OrderIntent)] == [Side.SELL]


def test_a_bar_from_before_the_stop_opens_nothing_after_it() -> None:
    desk = guarded(LOSS_BY_RISK)
    desk.fills(one(OrderIntent, desk.hear(mark(3, "97"))), px="97", at=minute(3))
    late = msgspec.structs.replace(signal(number=2), ts_event=minute(3) - 1)
    assert one(RiskDenied, desk.hear(late, now_ns=minute(3) + NS_PER_S)).rule == "cooldown_s"


def test_a_replay_fires_at_the_marks_at_which_it_was_fired() -> None:
    """A verdict without an order arms the guard again; made before a mark was read, it may be stored after that mark."""
    alive = Desk(LOSS_BY_RISK)
    alive.fills(one(OrderIntent, alive.hear(signal())))
    alive.hear(signal(Direction.FLAT, number=2))  # an exit works already: the guard's target is reached
    replayed = alive.restarted()
    fired = one(Signal, alive.core.apply(mark(3, "97")))
    [reached] = alive.core.decide_waiting(minute(3))
    assert isinstance(reached, TargetReached)
    later = alive.core.apply(mark(6, "96"))
    assert [one(Signal, replayed.core.apply(mark(3, "97")))] == [fired]
    assert replayed.core.apply(mark(6, "96")) == later == []
    for core in (alive.core, replayed.core):
        core.apply(reached)
        assert one(Signal, core.apply(mark(9, "95")))


def test_exits_that_were_ended_are_asked_for_again_as_others() -> None:
    """With one id the venue, or the server's memory of ids, takes the second for the first: nothing is there any more."""
    desk = Desk(msgspec.structs.replace(BOTH, stop_loss=None, take_profit=None, trailing_stop=0.05))
    first = one(OrderIntent, desk.fills(one(OrderIntent, desk.hear(signal()))))
    desk.hear(OrderAccepted(first.id, "alpha", "AAPL", "v1", minute(2)))
    second = one(OrderIntent, desk.hear(OrderCanceled(first.id, "alpha", "AAPL", "v1", D(0), minute(3))))
    assert second.purpose is first.purpose is Purpose.PROTECT
    assert second.id != first.id


# --- wishes --------------------------------------------------------------------------------------------------------------

WISH = ReplaceOrder("w1", "nobody's", "", "ada", minute(2), quantity=D(1))


def test_a_wish_that_was_denied_is_not_answered_again() -> None:
    desk = Desk(None)
    desk.core.apply(WISH)
    replayed = desk.restarted()
    [denied] = desk.core.decide_waiting(minute(2))
    replayed.core.apply(denied)
    assert replayed.core.decide_waiting(minute(3)) == []


def test_a_wish_that_is_not_answered_survives_a_checkpoint() -> None:
    desk = Desk(None)
    desk.core.apply(WISH)
    assert one(RiskDenied, list(desk.restarted().core.decide_waiting(minute(3)))).signal_id == "w1"


# --- rests ---------------------------------------------------------------------------------------------------------------


def test_the_rest_of_a_target_is_given_up_for_its_own_order_only() -> None:
    """A replacement of an earlier order is refused; it is stored before the verdict that was made before it was read."""
    alive, replayed = Desk(None), Desk(None)
    for desk in (alive, replayed):
        desk.fills(one(OrderIntent, desk.hear(signal())))
        desk.hear(intent("other", signal_id="an earlier signal"))
        desk.core.apply(signal(Direction.SHORT, number=2))
    refused = OrderRejected("other", "alpha", "AAPL", "", "the old one filled first", minute(2))
    through_zero = intent("to-zero", Side.SELL, "100", signal_id="signal-alpha-AAPL-2", reserved=D(0))
    to_zero = msgspec.structs.replace(through_zero, id=alive.core.verdict_id(signal(Direction.SHORT, number=2), 0))
    for body in (to_zero, refused):
        alive.core.apply(body)
    for body in (refused, to_zero):
        replayed.core.apply(body)
    assert list(alive.core.state.waiting) == list(replayed.core.state.waiting) != []


# --- executor ------------------------------------------------------------------------------------------------------------


def _known(*bodies: AnyBody) -> ExecutionCore:
    core = ExecutionCore()
    for body in (opened(), *bodies):
        core.apply(body)
    return core


def test_an_exit_that_the_venue_made_smaller_ends_when_it_says_so() -> None:
    """The other exit filled in part: Alpaca takes that much off this one, which is filled by what is left."""
    stop = OrderAdopted(
        "leg", "alpha", "AAPL", Side.SELL, D(52), OrderType.STOP, TimeInForce.DAY, "venue-leg", Purpose.PROTECT, T0,
        parent="p",
    )  # fmt: skip
    core = _known(stop, Fill("venue-leg", D(17), "leg", "alpha", "AAPL", Side.SELL, D(17), D(98), T0))
    [end] = core.on_order(listed("leg", "filled", "17", quantity=D(17), side=Side.SELL)).events
    assert isinstance(end, OrderFilled)
    assert end.filled_qty == 17


def test_the_second_of_two_replacements_counts_on_from_the_first_order() -> None:
    """Eleven were filled before the first one; nothing between the two."""
    first, second, third = intent("a", quantity="52"), intent("b", quantity="26"), intent("c", quantity="13")
    second, third = (msgspec.structs.replace(of, replaces=old) for of, old in ((second, "a"), (third, "b")))
    bodies: list[AnyBody] = [first, fill(first, "11", "11"), second, third]
    bodies += [OrderSubmitted(key, "alpha", "AAPL", T0) for key in "abc"]
    bodies += [OrderAccepted(key, "alpha", "AAPL", f"venue-{key}", T0) for key in "bc"]
    bodies += [OrderReplaced(key, "alpha", "AAPL", f"venue-{key}", D(11), T0, "") for key in "ab"]
    core = _known(*bodies)
    done = VenueExecution("venue-c", D(13), "AAPL", Side.BUY, D(2), D(100), T0)
    made = core.on_update(VenueUpdate("fill", listed("c", "filled", "13", quantity=D(13)), T0, done))
    assert not made.needs_executions
    assert [type(body) for body in made.events] == [Fill, OrderFilled]


async def test_an_order_that_waited_for_others_of_its_symbol_is_not_sent_after_its_time() -> None:
    """The request before it timed out twice; valid_until was looked at when it was queued."""
    desk, of = ExecutorDesk(), intent("late", valid_until=T0 + NS_PER_MINUTE)
    desk.know(opened(), of)
    executor = desk.executor
    desk.now = T0 + NS_PER_MINUTE + 1
    await executor._sender._post(of, executor._core)
    assert desk.venue.posted == []
    [end] = executor._take_outcome(executor._inbox.get_nowait(), _Asks(), desk.now)
    assert isinstance(end, OrderExpired)
    assert end.reason == "not_sent"


def test_an_exit_of_what_was_closed_meanwhile_is_not_sent() -> None:
    """`halt --flatten` closed the position, which executor stored and risk had not read yet: it would open a short one."""
    bought, sold = intent("in", quantity="52"), intent("out", Side.SELL, "52", reserved=D(0))
    closed = OrderAdopted(
        "flatten-1", "flatten", "AAPL", Side.SELL, D(52), OrderType.MARKET, TimeInForce.DAY, "v", Purpose.FLATTEN, T0
    )
    filled = Fill("v", D(52), "flatten-1", "flatten", "AAPL", Side.SELL, D(52), D(98), T0)
    core = _known(bought, fill(bought, "52", "52"), closed)
    assert isinstance(core.submit(sold, T0), OrderSubmitted)
    core.apply(filled)
    assert isinstance(core.submit(sold, T0, may_oppose=True), OrderSubmitted)
    refused = core.submit(sold, T0)
    assert isinstance(refused, OrderExpired)
    for body in (sold, refused):
        core.apply(body)
    assert [of.id for of in core.unsent()] == ["in"], "killed then, executor would send it after all"


def test_a_fee_of_a_flattening_order_is_not_charged_to_nobody() -> None:
    core = _known(fill(intent("in", symbol="BTC/USD"), "1", "1"))
    core.apply(Fill("v", D(1), "flatten-1", "flatten", "BTC/USD", Side.SELL, D(1), D(98), T0))
    assert core.state.last_bot == {"BTC/USD": "alpha"}


def test_what_an_exit_left_is_watched_again() -> None:
    """Another exit worked beside the guard's, and ended in part."""
    desk = guarded(LOSS_BY_RISK)
    other = one(OrderIntent, desk.hear(signal(Direction.FLAT, number=2)))
    wish = ReplaceOrder("w", other.id, "", "ada", minute(2), quantity=D(50))
    smaller = one(OrderIntent, desk.hear(wish))
    desk.hear(OrderReplaced(other.id, "alpha", "AAPL", "v", D(0), minute(2), ""))
    exit_ = one(OrderIntent, desk.hear(mark(3, "97")))
    assert exit_.quantity == 50
    desk.fills(exit_, px="97", at=minute(3))
    again = one(OrderIntent, desk.hear(OrderCanceled(smaller.id, "alpha", "AAPL", "v", D(0), minute(4))))
    assert (again.quantity, again.purpose) == (50, Purpose.TARGET), "what the strategy wanted comes first"
    desk.hear(OrderRejected(again.id, "alpha", "AAPL", "403", "no", minute(6) - 1))
    guards = one(OrderIntent, desk.hear(mark(6, "96")))
    assert (guards.quantity, guards.purpose) == (50, Purpose.GUARD)


@pytest.mark.parametrize("strategy", [STRATEGY, "sma_crossover"])
def test_a_guard_and_a_strategy_do_not_answer_for_each_other(strategy: str) -> None:
    """Each of them says one thing at a time of its own; a signal of one is no repetition of the other's."""
    desk = guarded(LOSS_BY_RISK)
    desk.hear(signal(number=4))
    said = msgspec.structs.replace(signal(Direction.FLAT, number=3, id="s"), strategy=strategy)
    answers = desk.hear(said, now_ns=minute(4))
    assert bool(answers) is (strategy == STRATEGY)
