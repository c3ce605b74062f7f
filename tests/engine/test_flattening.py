"""Flattening against a venue whose positions lag, which fills in parts, and a command that is killed anywhere."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.flattening import Flattening, Look, Plan
from engine.messages import OrderIntent
from engine.ports import OpenOrder, VenueExecution, VenueOrder
from engine.values import NS_PER_S, OrderType, Side, TimeInForce

LATCH = "0123456789abcdef0123456789abcdef"
LAG_S = 10
NOW = 1_000 * NS_PER_S
OPEN = ((0, 10**18),)


def token(symbol: str) -> str:
    return symbol.replace("/", "%2F")


def core() -> Flattening:
    return Flattening(LATCH, token, LAG_S * NS_PER_S)


def look(**changes: Any) -> Look:
    fields: dict[str, Any] = {
        "now_ns": NOW, "open_orders": (), "executions": (), "positions": {}, "sessions": OPEN,
    }  # fmt: skip
    return Look(**(fields | changes))


def held(**positions: str) -> dict[str, Decimal]:
    return {symbol.replace("_", "/"): Decimal(quantity) for symbol, quantity in positions.items()}


def closing(
    symbol: str = "AAPL", number: int = 1, quantity: str = "10", filled: str = "0", status: str = "new", at: int = NOW
) -> VenueOrder:
    return VenueOrder(
        client_order_id=f"flatten-{LATCH[:16]}-{token(symbol)}-{number}", venue_order_id=f"v-{symbol}-{number}",
        symbol=symbol, side=Side.SELL, status=status, quantity=Decimal(quantity), filled_qty=Decimal(filled), avg_px=None,
        submitted_ns=at, updated_ns=at,
    )  # fmt: skip


def listed(order: VenueOrder) -> OpenOrder:
    return OpenOrder(order.venue_order_id, order.client_order_id, order.symbol, order.status)


def execution(symbol: str, ago_s: float, venue_order_id: str = "theirs") -> VenueExecution:
    at = NOW - int(ago_s * NS_PER_S)
    return VenueExecution(venue_order_id, Decimal(1), symbol, Side.BUY, Decimal(1), Decimal(5), at)


# --- single looks --------------------------------------------------------------------------------------------------------


def test_one_market_order_per_symbol_toward_zero() -> None:
    plan = core().plan(look(positions=held(AAPL="10.5", TSLA="-3", BTC_USD="0.123456789")))
    assert [(i.symbol, i.side, i.quantity, i.time_in_force) for i in plan.send] == [
        ("AAPL", Side.SELL, Decimal("10.5"), TimeInForce.DAY),
        ("BTC/USD", Side.SELL, Decimal("0.123456789"), TimeInForce.GTC),
        ("TSLA", Side.BUY, Decimal(3), TimeInForce.DAY),
    ]
    assert {i.order_type for i in plan.send} == {OrderType.MARKET}
    assert [i.id for i in plan.send] == [
        "flatten-0123456789abcdef-AAPL-1",
        "flatten-0123456789abcdef-BTC%2FUSD-1",
        "flatten-0123456789abcdef-TSLA-1",
    ]
    assert not plan.is_flat
    assert not plan.is_over


def test_nothing_held_and_nothing_open_is_flat() -> None:
    plan = core().plan(look())
    assert plan == Plan((), (), {}, {}, {}, is_flat=True)
    assert plan.is_over


def test_a_symbol_waits_until_everything_in_it_is_canceled() -> None:
    theirs = OpenOrder("v1", "somebody", "AAPL", "pending_cancel")
    plan = core().plan(look(open_orders=[theirs], positions=held(AAPL="10", MSFT="2")))
    assert plan.cancel == (theirs,)
    assert [i.symbol for i in plan.send] == ["MSFT"]
    assert "still open" in plan.waiting["AAPL"]


def test_orders_of_an_earlier_halt_are_in_the_way() -> None:
    theirs = OpenOrder("v1", "flatten-ffffffffffffffff-AAPL-1", "AAPL", "new")
    assert core().plan(look(open_orders=[theirs])).cancel == (theirs,)


def test_a_list_that_is_not_whole_sends_nothing() -> None:
    plan = core().plan(look(positions=held(AAPL="10"), is_whole=False))
    assert plan.send == ()
    assert not plan.is_flat


def test_its_own_open_order_is_waited_for_and_not_canceled() -> None:
    flattening, order = core(), closing()
    plan = flattening.plan(look(open_orders=[listed(order)], positions=held(AAPL="10")))
    assert (plan.cancel, plan.send) == ((), ())
    assert flattening.unknown([listed(order)]) == [order.client_order_id]
    flattening.learn(order)
    assert flattening.unknown([listed(order)]) == []
    assert flattening.unknown([]) == [order.client_order_id], "it vanished: its end must be asked for"
    plan = flattening.plan(look(positions=held(AAPL="10")))
    assert plan.send == ()


def test_the_rest_after_a_partial_fill_is_another_round() -> None:
    flattening = core()
    flattening.learn(closing(quantity="10", filled="6", status="canceled"))
    (intent,) = flattening.plan(look(positions=held(AAPL="4"))).send
    assert (intent.id[-6:], intent.quantity) == ("AAPL-2", Decimal(4))


def test_a_position_that_lags_behind_our_own_fill_is_not_sold_twice() -> None:
    flattening = core()
    flattening.learn(closing(quantity="10", filled="10", status="filled"))
    plan = flattening.plan(look(positions=held(AAPL="10")))
    assert plan.send == ()
    assert "lag" in plan.waiting["AAPL"]
    plan = flattening.plan(look(now_ns=NOW + (LAG_S + 1) * NS_PER_S, positions=held(AAPL="10")))
    assert [i.id[-6:] for i in plan.send] == ["AAPL-2"], "after the lag the venue is right"


@pytest.mark.parametrize(("ago_s", "sends"), [(1, 0), (9.9, 0), (10, 1), (60, 1)])
def test_a_symbol_that_traded_just_now_waits_for_its_position(ago_s: float, sends: int) -> None:
    plan = core().plan(look(executions=[execution("AAPL", ago_s)], positions=held(AAPL="10", MSFT="1")))
    assert len(plan.send) == 1 + sends
    assert core().plan(look(executions=[execution("AAPL", ago_s)])).is_flat == bool(sends)


def test_flat_by_our_own_last_fill_needs_no_wait_and_by_anothers_does() -> None:
    flattening = core()
    flattening.learn(closing(quantity="10", filled="10", status="filled", at=NOW - 2))
    assert flattening.plan(look(executions=[execution("AAPL", 0, "v-AAPL-1")])).is_flat
    assert not flattening.plan(look(executions=[execution("AAPL", 0)])).is_flat


def test_outside_of_the_session_an_equity_is_queued_and_crypto_is_not() -> None:
    flattening = core()
    flattening.learn(closing("AAPL"))
    flattening.learn(closing("BTC/USD"))
    orders = [listed(closing("AAPL")), listed(closing("BTC/USD"))]
    plan = flattening.plan(look(open_orders=orders, positions=held(AAPL="10", BTC_USD="10"), sessions=((0, 5),)))
    assert list(plan.queued) == ["AAPL"]
    assert list(plan.waiting) == ["BTC/USD"]
    assert not plan.is_over
    plan = flattening.plan(look(open_orders=orders[:1], positions=held(AAPL="10"), sessions=((0, 5),)))
    assert not plan.is_over, "the end of BTC/USD's order is not known yet"
    flattening.learn(closing("BTC/USD", filled="10", status="filled"))
    plan = flattening.plan(look(open_orders=orders[:1], positions=held(AAPL="10"), sessions=((0, 5),)))
    assert plan.is_over
    assert not plan.is_flat


def test_what_the_venue_refuses_again_and_again_is_stuck_and_said() -> None:
    flattening = core()
    for _ in range(5):
        assert [i.id[-1] for i in flattening.plan(look(positions=held(AAPL="10"))).send] == ["1"]
        flattening.refused("AAPL", "asset is not tradable")
    plan = flattening.plan(look(positions=held(AAPL="10")))
    assert plan.stuck == {"AAPL": "asset is not tradable"}
    assert plan.is_over
    assert not plan.is_flat


def test_orders_rejected_after_they_were_taken_do_not_go_on_for_ever() -> None:
    flattening = core()
    for number in range(1, 6):
        (intent,) = flattening.plan(look(positions=held(AAPL="10"))).send
        assert intent.id[-1] == str(number)
        flattening.learn(closing(number=number, status="rejected"))
    assert list(flattening.plan(look(positions=held(AAPL="10"))).stuck) == ["AAPL"]
    again = core()
    for number in range(1, 6):
        again.plan(look(now_ns=NOW + 60 * NS_PER_S, positions=held(AAPL="10")))
        again.learn(closing(number=number, status="rejected"))
    (intent,) = again.plan(look(now_ns=NOW + 60 * NS_PER_S, positions=held(AAPL="10"))).send
    assert intent.id[-1] == "6", "run again, it tries again"


def test_dust_is_stuck() -> None:
    assert list(core().plan(look(positions=held(BTC_USD="0.0000000001"))).stuck) == ["BTC/USD"]


# --- any course of events ------------------------------------------------------------------------------------------------


class LaggingVenue:
    """One symbol: truth, and what is shown of it; market orders fill in parts, or end before they are filled."""

    def __init__(self, position: int, draw: Any) -> None:
        self.draw = draw
        self.now = NOW
        self.history: list[tuple[int, int]] = [(0, position)]
        self.orders: dict[str, VenueOrder] = {}
        self.executions: list[VenueExecution] = []

    @property
    def position(self) -> int:
        return self.history[-1][1]

    def shown(self) -> int:
        """The position as it was up to almost the lag ago."""
        lag = self.draw(st.integers(0, LAG_S * NS_PER_S - 1))
        return [quantity for at, quantity in self.history if at <= self.now - lag][-1]

    def trade(self, side: Side, quantity: int, order_id: str) -> None:
        self.history.append((self.now, self.position + side.sign * quantity))
        done = Decimal(quantity)
        self.executions.append(VenueExecution(order_id, done, "AAPL", side, done, Decimal(5), self.now))

    def submit(self, intent: OrderIntent) -> VenueOrder:
        if intent.id not in self.orders:
            assert intent.side.sign * self.position < 0, f"{intent.side} while {self.position} is held"
            assert intent.quantity <= abs(self.position), f"{intent.quantity} of {self.position}"
            self.orders[intent.id] = VenueOrder(
                intent.id, f"v-{intent.id}", "AAPL", intent.side, "new", intent.quantity, Decimal(0), None, self.now, self.now,
            )  # fmt: skip
        return self.orders[intent.id]

    def work(self, *, is_calm: bool = False) -> None:
        for key, order in self.orders.items():
            if order.status != "new":
                continue
            left = int(order.quantity - order.filled_qty)
            part = left if is_calm else self.draw(st.integers(0, left))
            if part:
                self.trade(order.side, part, order.venue_order_id)
            status = "filled" if part == left else self.draw(st.sampled_from(["new", "new", "canceled"]))
            filled = order.filled_qty + part
            self.orders[key] = msgspec.structs.replace(order, filled_qty=filled, status=status, updated_ns=self.now)

    def look(self) -> Look:
        orders = [listed(order) for order in self.orders.values() if order.status == "new"]
        shown = self.shown()
        positions = {"AAPL": Decimal(shown)} if shown else {}
        return look(now_ns=self.now, open_orders=orders, executions=tuple(self.executions), positions=positions)


@given(st.data())
def test_killed_anywhere_it_never_crosses_zero_and_ends_flat(data: st.DataObject) -> None:
    venue = LaggingVenue(data.draw(st.integers(-20, 20)), data.draw)
    if data.draw(st.booleans()):  # the daemon traded just before, so that even the first look may be stale
        venue.trade(data.draw(st.sampled_from([Side.BUY, Side.SELL])), data.draw(st.integers(1, 10)), "theirs")
    venue.now += data.draw(st.integers(1, NS_PER_S))
    flattening = core()
    for number in range(80):
        is_calm = number >= 60
        found = venue.look()
        for client_order_id in flattening.unknown(found.open_orders):
            flattening.learn(venue.orders[client_order_id])
        plan = flattening.plan(found)
        if plan.is_flat:
            assert venue.position == 0
            return
        for intent in plan.send:
            order = venue.submit(intent)
            if not is_calm and data.draw(st.integers(0, 3)) == 0:
                flattening = core()  # killed after the POST: nothing is remembered
            else:
                flattening.learn(order)
        if not is_calm and data.draw(st.integers(0, 5)) == 0:
            flattening = core()
        venue.now += data.draw(st.integers(NS_PER_S, 3 * NS_PER_S) if is_calm else st.integers(NS_PER_S // 5, NS_PER_S))
        venue.work(is_calm=is_calm)
    pytest.fail("it does not get anywhere")
