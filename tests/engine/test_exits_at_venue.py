"""Exits that the venue holds: how long they last, when they are placed again, and what they must give way to."""

from __future__ import annotations

import pytest

from engine.bots import OrderStyle, RiskLimits, Stops
from engine.messages import (
    Alert,
    AnyBody,
    CancelOrder,
    Mark,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    Protection,
    RiskDenied,
    Sessions,
    Signal,
)
from engine.ordering import terms_of
from engine.risk import RiskCore
from engine.risk.protecting import _shape
from engine.values import NS_PER_S, AssetClass, Direction, OrderClass, OrderType, Purpose, Side, TimeInForce
from tests.engine.build import T0, D, always_open, bot, fill, lent, minute, opened, signal
from tests.engine.test_protection import BOTH, Desk, bracket, leg, mark, none, one

S = NS_PER_S


def accepted(of: OrderIntent, at: int) -> OrderAccepted:
    return OrderAccepted(of.id, of.bot, of.symbol, f"v-{of.id}", at)


# --- how long they last --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "life"),
    [
        (OrderStyle(), TimeInForce.GTC),
        (OrderStyle(time_in_force=TimeInForce.DAY), TimeInForce.DAY),
        (OrderStyle(time_in_force=TimeInForce.GTC), TimeInForce.GTC),
        (OrderStyle(type=OrderType.LIMIT), TimeInForce.DAY),
    ],
)
def test_exits_of_an_entry_at_the_market_last_overnight(style: OrderStyle, life: TimeInForce) -> None:
    terms = terms_of(
        bot(stops=BOTH, order=style), "AAPL", D(100), D(100), reduces=False, is_first=True, is_regular=True
    )
    assert (terms.order_class, terms.time_in_force) == (OrderClass.BRACKET, life)


def test_an_entry_without_exits_keeps_its_life() -> None:
    for stops, quantity in ((None, D(100)), (BOTH, D("0.5")), (Stops(trailing_stop=0.05), D(100))):
        terms = terms_of(
            bot(stops=stops, order=OrderStyle(fractional=True)), "AAPL", quantity, D(100),
            reduces=False, is_first=True, is_regular=True,
        )  # fmt: skip
        assert (terms.order_class, terms.time_in_force) == (OrderClass.SIMPLE, TimeInForce.DAY)


# --- placed again --------------------------------------------------------------------------------------------------------


def test_exits_that_expire_at_the_close_are_placed_again_when_the_next_session_opens() -> None:
    desk = Desk(BOTH)
    desk.core.state.sessions.clear()
    desk.core = RiskCore(desk.bots, desk.limits, desk.core.state)
    desk.hear(Sessions(AssetClass.US_EQUITY, ((minute(0), minute(4)), (minute(1000), minute(1390))), T0))
    _, gain, loss = bracket(desk)
    for order in (gain, loss):
        desk.hear(OrderExpired(order.id, "alpha", "AAPL", "venue", minute(4), "v"), now_ns=minute(4))
    assert desk.core.state.guards["alpha|AAPL"].told[0] == "risk"
    assert desk.hear(now_ns=minute(1000) - 1) == []
    oco = one(OrderIntent, desk.hear(now_ns=minute(1000)))
    assert (oco.purpose, oco.order_class, oco.time_in_force) == (Purpose.PROTECT, OrderClass.OCO, TimeInForce.GTC)
    assert (oco.quantity, oco.take_profit_px, oco.stop_loss_px) == (100, D(105), D(98))
    assert one(Protection, desk.hear(accepted(oco, minute(1000)))).holder == "venue"


@pytest.mark.parametrize(
    ("stops", "order_type", "limit_px", "stop_px"),
    [
        (Stops(stop_loss=0.02), OrderType.STOP, None, D(98)),
        (Stops(take_profit=0.05), OrderType.LIMIT, D(105), None),
    ],
)
def test_a_single_exit_is_placed_alone(stops: Stops, order_type: OrderType, limit_px: object, stop_px: object) -> None:
    desk = Desk(stops)
    entry = one(OrderIntent, desk.hear(signal()))
    desk.fills(entry, 40)
    exit_ = one(OrderIntent, desk.hear(OrderCanceled(entry.id, "alpha", "AAPL", "v", D(40), minute(2))))
    assert (exit_.order_type, exit_.order_class, exit_.time_in_force) == (
        order_type,
        OrderClass.SIMPLE,
        TimeInForce.GTC,
    )
    assert (exit_.limit_px, exit_.stop_px, exit_.take_profit_px, exit_.stop_loss_px) == (limit_px, stop_px, None, None)
    assert (exit_.side, exit_.quantity, exit_.reserved) == (Side.SELL, 40, 0)
    told = one(Protection, desk.hear(accepted(exit_, minute(2))))
    assert (told.holder, told.venue_qty) == ("venue", 40)
    assert none(Signal, desk.hear(mark(5, "90")))


