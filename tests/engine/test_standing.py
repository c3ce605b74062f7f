"""Exits that came to nothing are asked for again: when, how often, and never more than an exit."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from engine.bots import RiskLimits, Stops
from engine.messages import (
    Alert,
    AnyBody,
    CancelOrder,
    Command,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderIntent,
    OrderRejected,
    RiskDenied,
    Sessions,
    TargetReached,
    TradingState,
)
from engine.risk import RiskCore
from engine.values import NS_PER_S, AssetClass, Direction, OrderType, Purpose, Side, TradingMode
from tests.engine.build import T0, D, fill, minute, signal
from tests.engine.test_protection import Desk, bracket, mark, none, one

FLAT, SHORT = Direction.FLAT, Direction.SHORT
S = NS_PER_S


def long_desk(limits: RiskLimits | None = None) -> Desk:
    """A hundred shares are held."""
    desk = Desk(None, limits)
    desk.fills(one(OrderIntent, desk.hear(signal())))
    return desk


def command(mode: TradingMode, at: int, number: int = 1) -> Command:
    return Command(f"c{number}", mode, "look", "ada", at)


def refused(of: OrderIntent, at: int) -> OrderRejected:
    return OrderRejected(of.id, of.bot, of.symbol, "403", "no", at)


ENDS: dict[str, Callable[[OrderIntent, int], AnyBody]] = {
    "refused": refused,
    "expired": lambda of, at: OrderExpired(of.id, of.bot, of.symbol, "venue", at),
    "not sent": lambda of, at: OrderExpired(of.id, of.bot, of.symbol, "not_sent", at),
    "canceled": lambda of, at: OrderCanceled(of.id, of.bot, of.symbol, "v", D(0), at),
}


def test_an_exit_denied_while_halted_leaves_after_the_resume() -> None:
    desk = long_desk()
    desk.hear(command(TradingMode.HALTED, minute(2)))
    denied = one(RiskDenied, desk.hear(signal(FLAT, number=3)))
    assert none(OrderIntent, desk.hear(now_ns=minute(5)))
    made = desk.hear(command(TradingMode.ACTIVE, minute(9), 2))
    exit_ = one(OrderIntent, made)
    assert (exit_.side, exit_.quantity, exit_.reserved, exit_.purpose) == (Side.SELL, 100, 0, Purpose.TARGET)
    assert (exit_.signal_id, exit_.order_type) == (denied.signal_id, OrderType.MARKET)
    assert exit_.id == desk.core.verdict_id(signal(FLAT, number=3), 1)
    desk.fills(exit_, at=minute(9))
    assert desk.core.state.portfolio.net() == {}
    assert desk.hear(now_ns=minute(99)) == []
    assert not desk.core.has_work


@pytest.mark.parametrize("why", ENDS)
def test_an_exit_that_ends_short_is_asked_for_again_after_a_wait(why: str) -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=2), now_ns=minute(2)))
    assert none(OrderIntent, desk.hear(ENDS[why](exit_, minute(2) + S), now_ns=minute(2) + S))
    assert desk.core.has_work
    assert none(OrderIntent, desk.hear(now_ns=minute(2) + 3 * S - 1))
    again = one(OrderIntent, desk.hear(now_ns=minute(2) + 3 * S))
    assert (again.side, again.quantity, again.signal_id) == (Side.SELL, 100, exit_.signal_id)
    assert again.id != exit_.id
    assert desk.hear(now_ns=minute(8)) == [], "one at a time"


def test_what_is_left_of_an_exit_that_filled_in_part_is_asked_for() -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=2)))
    desk.fills(exit_, 30)
    desk.hear(OrderCanceled(exit_.id, "alpha", "AAPL", "v", D(30), minute(2)))
    assert one(OrderIntent, desk.hear(now_ns=minute(3))).quantity == 70


def test_a_late_fill_of_an_entry_is_sold_where_the_target_is_flat() -> None:
    desk = Desk(None)
    entry = one(OrderIntent, desk.hear(signal()))
    desk.hear(OrderCanceled(entry.id, "alpha", "AAPL", "v", D(0), minute(1)))
    assert one(TargetReached, desk.hear(signal(FLAT, number=2)))
    desk.hear(fill(entry, "40", "40", ts_event=minute(2)), now_ns=minute(2))
    again = one(OrderIntent, desk.hear(now_ns=minute(3)))
    assert (again.side, again.quantity) == (Side.SELL, 40)


def test_a_target_reached_by_an_order_that_then_ends_is_asked_for() -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=2)))
    assert one(TargetReached, desk.hear(signal(FLAT, number=3, id="another bar")))
    desk.hear(ENDS["canceled"](exit_, minute(3)))
    assert one(OrderIntent, desk.hear(now_ns=minute(4))).signal_id == "another bar"


def test_an_exit_outside_the_session_leaves_when_the_next_one_opens() -> None:
    desk = Desk(None)
    spans = ((minute(0), minute(4)), (minute(1000), minute(1390)))
    desk.core.state.sessions.clear()
    desk.core = RiskCore(desk.bots, desk.limits, desk.core.state)
    desk.hear(Sessions(AssetClass.US_EQUITY, spans, T0))
    desk.fills(one(OrderIntent, desk.hear(signal())))
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=3)))
    desk.hear(ENDS["expired"](exit_, minute(4)))
    assert desk.hear(now_ns=minute(1000) - 1) == []
    assert one(OrderIntent, desk.hear(now_ns=minute(1000))).side is Side.SELL


def test_only_the_exit_is_asked_for_again_never_the_entry_behind_it() -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(SHORT, number=2)))
    desk.hear(refused(exit_, minute(2)))
    again = one(OrderIntent, desk.hear(now_ns=minute(3)))
    assert (again.side, again.quantity, again.reserved) == (Side.SELL, 100, 0)
    desk.fills(again, at=minute(3))
    assert desk.hear(now_ns=minute(3) + S) == []
    assert desk.core.state.portfolio.net() == {}


def test_a_lost_entry_is_not_asked_for_again() -> None:
    desk = Desk(None)
    entry = one(OrderIntent, desk.hear(signal()))
    desk.fills(entry, 30)
    desk.hear(OrderCanceled(entry.id, "alpha", "AAPL", "v", D(30), minute(2)))
    assert desk.hear(now_ns=minute(2)) == []
    assert not desk.core.has_work


def test_a_newer_target_is_the_one_that_counts() -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=2)))
    desk.hear(refused(exit_, minute(2)))
    assert one(TargetReached, desk.hear(signal(number=3)))
    assert desk.hear(now_ns=minute(9)) == []


def test_an_order_that_a_person_ended_is_left_alone_until_the_resume() -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=2)))
    desk.hear(CancelOrder("w", exit_.id, "no", "ada", minute(2)))
    desk.hear(ENDS["canceled"](exit_, minute(2)))
    assert desk.hear(now_ns=minute(9)) == []
    assert one(OrderIntent, desk.hear(command(TradingMode.ACTIVE, minute(10)), now_ns=minute(10)))


def test_the_wait_doubles_the_attempts_end_and_a_person_is_told_twice() -> None:
    desk = long_desk(RiskLimits(exit_attempts_max=8, exit_wait_s_max=60))
    order, at = one(OrderIntent, desk.hear(signal(FLAT, number=2), now_ns=minute(2))), minute(2)
    waits: list[int] = []
    told: list[Alert] = []
    while True:
        told += [body for body in desk.hear(refused(order, at), now_ns=at) if isinstance(body, Alert)]
        came: list[AnyBody] = []
        for second in range(1, 200):
            came = [body for body in desk.hear(now_ns=at + second * S) if isinstance(body, OrderIntent)]
            if came:
                waits.append(second)
                break
        if not came:
            break
        order, at = one(OrderIntent, came), at + waits[-1] * S
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert [alert.level for alert in told] == ["error", "error"]
    assert "came to nothing 6 times, last OrderRejected with 403 no; it is asked for again" in told[0].what
    assert "came to nothing 9 times" in told[1].what
    assert "`tapeline resume`" in told[1].what
    assert not desk.core.has_work
    made = desk.hear(command(TradingMode.ACTIVE, at + 1000 * S), now_ns=at + 1000 * S)
    assert one(TradingState, made)
    assert one(OrderIntent, made).id != order.id


def test_the_rest_of_a_target_goes_out_at_once_only_once() -> None:
    """Else a venue that ends every order at once would get them as fast as it answers."""
    desk = long_desk()
    order, asked = one(OrderIntent, desk.hear(signal(SHORT, number=2), now_ns=minute(2))), 1
    for _ in range(5):
        made = desk.hear(ENDS["canceled"](order, minute(2)), now_ns=minute(2))
        if none(OrderIntent, made):
            break
        order, asked = one(OrderIntent, made), asked + 1
    assert asked == 2


def test_exits_at_the_venue_end_before_an_exit_is_asked_for_again() -> None:
    desk = Desk(Stops(stop_loss=0.02, take_profit=0.05))
    _, gain, loss = bracket(desk)
    desk.hear(command(TradingMode.HALTED, minute(2)))
    assert one(RiskDenied, desk.hear(signal(FLAT, number=2)))
    made = desk.hear(command(TradingMode.ACTIVE, minute(3), 2))
    assert {body.client_order_id for body in made if isinstance(body, CancelOrder)} == {gain.id, loss.id}
    desk.hear(OrderCanceled(gain.id, "alpha", "AAPL", "v", D(0), minute(3)))
    exit_ = one(OrderIntent, desk.hear(OrderCanceled(loss.id, "alpha", "AAPL", "v", D(0), minute(3))))
    assert (exit_.purpose, exit_.side) == (Purpose.TARGET, Side.SELL)


def test_a_position_whose_exit_waits_for_its_next_attempt_is_protected_meanwhile() -> None:
    desk = Desk(Stops(stop_loss=0.02, take_profit=0.05))
    _, gain, loss = bracket(desk)
    desk.hear(signal(FLAT, number=2))
    desk.hear(OrderCanceled(gain.id, "alpha", "AAPL", "v", D(0), minute(2)))
    exit_ = one(OrderIntent, desk.hear(OrderCanceled(loss.id, "alpha", "AAPL", "v", D(0), minute(2))))
    cover = one(OrderIntent, desk.hear(refused(exit_, minute(2)), now_ns=minute(2)))
    assert cover.purpose is Purpose.PROTECT
    desk.hear(OrderAccepted(cover.id, "alpha", "AAPL", "v-cover", minute(2)))
    assert one(CancelOrder, desk.hear(now_ns=minute(3))).client_order_id == cover.id


def test_an_exit_at_a_limit_goes_by_the_last_price_not_by_the_old_signals() -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=2)))
    desk.hear(refused(exit_, minute(2)), now_ns=minute(2))
    assert one(OrderIntent, desk.hear(mark(3, "80"))).ref_px == 80


def test_killed_between_the_decision_and_its_storing_the_same_id_is_asked_again() -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=2)))
    desk.hear(refused(exit_, minute(2)))
    other = desk.restarted()
    once = one(OrderIntent, desk.hear(now_ns=minute(4)))
    again = one(OrderIntent, other.hear(now_ns=minute(5)))
    assert once.id == again.id
    stored = desk.restarted()  # it was stored, and comes back from the stream
    assert stored.core.apply(once) == []
    assert stored.hear(now_ns=minute(6)) == []
    assert msgspec.msgpack.encode(stored.core.state) == msgspec.msgpack.encode(desk.core.state)


def test_a_verdict_that_is_read_back_moves_what_stands_as_when_it_was_made() -> None:
    desk = long_desk()
    exit_ = one(OrderIntent, desk.hear(signal(FLAT, number=2)))
    desk.hear(refused(exit_, minute(2)))
    reader = desk.restarted()
    made = one(OrderIntent, desk.hear(now_ns=minute(4)))
    for body in (made, made, refused(made, minute(4))):
        reader.core.apply(body)
    desk.core.apply(refused(made, minute(4)))
    assert reader.core.state == desk.core.state
    assert reader.core.state.targets["alpha|AAPL"].attempts == 1
