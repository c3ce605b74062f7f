"""Bots that are defined while risk runs: who may open, what stops when, and stops that change under a position."""

from __future__ import annotations

import msgspec
import pytest

from engine.bots import BotStatus, OrderStyle, Stops
from engine.messages import (
    AnyBody,
    BotDefined,
    CancelOrder,
    OrderAccepted,
    OrderCanceled,
    OrderIntent,
    Protection,
    RiskDenied,
    Signal,
    TargetReached,
)
from engine.risk import RiskCore, RiskState
from engine.values import Direction, OrderType
from tests.engine.build import D, bot, minute, signal
from tests.engine.test_protection import BOTH, LOSS_BY_RISK, Desk, bracket, guarded, mark, none, one

ALPHA = bot()


def _defined(revision: int = 1, status: BotStatus = BotStatus.RUNNING, **more: object) -> BotDefined:
    return BotDefined("alpha", revision, bot(**more), status, 0, "me", f"w{revision}", minute(3))


def _answer(desk: Desk, **more: object) -> AnyBody:
    [said] = [body for body in desk.hear(signal(**more)) if isinstance(body, OrderIntent | RiskDenied | TargetReached)]  # type: ignore[arg-type]
    return said


def test_a_bot_of_the_stream_alone_trades_with_what_the_stream_says() -> None:
    desk = Desk(None)
    beta = BotDefined("beta", 1, bot(name="beta", capital=D(10_000)), BotStatus.RUNNING, 0, "me", "w1", minute(1))
    denied = _answer(desk, bot="beta")
    assert isinstance(denied, RiskDenied)
    assert denied.rule == "bot"
    desk.hear(beta)
    bought = _answer(desk, bot="beta", number=2)
    assert isinstance(bought, OrderIntent)
    assert bought.quantity == 10  # a tenth of 10,000 USD at 100


def test_other_capital_counts_from_the_next_signal_on() -> None:
    desk = Desk(None)
    desk.hear(_defined(2, capital=D(50_000)))
    bought = _answer(desk)
    assert isinstance(bought, OrderIntent)
    assert bought.quantity == 50
    desk.hear(_defined(1, capital=D(1)))  # an old one again
    assert desk.core.state.bots["alpha"].revision == 2


@pytest.mark.parametrize("status", [BotStatus.PAUSED, BotStatus.STOPPED, BotStatus.ERROR, BotStatus.REMOVED])
def test_what_does_not_run_may_only_reduce(status: BotStatus) -> None:
    desk = Desk(None)
    desk.fills(one(OrderIntent, desk.hear(signal())))
    desk.hear(_defined(2, status))
    denied = _answer(desk, number=3, strength=0.5, direction=Direction.SHORT)
    assert isinstance(denied, OrderIntent)  # to zero only: the rest opens
    desk.fills(denied)
    refused = [body for body in desk.said if isinstance(body, RiskDenied)]
    assert [body.rule for body in refused] == ["trading_mode"]
    assert f"bot alpha is {status.value}" in refused[0].reason
    desk.hear(_defined(3))
    assert isinstance(_answer(desk, number=5), OrderIntent)


@pytest.mark.parametrize("style", [OrderStyle(type=OrderType.LIMIT, limit_offset_bps=-50), OrderStyle()])
def test_a_stop_ends_entries_that_wait_and_nothing_else(style: OrderStyle) -> None:
    """One at the market waits too: until the opening, or for the next bar."""
    desk = Desk(None)
    desk.hear(_defined(2, order=style))
    entry = one(OrderIntent, desk.hear(signal()))
    desk.hear(OrderAccepted(entry.id, "alpha", "AAPL", "v", minute(2)))
    wish = one(CancelOrder, desk.hear(_defined(3, BotStatus.PAUSED, order=style)))
    assert (wish.client_order_id, wish.reason) == (entry.id, "bot alpha is paused, revision 3")
    assert none(CancelOrder, desk.hear(_defined(4, BotStatus.STOPPED, order=style)))
    desk.hear(OrderCanceled(entry.id, "alpha", "AAPL", "v", D(0), minute(4)))
    assert desk.core.state.orders == {}


def test_a_stop_leaves_the_exits_of_what_is_held() -> None:
    desk = Desk(BOTH)
    bracket(desk)
    assert none(CancelOrder, desk.hear(_defined(2, BotStatus.STOPPED, stops=BOTH)))
    assert desk.core.state.guards


def test_a_tighter_stop_that_risk_watches_fires_at_its_own_price() -> None:
    desk = guarded(LOSS_BY_RISK)
    assert none(Signal, desk.hear(mark(3, "99.4", "99.4", "99.4")))
    told = one(Protection, desk.hear(_defined(2, stops=Stops(stop_loss=0.005, held_by="risk"))))
    assert (told.stop_px, told.holder) == (D("99.5"), "risk")
    assert one(Signal, desk.hear(mark(5, "99.4", "99.4", "99.4"))).reason.startswith("stop 99.5 touched")


def test_exits_at_the_venue_are_placed_anew_where_other_stops_say() -> None:
    desk = Desk(BOTH)
    _, stop, target = bracket(desk)
    made = desk.hear(_defined(2, stops=Stops(stop_loss=0.01)))
    assert {body.client_order_id for body in made if isinstance(body, CancelOrder)} == {stop.id, target.id}
    for number, leg in enumerate((target, stop), 4):
        made = desk.hear(OrderCanceled(leg.id, "alpha", "AAPL", f"v{number}", D(0), minute(number)))
    exit_ = one(OrderIntent, made)
    assert (exit_.order_type, exit_.stop_px) == (OrderType.STOP, D(99))


def test_stops_that_are_taken_away_protect_no_more_and_new_ones_do_at_once() -> None:
    desk = guarded(LOSS_BY_RISK)
    assert one(Protection, desk.hear(_defined(2))).holder == "none"
    assert none(Signal, desk.hear(mark(3, "90", "90", "90")))
    told = one(Protection, desk.hear(_defined(3, stops=LOSS_BY_RISK)))
    assert (told.holder, told.stop_px) == ("risk", D(98))
    assert one(Signal, desk.hear(mark(5, "90", "90", "90"))).direction is Direction.FLAT


def test_bots_are_the_same_after_a_restart() -> None:
    desk = Desk(None)
    desk.hear(_defined(2, BotStatus.PAUSED, capital=D(7)))
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(desk.core.state), type=RiskState)
    again = RiskCore([ALPHA], desk.limits, state)
    assert again.state.bots == desk.core.state.bots
    assert again._bots["alpha"].capital == 7