def _without_legs() -> Desk:
    """A bot whose entries cannot carry exits."""
    desk, stops = Desk(Stops(stop_loss=0.02)), Stops(stop_loss=0.02)
    desk.bots = [bot(stops=stops, order=OrderStyle(time_in_force=TimeInForce.IOC))]
    desk.core = RiskCore(desk.bots, desk.limits, desk.core.state)
    return desk


def test_while_the_legs_of_an_entry_are_not_known_risk_watches_and_places_nothing_beside_them() -> None:
    desk = Desk(BOTH)
    entry = one(OrderIntent, desk.hear(signal()))
    assert none(OrderIntent, desk.fills(entry))  # its POST was lost, a lookup brought it without its legs
    assert none(OrderIntent, desk.hear(now_ns=minute(2)))
    desk = desk.restarted()
    assert one(Signal, desk.hear(mark(3, "97"))).direction is Direction.FLAT, "the guard holds it meanwhile"
    desk = Desk(BOTH)
    entry = one(OrderIntent, desk.hear(signal()))
    desk.fills(entry)
    loss = leg(entry, "loss", OrderType.STOP, D(98))
    assert none(OrderIntent, desk.hear(leg(entry, "gain", OrderType.LIMIT, D(105)), loss))
    assert desk.core.state.legs_due == {}
    desk.fills(loss, px="98")
    assert desk.core.state.portfolio.signed_qty("alpha", "AAPL") == 0


def test_legs_of_a_position_that_is_gone_are_not_waited_for() -> None:
    desk = Desk(BOTH)
    entry = one(OrderIntent, desk.hear(signal()))
    desk.fills(entry)
    out = one(OrderIntent, desk.hear(signal(Direction.FLAT, number=2)))
    desk.fills(out)
    assert desk.core.state.legs_due == {}


def test_an_exit_that_was_never_sent_is_asked_for_again_and_one_that_is_refused_is_not() -> None:
    desk = _without_legs()
    entry = one(OrderIntent, desk.hear(signal()))
    desk.fills(entry)
    first = next(body for body in desk.said if isinstance(body, OrderIntent) and body.purpose is Purpose.PROTECT)
    again = one(OrderIntent, desk.hear(OrderExpired(first.id, "alpha", "AAPL", "not_sent", minute(2))))
    assert again.id != first.id
    assert none(OrderIntent, desk.hear(OrderRejected(again.id, "alpha", "AAPL", "403", "no", minute(3))))
    assert none(OrderIntent, desk.hear(now_ns=minute(99)))


def test_exits_that_end_again_and_again_are_placed_later_and_later_and_at_last_risk_watches() -> None:
    desk = _without_legs()
    made: list[AnyBody] = desk.fills(one(OrderIntent, desk.hear(signal())))
    at, waits, told = minute(2), list[int](), list[Alert]()
    while not none(OrderIntent, made):
        order = one(OrderIntent, made)
        desk.hear(accepted(order, at), now_ns=at)
        made = desk.hear(OrderCanceled(order.id, "alpha", "AAPL", "v", D(0), at), now_ns=at)
        told += [body for body in made if isinstance(body, Alert)]
        if none(OrderIntent, made):
            for second in range(1, 400):
                made = desk.hear(now_ns=at + second * S)
                if made:
                    waits.append(second)
                    at += second * S
                    break
    assert waits[:9] == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert set(waits[9:]) == {300}
    assert len(waits) < 50
    [alert] = told
    assert "again and again" in alert.what
    assert one(Signal, desk.hear(Mark("AAPL", at + S, at + 2 * S, D(90), D(90), D(90))))


# --- what they give way to -----------------------------------------------------------------------------------------------


def half(direction: Direction = Direction.LONG) -> Signal:
    return signal(direction, strength=0.5)


