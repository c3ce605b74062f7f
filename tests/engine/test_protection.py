"""Stops and targets from risk's side: who holds them, when a guard fires, and what an exit must first get out of its way."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bots import RiskLimits, Stops
from engine.messages import (
    AnyBody,
    CancelOrder,
    Command,
    Mark,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    Protection,
    RiskDenied,
    Signal,
    TargetReached,
)
from engine.ordering import levels
from engine.risk import RiskCore, RiskState
from engine.risk.guards import Guard
from engine.values import NS_PER_S, Direction, OrderClass, OrderType, Purpose, Side, TimeInForce, TradingMode
from tests.engine.build import T0, D, always_open, bot, fill, lent, minute, opened, signal

BOTH = Stops(stop_loss=0.02, take_profit=0.05)
LOSS_BY_RISK = Stops(stop_loss=0.02, held_by="risk")
TRAILING = Stops(trailing_stop=0.1, held_by="risk")


class Desk:
    """Risk of one bot in AAPL, its own output applied again as it comes back from the stream."""

    def __init__(self, stops: Stops | None, limits: RiskLimits | None = None, state: RiskState | None = None) -> None:
        self.bots = [bot(stops=stops)]
        self.limits = limits or RiskLimits()
        self.core = RiskCore(self.bots, self.limits, state)
        self.said: list[AnyBody] = []
        if state is None:
            self.hear(opened(), always_open(), *lent("AAPL"))

    def hear(self, *bodies: AnyBody, now_ns: int = 0) -> list[AnyBody]:
        """Apply, decide, and hear it all again."""
        made: list[AnyBody] = []
        for body in bodies:
            made += self.core.apply(body)
        made += self.core.decide_waiting(now_ns or max([minute(1), *(getattr(b, "ts_event", 0) for b in bodies)]))
        for body in list(made):
            caused = self.core.apply(body)
            is_wish = isinstance(body, CancelOrder) and all(isinstance(each, Protection) for each in caused)
            assert not caused or is_wish, "an echo changed something"
            made += caused
        self.said += made
        return made

    def fills(self, of: OrderIntent | OrderAdopted, quantity: int = 0, px: str = "100", at: int = 0) -> list[AnyBody]:
        """Fill an order, whole unless `quantity` says else."""
        order = self.core.state.orders[of.id]
        part = D(quantity) if quantity else order.leaves_qty
        cum = order.filled_qty + part
        made = self.hear(fill(of, part, cum, px, ts_event=at or T0 + 1))  # type: ignore[arg-type]
        if cum == of.quantity:
            made += self.hear(OrderFilled(of.id, of.bot, of.symbol, f"venue-{of.id}", cum, D(px), at or T0 + 1))
        return made

    def restarted(self) -> Desk:
        """The same from a checkpoint."""
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.core.state), type=RiskState)
        return Desk(self.bots[0].stops, self.limits, state)


def one[T](kind: type[T], bodies: list[AnyBody]) -> T:
    [found] = [body for body in bodies if isinstance(body, kind)]
    return found


def none(kind: type, bodies: list[AnyBody]) -> bool:
    return not any(isinstance(body, kind) for body in bodies)


def mark(number: int, last: str, low: str = "", high: str = "", after: int | None = None) -> Mark:
    low, high = low or last, high or last
    start = minute(number - 1) if after is None else after
    return Mark("AAPL", start, minute(number), D(last), D(low), D(high))


def leg(of: OrderIntent, name: str, order_type: OrderType, px: Decimal | None) -> OrderAdopted:
    side = Side.SELL if of.side is Side.BUY else Side.BUY
    limit, stop = (px, None) if order_type is OrderType.LIMIT else (None, px)
    return OrderAdopted(
        f"{of.id}-{name}", of.bot, of.symbol, side, of.quantity, order_type, TimeInForce.DAY, f"v-{name}",
        Purpose.PROTECT, T0, limit_px=limit, stop_px=stop, order_class=of.order_class, parent=of.id,
    )  # fmt: skip


def bracket(desk: Desk, px: str = "100") -> tuple[OrderIntent, OrderAdopted, OrderAdopted]:
    """A bracket that is filled; its entry and its two exits."""
    entry = one(OrderIntent, desk.hear(signal()))
    gain = leg(entry, "gain", OrderType.LIMIT, entry.take_profit_px)
    loss = leg(entry, "loss", OrderType.STOP, entry.stop_loss_px)
    desk.hear(gain, loss)
    desk.fills(entry, px=px)
    return entry, gain, loss


# --- held by the venue ---------------------------------------------------------------------------------------------------


def test_a_first_entry_carries_its_exits() -> None:
    entry = one(OrderIntent, Desk(BOTH).hear(signal()))
    assert (entry.order_class, entry.order_type) == (OrderClass.BRACKET, OrderType.MARKET)
    assert (entry.take_profit_px, entry.stop_loss_px) == (D(105), D(98))
    only_loss = one(OrderIntent, Desk(Stops(stop_loss=0.02)).hear(signal(Direction.SHORT)))
    assert (only_loss.order_class, only_loss.side) == (OrderClass.OTO, Side.SELL)
    assert (only_loss.take_profit_px, only_loss.stop_loss_px) == (None, D(102))


def test_the_venue_holds_a_filled_bracket_and_risk_does_not_fire() -> None:
    desk = Desk(BOTH)
    bracket(desk)
    told = [body for body in desk.said if isinstance(body, Protection)]
    assert (told[-1].holder, told[-1].venue_qty, told[-1].risk_qty) == ("venue", 100, 0)
    assert none(Signal, desk.hear(mark(3, "90")))


def test_until_the_entry_is_whole_risk_guards_what_is_filled() -> None:
    """Exits of a bracket are held until the entry is completely filled (Alpaca)."""
    desk = Desk(BOTH)
    entry = one(OrderIntent, desk.hear(signal()))
    desk.hear(leg(entry, "gain", OrderType.LIMIT, D(105)), leg(entry, "loss", OrderType.STOP, D(98)))
    told = one(Protection, desk.fills(entry, 40))
    assert (told.holder, told.venue_qty, told.risk_qty) == ("risk", 0, 40)
    fired = one(Signal, desk.hear(mark(3, "97.9")))
    assert (fired.direction, fired.strategy) == (Direction.FLAT, "guard")
    assert "stop 98" in fired.reason
    assert "40 watched" in fired.reason


def test_a_part_of_a_canceled_bracket_gets_an_oco() -> None:
    desk = Desk(BOTH)
    entry = one(OrderIntent, desk.hear(signal()))
    gain, loss = leg(entry, "gain", OrderType.LIMIT, D(105)), leg(entry, "loss", OrderType.STOP, D(98))
    desk.hear(gain, loss)
    desk.fills(entry, 40)
    made: list[AnyBody] = []
    for order in (entry, gain, loss):
        made += desk.hear(OrderCanceled(order.id, "alpha", "AAPL", "v", D(0), minute(2)))
    oco = one(OrderIntent, made)
    assert (oco.purpose, oco.order_class, oco.side, oco.quantity) == (Purpose.PROTECT, OrderClass.OCO, Side.SELL, 40)
    assert (oco.limit_px, oco.take_profit_px, oco.stop_loss_px, oco.reserved) == (D(105), D(105), D(98), 0)
    assert desk.core.state.guards["alpha|AAPL"].told[0] == "risk", "until the venue has it"
    told = one(Protection, desk.hear(OrderAccepted(oco.id, "alpha", "AAPL", "v-oco", minute(2))))
    assert (told.holder, told.venue_qty) == ("venue", 40)
    refused = desk.hear(OrderRejected(oco.id, "alpha", "AAPL", "422", "no", minute(3)))
    assert one(Protection, refused).holder == "risk"
    assert none(OrderIntent, refused), "it was refused for this position once"
    assert one(Signal, desk.hear(mark(5, "98")))


def test_a_trailing_stop_alone_is_held_by_the_venue_after_the_fill() -> None:
    desk = Desk(Stops(trailing_stop=0.05))
    entry = one(OrderIntent, desk.hear(signal()))
    assert entry.order_class is OrderClass.SIMPLE
    trail = one(OrderIntent, desk.fills(entry))
    assert (trail.order_type, trail.trail_percent, trail.quantity) == (OrderType.TRAILING_STOP, D(5), 100)
    assert trail.time_in_force is TimeInForce.GTC


# --- a signal against exits at the venue ---------------------------------------------------------------------------------


def test_a_signal_to_close_first_ends_the_exits_that_hold_the_shares() -> None:
    desk = Desk(BOTH)
    _, gain, loss = bracket(desk)
    made = desk.hear(signal(Direction.FLAT, number=2))
    assert {body.client_order_id for body in made if isinstance(body, CancelOrder)} == {gain.id, loss.id}
    assert none(OrderIntent, made)
    assert desk.hear(mark(3, "101")) == [], "asked once"
    desk.hear(OrderCanceled(gain.id, "alpha", "AAPL", "v", D(0), minute(3)))
    made = desk.hear(OrderCanceled(loss.id, "alpha", "AAPL", "v", D(0), minute(3)))
    exit_ = one(OrderIntent, made)
    assert (exit_.side, exit_.quantity, exit_.order_type, exit_.reserved) == (Side.SELL, 100, OrderType.MARKET, 0)


def test_an_exit_that_fills_while_it_is_asked_to_end_leaves_nothing_to_close() -> None:
    desk = Desk(BOTH)
    _, gain, loss = bracket(desk)
    desk.hear(signal(Direction.FLAT, number=2))
    assert one(TargetReached, desk.fills(loss, px="98", at=minute(2)))
    assert desk.hear(OrderCanceled(gain.id, "alpha", "AAPL", "v", D(0), minute(3))) == []
    assert desk.core.state.guards == {}


# --- guards --------------------------------------------------------------------------------------------------------------


def guarded(stops: Stops, direction: Direction = Direction.LONG) -> Desk:
    desk = Desk(stops)
    desk.fills(one(OrderIntent, desk.hear(signal(direction))))
    return desk


@pytest.mark.parametrize(("low", "fires"), [("98.01", False), ("98", True), ("97.99", True)])
def test_a_stop_of_a_long_position(low: str, fires: bool) -> None:
    assert none(Signal, guarded(LOSS_BY_RISK).hear(mark(3, "99", low=low))) is not fires


@pytest.mark.parametrize(("high", "fires"), [("101.99", False), ("102", True), ("102.01", True)])
def test_a_stop_of_a_short_position(high: str, fires: bool) -> None:
    desk = guarded(LOSS_BY_RISK, Direction.SHORT)
    assert none(Signal, desk.hear(mark(3, "101", high=high))) is not fires


@pytest.mark.parametrize(("high", "fires"), [("104.99", False), ("105", True), ("105.01", True)])
def test_a_target(high: str, fires: bool) -> None:
    desk = guarded(Stops(take_profit=0.05, held_by="risk"))
    assert none(Signal, desk.hear(mark(3, "101", high=high))) is not fires


def test_stop_and_target_in_one_mark_is_the_stop() -> None:
    fired = one(
        Signal, guarded(Stops(stop_loss=0.02, take_profit=0.05, held_by="risk")).hear(mark(3, "100", "90", "110"))
    )
    assert fired.reason.startswith("stop 98 touched by 90")


def test_a_trailing_stop_follows_the_best_price_and_never_back() -> None:
    desk = guarded(TRAILING)
    assert none(Signal, desk.hear(mark(3, "120", high="120")))
    assert none(Signal, desk.hear(mark(4, "109", low="108.01")))
    assert one(Signal, desk.hear(mark(5, "108.5", low="108")))


def test_a_peak_and_a_fall_in_one_mark_fire_by_the_last_price_only() -> None:
    desk = guarded(TRAILING)
    assert none(Signal, desk.hear(mark(3, "119", low="100", high="120"))), "the low may have come first"
    assert one(Signal, guarded(TRAILING).hear(mark(3, "107", low="100", high="120"))), "108 was the stop by then"


def test_prices_from_before_the_position_count_for_nothing() -> None:
    desk = Desk(LOSS_BY_RISK)
    desk.fills(one(OrderIntent, desk.hear(signal())), at=minute(2) - 5)
    assert none(Signal, desk.hear(mark(2, "99", low="90"))), "the low may be of before"
    assert one(Signal, desk.hear(mark(3, "99", low="98")))
    assert none(Signal, guarded(LOSS_BY_RISK).hear(Mark("AAPL", 0, T0, D(1), D(1), D(1))))


def test_a_quote_fires_where_there_are_no_trades() -> None:
    desk = guarded(LOSS_BY_RISK)
    assert none(Signal, desk.hear(Mark("AAPL", minute(2), minute(3), ask_px=D(1))))
    assert one(Signal, desk.hear(Mark("AAPL", minute(3), minute(4), bid_px=D(98), ask_px=D(120))))


def test_a_guard_fires_once_and_again_only_after_its_exit_came_to_nothing() -> None:
    desk = guarded(LOSS_BY_RISK)
    made = desk.hear(mark(3, "97"))
    exit_ = one(OrderIntent, made)
    assert exit_.purpose is Purpose.GUARD
    assert none(Signal, desk.hear(mark(4, "96")))
    desk.hear(OrderRejected(exit_.id, "alpha", "AAPL", "500", "no", minute(4)))
    assert none(Signal, desk.hear(mark(4, "95", after=minute(3) + 1))), "it waits a little"
    again = one(OrderIntent, desk.hear(mark(5, "94")))
    assert again.id != exit_.id
    desk.fills(again, px="94", at=minute(5))
    assert desk.core.state.portfolio.net() == {}
    assert none(Signal, desk.hear(mark(7, "90")))


def test_a_guard_waits_while_trading_is_halted_and_goes_on_after() -> None:
    desk = guarded(LOSS_BY_RISK)
    desk.hear(Command("c1", TradingMode.HALTED, "look", "ada", minute(2)))
    assert none(Signal, desk.hear(mark(3, "90")))
    desk.hear(Command("c2", TradingMode.ACTIVE, "looked", "ada", minute(3)))
    assert one(Signal, desk.hear(mark(5, "90")))


def test_an_exit_of_a_guard_is_not_denied_by_how_much_or_how_often() -> None:
    limits = RiskLimits(
        orders_per_min_max=1, bot_orders_per_min_max=1, open_orders_max=1, order_notional_usd_max=D(10_000)
    )
    desk = Desk(LOSS_BY_RISK, limits)
    desk.fills(one(OrderIntent, desk.hear(signal())))
    assert one(OrderIntent, desk.hear(mark(1, "50", after=T0 + 1))).side is Side.SELL


def test_after_a_stop_the_bot_cools_down() -> None:
    desk = Desk(LOSS_BY_RISK, RiskLimits(cooldown_s=120))
    desk.fills(one(OrderIntent, desk.hear(signal())))
    desk.fills(one(OrderIntent, desk.hear(mark(3, "97"))), px="97", at=minute(3))
    for number, is_denied in ((4, True), (5, False)):
        [answer] = desk.hear(signal(number=number, price=97.0), now_ns=minute(number))
        assert isinstance(answer, RiskDenied) is is_denied
        if isinstance(answer, RiskDenied):
            assert (answer.rule, answer.limit, answer.observed) == ("cooldown_s", "120", "60")


def test_a_restart_changes_nothing() -> None:
    """Whatever was heard: from a checkpoint and from the living state the same follows."""
    for heard in range(5):
        desk = guarded(TRAILING)
        for number in range(heard):
            desk.hear(mark(3 + number, str(120 - number)))
        other = desk.restarted()
        for number, px in ((9, "118"), (10, "100"), (11, "99")):
            assert desk.hear(mark(number, px)) == other.hear(mark(number, px))
        assert msgspec.msgpack.encode(desk.core.state) == msgspec.msgpack.encode(other.core.state)


_px = st.decimals(min_value=50, max_value=150, places=2)


@given(
    st.sampled_from([Stops(stop_loss=0.1), Stops(trailing_stop=0.1), Stops(stop_loss=0.2, trailing_stop=0.1)]),
    st.sampled_from([Direction.LONG, Direction.SHORT]),
    st.lists(_px, min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_a_stop_fires_at_the_same_trade_however_marks_are_cut(
    stops: Stops, direction: Direction, prices: list[Decimal], cut: int
) -> None:
    """Cut into marks of one trade each it fires by the book; conflated, never for less and never misses what is over."""
    desk = guarded(msgspec.structs.replace(stops, held_by="risk"), direction)
    sign, peak, expected = direction.sign, D(100), None
    for index, price in enumerate(prices):
        stop, _ = levels(stops, "AAPL", sign, D(100), peak)
        assert stop is not None
        if (price - stop) * sign <= 0:
            expected = index
            break
        peak = max(peak, price) if sign > 0 else min(peak, price)
    fired = None
    for index, price in enumerate(prices):
        if not none(Signal, desk.hear(mark(3 + index, str(price)))):
            fired = index
            break
    assert fired == expected
    conflated = guarded(msgspec.structs.replace(stops, held_by="risk"), direction)
    seen = False
    for start in range(0, len(prices), cut):
        part = prices[start : start + cut]
        body = mark(3 + start, str(part[-1]), str(min(part)), str(max(part)))
        seen = seen or not none(Signal, conflated.hear(body))
    if stops.trailing_stop is None:
        assert seen is (expected is not None)
    elif seen:
        assert expected is not None, "never for less"


def test_what_protects_adds_up_to_what_is_held() -> None:
    desk = Desk(BOTH)
    bracket(desk)
    for body in desk.said:
        if isinstance(body, Protection) and body.holder != "none":
            assert body.venue_qty + body.risk_qty in (D(100), D(40))
    guard: Guard = desk.core.state.guards["alpha|AAPL"]
    assert guard.told == ("venue", D(100), D(0))
    assert guard.not_before < 5 * NS_PER_S
