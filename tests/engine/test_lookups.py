"""What follows where the venue does not say what became of an order: each row of the table in ARCHITECTURE.md."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from engine.execution import Conclusion, ExecutionCore
from engine.messages import OrderAccepted, OrderExpired, OrderFilled, OrderIntent
from engine.ports import NotFound, RateLimited, Unknown, VenueExecution, VenueOrder
from engine.values import OrderClass, OrderType
from tests.engine.build import T0, D, intent, opened
from tests.engine.test_protection import leg

LATER = T0 + 1
ROOT = Path(__file__).parents[2]


def _sent() -> tuple[ExecutionCore, OrderIntent]:
    core, of = ExecutionCore(), intent()
    core.apply(opened())
    core.apply(of)
    core.apply(core.submit(of, T0))
    return core, of


def _found(of: OrderIntent, status: str, filled: str = "0") -> VenueOrder:
    px = D(100) if D(filled) else None
    return VenueOrder(of.id, "v1", of.symbol, of.side, status, of.quantity, D(filled), px, T0 + 1, T0 + 2)


def test_once_not_found_is_asked_again_and_twice_is_sent_again_with_the_same_id() -> None:
    core, of = _sent()
    assert core.on_missing(of.id, NotFound(), LATER) == Conclusion(ask_again=True)
    assert core.on_missing(of.id, NotFound(), LATER) == Conclusion(send_again=of)
    # Sent and lost once more: the count began anew.
    assert core.on_missing(of.id, NotFound(), LATER) == Conclusion(ask_again=True)


@pytest.mark.parametrize(("after_ns", "is_sent"), [(-1, True), (0, True), (1, False)])
def test_what_is_too_old_is_not_sent_again(after_ns: int, is_sent: bool) -> None:
    core, of = _sent()
    now = of.valid_until + after_ns
    core.on_missing(of.id, NotFound(), now)
    conclusion = core.on_missing(of.id, NotFound(), now)
    if is_sent:
        assert conclusion == Conclusion(send_again=of)
    else:
        assert conclusion == Conclusion((OrderExpired(of.id, of.bot, of.symbol, "not_sent", now),))


@pytest.mark.parametrize("outcome", [Unknown("HTTP 504"), RateLimited(1.0)])
def test_no_answer_says_nothing_and_is_asked_again_as_long_as_it_takes(outcome: Unknown | RateLimited) -> None:
    core, of = _sent()
    for _ in range(20):
        assert core.on_missing(of.id, outcome, of.valid_until + 1) == Conclusion(ask_again=True)
    # Nor does it count as one of the two times that the venue did not find it.
    core.on_missing(of.id, NotFound(), LATER)
    assert core.on_missing(of.id, outcome, LATER) == Conclusion(ask_again=True)
    assert core.on_missing(of.id, NotFound(), LATER) == Conclusion(send_again=of)


def test_an_order_that_the_venue_has_is_never_missing() -> None:
    core, of = _sent()
    core.on_missing(of.id, NotFound(), LATER)
    [accepted] = core.on_order(_found(of, "new")).events
    assert isinstance(accepted, OrderAccepted)
    core.apply(accepted)
    for _ in range(3):  # the venue's list lags behind what it said itself
        assert core.on_missing(of.id, NotFound(), LATER) == Conclusion()


def test_what_is_found_says_everything_that_was_missed() -> None:
    core, of = _sent()
    conclusion = core.on_order(_found(of, "filled", str(of.quantity)))
    [accepted] = conclusion.events
    assert isinstance(accepted, OrderAccepted)
    assert conclusion.needs_executions  # before the end is stored, every fill is
    assert not any(isinstance(event, OrderFilled) for event in conclusion.events)


def test_an_entry_that_a_lookup_brings_without_its_exits_lacks_them_until_they_are_adopted() -> None:
    core, plain_one = _sent()
    assert not core.lacks_legs(_found(plain_one, "new"))
    of = intent(id="bracket", order_class=OrderClass.BRACKET, take_profit_px=D(110), stop_loss_px=D(90))
    core.apply(of)
    core.apply(core.submit(of, T0))
    assert core.lacks_legs(_found(of, "new"))
    assert not core.lacks_legs(msgspec.structs.replace(_found(of, "new"), legs=(_found(of, "held"),)))
    core.apply(leg(of, "loss", OrderType.STOP, D(90)))
    assert not core.lacks_legs(_found(of, "new"))


def test_the_table_has_a_row_for_each_of_these() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("## What an answer to an order means")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (lookup: [^|]+?) \|", table, re.MULTILINE)
    assert rows == ["lookup: found", "lookup: 404", "lookup: anything else"]


def _stored() -> tuple[ExecutionCore, OrderIntent]:
    core, of = ExecutionCore(), intent()
    core.apply(opened())
    core.apply(of)
    return core, of


def _done(of: OrderIntent) -> list[VenueExecution]:
    whole = of.quantity
    return [VenueExecution("v1", whole, of.symbol, of.side, whole, D(100), T0 + 2, client_order_id=of.id)]


def _apply(core: ExecutionCore, conclusion: Conclusion) -> list[str]:
    for body in conclusion.events:
        core.apply(body)
    return [type(body).__name__ for body in conclusion.events]


def test_an_order_whose_submission_a_damaged_stream_lost_is_the_venues_and_ends_once() -> None:
    """Else it would count as never sent, and be sent again or expire on top of its end at the venue."""
    core, of = _stored()
    report = _found(of, "filled", str(of.quantity))
    assert _apply(core, core.on_order(report)) == ["OrderSubmitted", "OrderAccepted"]
    assert _apply(core, core.on_executions(_done(of))) == ["Fill", "OrderFilled"]
    assert core.unsent() == []
    assert not core.state.orders[of.id].is_open
    assert _apply(core, core.on_order(report)) == []


def test_an_execution_says_that_it_was_submitted() -> None:
    core, of = _stored()
    assert _apply(core, core.on_executions(_done(of))) == ["OrderSubmitted", "Fill", "OrderFilled"]
    assert not core.state.orders[of.id].is_open


def test_a_refusal_says_that_it_was_submitted() -> None:
    core, of = _stored()
    assert _apply(core, core.on_order(_found(of, "rejected"))) == ["OrderSubmitted", "OrderRejected"]
    assert not core.state.orders[of.id].is_open