def test_an_add_first_ends_the_exits_and_then_the_whole_is_protected_again() -> None:
    """A plain buy against exits in the book is a wash trade for Alpaca (403)."""
    desk = Desk(BOTH)
    _, gain, loss = _half_bracket(desk)
    made = desk.hear(signal(number=2))
    assert {body.client_order_id for body in made if isinstance(body, CancelOrder)} == {gain.id, loss.id}
    assert none(OrderIntent, made)
    desk.hear(OrderCanceled(gain.id, "alpha", "AAPL", "v", D(0), minute(2)))
    add = one(OrderIntent, desk.hear(OrderCanceled(loss.id, "alpha", "AAPL", "v", D(0), minute(2))))
    assert (add.side, add.quantity, add.order_class) == (Side.BUY, 50, OrderClass.SIMPLE)
    oco = one(OrderIntent, desk.fills(add, px="110"))
    assert (oco.order_class, oco.quantity, oco.stop_loss_px) == (OrderClass.OCO, 100, D("102.9"))


def test_exits_stay_when_the_add_is_denied() -> None:
    desk = Desk(BOTH, RiskLimits(order_notional_usd_max=D(5_000)))
    _half_bracket(desk)
    made = desk.hear(signal(number=2, price=99.0))
    assert one(RiskDenied, made).rule == "order_notional_usd_max"
    assert none(CancelOrder, made)


def test_an_add_waits_while_the_venue_holds_the_exits_back() -> None:
    desk = Desk(BOTH)
    entry = one(OrderIntent, desk.hear(half()))
    loss = leg(entry, "loss", OrderType.STOP, D(98))
    desk.hear(leg(entry, "gain", OrderType.LIMIT, D(105)), loss)
    assert desk.hear(signal(number=2)) == []
    made = desk.fills(entry, at=minute(2))
    assert len([body for body in made if isinstance(body, CancelOrder)]) == 2


def _half_bracket(desk: Desk) -> tuple[OrderIntent, OrderAdopted, OrderAdopted]:
    entry = one(OrderIntent, desk.hear(half()))
    gain, loss = leg(entry, "gain", OrderType.LIMIT, D(105)), leg(entry, "loss", OrderType.STOP, D(98))
    desk.hear(gain, loss)
    desk.fills(entry)
    return entry, gain, loss


def _two(style: OrderStyle | None = None, stops: Stops | None = None) -> RiskCore:
    """Two bots; alpha's long position has a stop and a target in the book."""
    core = RiskCore([bot(stops=BOTH), bot(name="beta", stops=stops, order=style or OrderStyle())], RiskLimits())
    for body in (opened(), always_open(), *lent("AAPL"), signal()):
        core.apply(body)
    [entry] = core.decide_waiting(minute(1))
    assert isinstance(entry, OrderIntent)
    for body in (
        leg(entry, "gain", OrderType.LIMIT, D(105)),
        leg(entry, "loss", OrderType.STOP, D(98)),
        fill(entry, "100", "100"),
        OrderFilled(entry.id, "alpha", "AAPL", "v", D(100), D(100), T0),
    ):
        core.apply(body)
    return core


@pytest.mark.parametrize(
    ("style", "stops", "is_denied"),
    [
        (OrderStyle(), None, True),
        (OrderStyle(type=OrderType.LIMIT), None, True),
        (OrderStyle(), BOTH, False),
        (OrderStyle(type=OrderType.TRAILING_STOP), None, False),
    ],
)
def test_an_entry_against_exits_of_another_bot_is_a_wash_trade_unless_it_is_a_group_or_trails(
    style: OrderStyle, stops: Stops | None, is_denied: bool
) -> None:
    core = _two(style, stops)
    core.apply(signal(bot="beta", number=2))
    [answer] = core.decide_waiting(minute(2))
    assert isinstance(answer, RiskDenied) is is_denied, answer
    if isinstance(answer, RiskDenied):
        assert answer.rule == "wash_trade"


@pytest.mark.parametrize(("limit", "is_denied"), [(104.9, False), (105.0, True)])
def test_two_limits_that_do_not_meet_are_no_wash_trade(limit: float, is_denied: bool) -> None:
    core = _two(OrderStyle(type=OrderType.LIMIT))
    loss = next(key for key in core.state.orders if key.endswith("-loss"))
    core.apply(OrderCanceled(loss, "alpha", "AAPL", "v", D(0), minute(2)))
    core.apply(signal(bot="beta", number=2, price=limit))
    [answer] = [body for body in core.decide_waiting(minute(2)) if getattr(body, "bot", "") == "beta"]
    assert isinstance(answer, RiskDenied) is is_denied, answer


