"""Stops that change while orders are under way: what lies where old stops said ends, and nothing else does."""

from __future__ import annotations

import msgspec

from engine.bots import BotStatus, OrderStyle, Stops
from engine.messages import (
    AnyBody,
    BotDefined,
    CancelOrder,
    Command,
    OrderAccepted,
    OrderCanceled,
    OrderIntent,
)
from engine.risk import RiskCore, RiskState
from engine.values import OrderType, TradingMode
from tests.engine.build import D, always_open, bot, lent, minute, opened, signal
from tests.engine.test_protection import BOTH, Desk, bracket, leg, none, one

TIGHT = Stops(stop_loss=0.01)
RESTING = OrderStyle(type=OrderType.LIMIT, limit_offset_bps=-50)


def _defined(revision: int, status: BotStatus = BotStatus.RUNNING, **more: object) -> BotDefined:
    return BotDefined("alpha", revision, bot(**more), status, 0, "me", f"w{revision}", minute(3))


def _canceled(made: list[AnyBody]) -> set[str]:
    return {body.client_order_id for body in made if isinstance(body, CancelOrder)}


def test_stops_that_change_while_trading_is_halted_are_placed_after_it() -> None:
    desk = Desk(BOTH)
    _, stop, target = bracket(desk)
    desk.hear(Command("c1", TradingMode.HALTED, "look", "me", minute(2)))
    assert none(CancelOrder, desk.hear(_defined(2, stops=TIGHT)))
    made = desk.hear(Command("c2", TradingMode.ACTIVE, "go on", "me", minute(4)))
    assert _canceled(made) == {stop.id, target.id}


def _entry(desk: Desk) -> OrderIntent:
    entry = one(OrderIntent, desk.hear(signal()))
    desk.hear(OrderAccepted(entry.id, "alpha", "AAPL", f"venue-{entry.id}", minute(1)))
    return entry


def test_legs_that_become_known_after_the_change_end_when_their_entry_is_whole() -> None:
    desk = Desk(BOTH)
    entry = _entry(desk)
    desk.hear(_defined(2, stops=TIGHT))
    target = leg(entry, "target", OrderType.LIMIT, entry.take_profit_px)
    stop = leg(entry, "stop", OrderType.STOP, entry.stop_loss_px)
    assert none(CancelOrder, desk.hear(target, stop))  # they wait for their entry: to cancel them would end it
    made = desk.fills(entry)
    assert _canceled(made) == {stop.id, target.id}
    for number, order in enumerate((target, stop), 4):
        made = desk.hear(OrderCanceled(order.id, "alpha", "AAPL", f"v{number}", D(0), minute(number)))
    assert one(OrderIntent, made).stop_px == D(99)
    assert none(CancelOrder, desk.hear(_defined(3, stops=TIGHT, capital=D(7))))


def test_a_stop_is_the_same_whether_its_entry_was_stored_before_or_after_it() -> None:
    """A restart reads them in the order of the stream, which is not that of the decisions."""
    live = Desk(None)
    live.hear(_defined(2, order=RESTING))
    [entry] = [body for body in live.hear(signal()) if isinstance(body, OrderIntent)]
    stopped = _defined(3, BotStatus.STOPPED, order=RESTING)
    wish = one(CancelOrder, live.hear(stopped))

    again = RiskCore([bot()], live.limits, RiskState())
    for body in (opened(), always_open(), *lent("AAPL"), _defined(2, order=RESTING), signal(), stopped, entry):
        again.apply(body)
    assert again.has_work
    wishes = [body for body in again.decide_waiting(minute(5)) if isinstance(body, CancelOrder)]
    assert [(one.id, one.client_order_id) for one in wishes] == [(wish.id, entry.id)]
    assert not [body for body in again.decide_waiting(minute(6)) if isinstance(body, CancelOrder)]


def test_an_entry_that_rests_in_a_symbol_that_was_taken_away_ends() -> None:
    desk = Desk(None)
    desk.hear(_defined(2, order=RESTING))
    entry = _entry(desk)
    made = desk.hear(_defined(3, order=RESTING, symbols=("MSFT",)))
    assert _canceled(made) == {entry.id}


def test_what_is_closed_is_forgotten_and_a_restart_knows_the_rest() -> None:
    desk = Desk(BOTH)
    entry, stop, _ = bracket(desk)
    desk.hear(_defined(2, stops=TIGHT))
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(desk.core.state), type=RiskState)
    assert {entry.id, stop.id} & set(kept.old_exits)
    desk.fills(stop, px="98")
    for order in list(desk.core.state.orders.values()):
        desk.hear(OrderCanceled(order.body.id, "alpha", "AAPL", "v", D(0), minute(9)))
    assert desk.core.state.old_exits == {}