def test_an_exit_ends_the_waiting_entry_of_another_bot() -> None:
    core = RiskCore([bot(), bot(name="beta", order=OrderStyle(type=OrderType.LIMIT))], RiskLimits())
    for body in (opened(), always_open(), *lent("AAPL"), signal()):
        core.apply(body)
    [held] = core.decide_waiting(minute(1))
    assert isinstance(held, OrderIntent)
    core.apply(fill(held, "100", "100"))
    core.apply(OrderFilled(held.id, "alpha", "AAPL", "v", D(100), D(100), T0))
    core.apply(signal(bot="beta", number=2))
    [entry] = core.decide_waiting(minute(2))
    assert isinstance(entry, OrderIntent)
    core.apply(signal(Direction.FLAT, number=3))
    [wish] = core.decide_waiting(minute(3))
    assert isinstance(wish, CancelOrder)
    assert wish.client_order_id == entry.id
    core.apply(OrderCanceled(entry.id, "beta", "AAPL", "v", D(0), minute(3)))
    [exit_] = core.decide_waiting(minute(3))
    assert isinstance(exit_, OrderIntent)
    assert (exit_.bot, exit_.side) == ("alpha", Side.SELL)


# --- asked to end --------------------------------------------------------------------------------------------------------


def test_exits_that_are_asked_to_end_protect_nothing_and_the_guard_watches() -> None:
    """A cancel may be pending for hours; what waits for it waits, and the stop is risk's meanwhile."""
    desk = Desk(BOTH)
    _, gain, loss = bracket(desk)
    wishes = [body for body in desk.hear(signal(Direction.FLAT, number=2)) if isinstance(body, CancelOrder)]
    guard = desk.core.state.guards["alpha|AAPL"]
    assert guard.told == ("risk", 0, 100), "the wishes came back from the stream"
    assert len(wishes) == 2
    made = desk.hear(mark(3, "97"))
    assert one(Signal, made).strategy == "guard"
    assert none(OrderIntent, made), "the venue would refuse it: the exits hold the shares"
    desk.hear(OrderCanceled(gain.id, "alpha", "AAPL", "v", D(0), minute(3)))
    exit_ = one(OrderIntent, desk.hear(OrderCanceled(loss.id, "alpha", "AAPL", "v", D(0), minute(3))))
    assert exit_.purpose is Purpose.GUARD


def test_what_a_person_ends_is_protected_by_risk_until_it_ended_and_is_placed_again_then() -> None:
    desk = Desk(BOTH)
    _, gain, loss = bracket(desk)
    for order in (gain, loss):
        told = desk.hear(CancelOrder(f"w-{order.id}", order.id, "no", "ada", minute(2)))
        assert none(OrderIntent, told), "not beside one that is still there"
    assert desk.core.state.guards["alpha|AAPL"].told[0] == "risk"
    desk.hear(OrderCanceled(gain.id, "alpha", "AAPL", "v", D(0), minute(3)))
    oco = one(OrderIntent, desk.hear(OrderCanceled(loss.id, "alpha", "AAPL", "v", D(0), minute(3))))
    assert (oco.order_class, oco.quantity) == (OrderClass.OCO, 100)


def test_who_protects_is_the_same_for_who_only_reads_the_stream() -> None:
    """Risk notes its own wish when it makes it; what it protects must follow from the stored one alone."""
    desk = Desk(BOTH)
    bracket(desk)
    reader = desk.restarted()
    for body in [signal(Direction.FLAT, number=2)]:
        desk.core.apply(body)
        reader.core.apply(body)
    made = desk.core.decide_waiting(minute(2))
    between = mark(2, "97")
    assert desk.core.apply(between) == reader.core.apply(between) == []
    for body in made:
        assert desk.core.apply(body) == reader.core.apply(body)
    assert desk.core.state == reader.core.state


def test_a_trail_has_no_more_places_than_the_venue_takes() -> None:
    shape = _shape(Stops(trailing_stop=0.012345678912345), None, None)
    assert shape is not None
    assert shape.trail_percent == D("1.234567891")
