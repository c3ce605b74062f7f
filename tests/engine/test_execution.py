"""The executor's conclusions against a venue that reports in any order, twice, or not at all, and restarts anywhere."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BrokenPromiseError
from engine.execution import Conclusion, ExecState, ExecutionCore
from engine.messages import (
    AnyBody,
    Fee,
    Fill,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    OrderSubmitted,
    Sessions,
)
from engine.orders import OrderStatus
from engine.ports import Accepted, Rejected, VenueActivity, VenueExecution, VenueOrder, VenueUpdate
from engine.values import NS_PER_S, AssetClass, Side
from tests.engine.build import T0, D, fill, intent, opened

ENDS = (OrderRejected, OrderFilled, OrderCanceled, OrderExpired)


def _order(of: OrderIntent, status: str, filled: str | Decimal = "0", **more: object) -> VenueOrder:
    fields: dict[str, object] = {
        "client_order_id": of.id,
        "venue_order_id": f"venue-{of.id}",
        "symbol": of.symbol,
        "side": of.side,
        "status": status,
        "quantity": of.quantity,
        "filled_qty": D(filled),
        "avg_px": None,
        "submitted_ns": T0 + 1,
        "updated_ns": T0 + 9,
    }
    return VenueOrder(**(fields | more))  # type: ignore[arg-type]


def _execution(
    of: OrderIntent, last: str | Decimal, cum: str | Decimal, px: str = "100", at: int = 5
) -> VenueExecution:
    return VenueExecution(f"venue-{of.id}", D(cum), of.symbol, of.side, D(last), D(px), T0 + at)


def _update(of: OrderIntent, event: str, status: str, filled: str = "0", **more: object) -> VenueUpdate:
    return VenueUpdate(event, _order(of, status, filled), T0 + 9, **more)  # type: ignore[arg-type]


def _core(*intents: OrderIntent, submitted: bool = True, **bounds: int) -> ExecutionCore:
    core = ExecutionCore(**bounds)
    core.apply(opened())
    for of in intents:
        core.apply(of)
        if submitted:
            core.apply(core.submit(of, T0))
    return core


def _tell(core: ExecutionCore, conclusion: Conclusion) -> list[AnyBody]:
    """Store what follows, as the service does."""
    for event in conclusion.events:
        core.apply(event)
    return list(conclusion.events)


# --- by hand -------------------------------------------------------------------------------------------------------------


def test_an_order_from_intent_to_filled() -> None:
    of = intent()
    core = _core(of, submitted=False)
    assert core.unsent() == [of]
    submitted = core.submit(of, of.valid_until)
    assert submitted == OrderSubmitted("i1", "alpha", "AAPL", of.decided_ns)
    core.apply(submitted)
    assert (core.unsent(), core.unresolved(), core.open_at_venue()) == ([], ["i1"], [])
    assert _tell(core, core.on_outcome("i1", Accepted(_order(of, "accepted")), T0)) == [
        OrderAccepted("i1", "alpha", "AAPL", "venue-i1", T0 + 1)
    ]
    assert (core.unresolved(), core.open_at_venue()) == ([], ["i1"])
    part = _update(of, "partial_fill", "partially_filled", "4", execution=_execution(of, "4", "4", "99"))
    assert _tell(core, core.on_update(part)) == [fill(of, "4", "4", "99", ts_event=T0 + 5)]
    rest = _update(of, "fill", "filled", "10", execution=_execution(of, "6", "10", "100.5", at=7))
    assert _tell(core, core.on_update(rest)) == [
        fill(of, "6", "10", "100.5", ts_event=T0 + 7),
        OrderFilled("i1", "alpha", "AAPL", "venue-i1", D(10), D("99.9"), T0 + 7),
    ]
    assert (core.open_at_venue(), core.state.open_ids, core.state.fills) == ([], {}, 2)
    for report in (part, rest):
        assert core.on_update(report) == Conclusion()


def test_an_intent_that_comes_too_late_ends_unsent() -> None:
    of = intent()
    core = _core(of, submitted=False)
    expired = core.submit(of, of.valid_until + 1)
    assert expired == OrderExpired("i1", "alpha", "AAPL", "not_sent", of.valid_until + 1)
    core.apply(expired)
    assert (core.unsent(), core.unresolved(), core.open_at_venue()) == ([], [], [])


def test_a_refusal_ends_the_order() -> None:
    of = intent()
    core = _core(of)
    refusal = Rejected("40310000", "insufficient buying power")
    assert _tell(core, core.on_outcome("i1", refusal, T0 + 3)) == [
        OrderRejected("i1", "alpha", "AAPL", "40310000", "insufficient buying power", T0 + 3)
    ]
    assert core.on_outcome("i1", refusal, T0 + 4) == Conclusion()


def test_a_refusal_after_the_acceptance_ends_it_too() -> None:
    of = intent()
    core = _core(of)
    _tell(core, core.on_order(_order(of, "new")))
    assert _tell(core, core.on_update(_update(of, "rejected", "rejected", reason="halted symbol"))) == [
        OrderRejected("i1", "alpha", "AAPL", "", "halted symbol", T0 + 9, "venue-i1")
    ]


def test_a_late_acceptance_after_the_refusal_implies_nothing() -> None:
    of = intent()
    core = _core(of)
    _tell(core, core.on_update(_update(of, "rejected", "rejected")))
    assert core.on_outcome("i1", Accepted(_order(of, "new")), T0) == Conclusion()
    assert core.on_update(_update(of, "new", "new")) == Conclusion()


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("canceled", OrderCanceled("i1", "alpha", "AAPL", "venue-i1", D(4), T0 + 9)),
        ("expired", OrderExpired("i1", "alpha", "AAPL", "venue", T0 + 9, "venue-i1", D(4))),
        ("replaced", OrderReplaced("i1", "alpha", "AAPL", "venue-i1", D(4), T0 + 9)),
    ],
)
def test_ends_the_venue_gives(status: str, end: AnyBody) -> None:
    of = intent()
    core = _core(of)
    _tell(core, core.on_order(_order(of, "new")))
    _tell(core, core.on_executions([_execution(of, "4", "4")]))
    assert _tell(core, core.on_order(_order(of, status, "4"))) == [end]
    assert core.on_order(_order(of, status, "4")) == Conclusion()
    assert core.state.open_ids == {}


def test_an_end_waits_for_the_fills_before_it() -> None:
    of = intent()
    core = _core(of)
    report = _order(of, "canceled", "4")
    first = core.on_order(report)
    assert first.needs_executions
    assert [type(event) for event in _tell(core, first)] == [OrderAccepted]
    _tell(core, core.on_executions([_execution(of, "4", "4")]))
    assert [type(event) for event in _tell(core, core.on_order(report))] == [OrderCanceled]


def test_a_fill_after_the_cancellation_is_booked_and_the_order_stays_ended() -> None:
    of = intent()
    core = _core(of)
    _tell(core, core.on_order(_order(of, "canceled")))
    part = _update(of, "partial_fill", "canceled", "4", execution=_execution(of, "4", "4"))
    assert [type(event) for event in _tell(core, core.on_update(part))] == [Fill]
    assert not core.state.orders["i1"].is_open
    assert core.on_order(_order(of, "canceled", "4")) == Conclusion()
    rest = _update(of, "fill", "filled", "10", execution=_execution(of, "6", "10"))
    assert [type(event) for event in _tell(core, core.on_update(rest))] == [Fill]
    assert core.on_order(_order(of, "filled", "10")) == Conclusion()
    assert (core.state.orders["i1"].filled_qty, core.state.open_ids) == (10, {})


def test_a_hole_asks_for_the_executions() -> None:
    of = intent()
    core = _core(of)
    late = _update(of, "fill", "filled", "10", execution=_execution(of, "6", "10"))
    conclusion = core.on_update(late)
    assert conclusion.needs_executions
    _tell(core, conclusion)
    events = _tell(core, core.on_executions([_execution(of, "6", "10"), _execution(of, "4", "4")]))
    assert [type(event) for event in events] == [Fill, Fill, OrderFilled]
    assert [event.cum_qty for event in events if isinstance(event, Fill)] == [4, 10]


def test_executions_that_still_miss_one_ask_again_and_store_nothing_of_that_order() -> None:
    one, two = intent("one"), intent("two")
    core = _core(one, two)
    for of in (one, two):
        _tell(core, core.on_order(_order(of, "new")))
    conclusion = core.on_executions([_execution(one, "6", "10"), _execution(two, "3", "3")])
    assert conclusion.needs_executions
    assert [event.client_order_id for event in conclusion.events if isinstance(event, Fill)] == ["two"]


def test_fills_of_one_order_keep_their_order_where_the_venues_times_do_not() -> None:
    """Each fill is named by what is filled after it: stored backwards, the earlier would count as known."""
    of = intent()
    core = _core(of)
    _tell(core, core.on_order(_order(of, "new")))
    events = core.on_executions([_execution(of, "4", "4", at=8), _execution(of, "6", "10", at=7)]).events
    assert [event.cum_qty for event in events if isinstance(event, Fill)] == [4, 10]
    assert isinstance(events[-1], OrderFilled)


def test_executions_of_several_orders_come_in_the_order_of_time() -> None:
    one, two = intent("one"), intent("two")
    core = _core(one, two)
    for of in (one, two):
        _tell(core, core.on_order(_order(of, "new")))
    events = core.on_executions(
        [_execution(one, "4", "4", at=1), _execution(one, "6", "10", at=9), _execution(two, "10", "10", at=5)]
    ).events
    assert [(event.client_order_id, type(event).__name__) for event in events] == [  # type: ignore[union-attr]
        ("one", "Fill"), ("two", "Fill"), ("two", "OrderFilled"), ("one", "Fill"), ("one", "OrderFilled"),
    ]  # fmt: skip


def test_an_event_of_an_unknown_order_asks_for_the_venues_list_and_stores_nothing() -> None:
    core = _core()
    of = intent("somebody-else")
    asks = Conclusion(needs_orders=True)
    assert core.on_order(_order(of, "new")) == asks
    assert core.on_update(_update(of, "fill", "filled", "10", execution=_execution(of, "10", "10"))) == asks
    assert core.on_executions([_execution(of, "10", "10")]) == Conclusion()
    assert core.state.foreign == 2


def test_an_unknown_state_is_an_error() -> None:
    of = intent()
    with pytest.raises(BrokenPromiseError, match="'shelved'"):
        _core(of).on_order(_order(of, "shelved"))


def test_fees_go_to_the_bot_that_traded_last_and_each_once() -> None:
    of = intent("b", symbol="BTC/USD", bot="beta")
    core = _core(of)
    _tell(core, core.on_update(_update(of, "fill", "filled", "10", execution=_execution(of, "10", "10"))))
    fee = VenueActivity("a1", "CFEE", "BTC/USD", D(0), D("-0.025"), T0 + 20)
    other = VenueActivity("a2", "DIV", "KO", D("1.2"), D(0), T0 + 21)
    nothing = VenueActivity("a3", "MEMO", "", D(0), D(0), T0 + 22)
    events = _tell(core, core.on_activities([fee, other, nothing, fee], T0))
    assert events == [
        Fee("a1", "CFEE", "beta", "BTC/USD", D(0), D("-0.025"), T0 + 20),
        Fee("a2", "DIV", "unattributed", "KO", D("1.2"), D(0), T0 + 21),
    ]
    assert core.on_activities([fee, other, nothing], T0) == Conclusion()
    assert core.state.last_activity_ns == T0 + 21


def test_the_calendars_end_is_known() -> None:
    core = _core()
    core.apply(Sessions(AssetClass.US_EQUITY, ((1, 5), (7, 9)), T0))
    core.apply(Sessions(AssetClass.US_EQUITY, (), T0))
    assert core.state.sessions_until == 9


def test_memory_of_ended_orders_is_bounded_and_open_ones_stay() -> None:
    keeper = intent("keeper")
    core = _core(keeper, done_max=10)
    _tell(core, core.on_order(_order(keeper, "new")))
    for number in range(50):
        of = intent(f"o{number}")
        core.apply(of)
        core.apply(core.submit(of, T0))
        _tell(core, core.on_order(_order(of, "new")))
        _tell(core, core.on_order(_order(of, "canceled")))
    assert len(core.state.orders) <= 12
    assert set(core.state.by_venue_id.values()) == set(core.state.orders)
    assert core.open_at_venue() == ["keeper"]
    assert "o49" in core.state.orders


# --- any venue -----------------------------------------------------------------------------------------------------------


class _Venue:
    """Orders with a fate each, and the reports about them in the order in which they happened."""

    def __init__(self, seed: int, count: int = 3) -> None:
        self.draw = random.Random(seed)
        sides, sizes = list(Side), range(1, 10)
        self.intents = [
            intent(f"o{number}", self.draw.choice(sides), str(self.draw.choice(sizes))) for number in range(count)
        ]
        self.executions: dict[str, list[VenueExecution]] = {}
        self.orders: dict[str, VenueOrder] = {}
        self.reports: list[object] = []
        for of in self.intents:
            self._live(of)

    def _live(self, of: OrderIntent) -> None:
        draw = self.draw
        reports: list[object] = []
        fate = draw.choice(["filled", "filled", "canceled", "expired", "rejected", "refused", "late"])
        if fate == "refused":
            self.reports.append((of.id, Rejected("403", "no")))
            return
        reports += [(of.id, Accepted(_order(of, draw.choice(["accepted", "pending_new", "new"])))),
                    _update(of, "new", "new")]  # fmt: skip
        done, cum = [], D(0)
        parts = [D(1)] * int(of.quantity) if draw.random() < 0.5 else [of.quantity]
        if fate == "rejected":
            parts = []
        if fate in ("canceled", "expired", "late"):
            parts = [D(1)] * draw.randint(0, int(of.quantity) - 1)
        late = D(0)
        for part in parts:
            cum += part
            done.append(_execution(of, part, cum, str(100 + draw.randint(0, 9)), at=int(cum)))
            status = "filled" if cum == of.quantity else "partially_filled"
            reports.append(VenueUpdate(status, _order(of, status, cum), T0, execution=done[-1]))
        if fate in ("canceled", "expired", "rejected", "late"):
            status = "canceled" if fate == "late" else fate
            reports.append(_update(of, status, status, str(cum)))
            if fate == "late":
                late = of.quantity - cum
                done.append(_execution(of, late, of.quantity, at=99))
                last = _order(of, "canceled", of.quantity)
                reports.append(VenueUpdate("fill", last, T0, execution=done[-1]))
                cum = of.quantity
            self.orders[of.id] = _order(of, status, cum)
        else:
            self.orders[of.id] = _order(of, "filled", cum)
        self.executions[of.id] = done
        where = 0
        for report in reports:  # reports of several orders interleave
            where = draw.randint(where, len(self.reports))
            self.reports.insert(where, report)
            where += 1


class _Executor:
    """What the service does with conclusions: stores them, and asks when something is missing."""

    def __init__(self, venue: _Venue) -> None:
        self.venue = venue
        self.stored: list[AnyBody] = [opened()]
        self.core = ExecutionCore()
        self.core.apply(self.stored[0])

    def store(self, *events: AnyBody) -> None:
        for event in events:
            self.core.apply(event)
            self.stored.append(event)

    def hear(self, report: object) -> None:
        match report:
            case VenueUpdate():
                conclusion = self.core.on_update(report)
            case (str() as key, Accepted() | Rejected() as outcome):
                conclusion = self.core.on_outcome(key, outcome, T0)
            case _:
                raise AssertionError(report)
        self.store(*conclusion.events)
        if conclusion.needs_executions:
            self.catch_up()

    def catch_up(self) -> None:
        """Look every order up, then the executions, then conclude on the orders again."""
        found = list(self.venue.orders.values())
        for order in found:
            self.store(*self.core.on_order(order).events)
        executions = [one for of in self.venue.executions.values() for one in of]
        conclusion = self.core.on_executions(executions)
        assert not conclusion.needs_executions
        self.store(*conclusion.events)
        for order in found:
            again = self.core.on_order(order)
            assert not again.needs_executions
            self.store(*again.events)

    def restart(self) -> None:
        """Forget everything and fold what was stored; it must be what was known."""
        before = msgspec.to_builtins(self.core.state)
        self.core = ExecutionCore()
        for body in self.stored:
            self.core.apply(body)
        again = msgspec.to_builtins(self.core.state)
        before["foreign"] = again["foreign"] = 0  # counts what was heard, not what was stored
        assert again == before

    def restore(self, cut: int) -> None:
        """The same from a checkpoint in the middle, through its bytes."""
        core = ExecutionCore()
        for body in self.stored[:cut]:
            core.apply(body)
        core = ExecutionCore(msgspec.msgpack.decode(msgspec.msgpack.encode(core.state), type=ExecState))
        for body in self.stored[cut:]:
            core.apply(body)
        before = msgspec.to_builtins(self.core.state)
        before["foreign"] = 0
        assert msgspec.to_builtins(core.state) == before
        self.core = core


def _check(executor: _Executor) -> None:
    venue = executor.venue
    fills: dict[str, list[Fill]] = defaultdict(list)
    ends: dict[str, list[AnyBody]] = defaultdict(list)
    accepted: dict[str, int] = defaultdict(int)
    for body in executor.stored:
        match body:
            case Fill():
                fills[body.client_order_id].append(body)
            case OrderRejected() | OrderFilled() | OrderCanceled() | OrderExpired():
                ends[body.client_order_id].append(body)
            case OrderAccepted():
                accepted[body.client_order_id] += 1
                assert not ends[body.client_order_id]
            case _:
                pass
    for of in venue.intents:
        assert len(ends[of.id]) == 1, ends[of.id]
        wanted = venue.executions.get(of.id, [])
        found = [(one.cum_qty, one.last_qty, one.last_px, one.venue_order_id) for one in fills[of.id]]
        assert found == [(one.cum_qty, one.last_qty, one.last_px, one.venue_order_id) for one in wanted]
        assert accepted[of.id] <= 1
        [end] = ends[of.id]
        if isinstance(end, OrderFilled):
            spent = sum((one.last_qty * one.last_px for one in wanted), D(0))
            assert end.avg_px == (spent / of.quantity).quantize(D("0.000000001"))
            assert end.filled_qty == of.quantity
    assert executor.core.state.open_ids == {}


def _scramble(draw: random.Random, reports: list[object]) -> list[object]:
    """Some twice, some lost, some moved."""
    heard = [report for report in reports if draw.random() > 0.2]
    heard += draw.choices(reports, k=len(reports) // 2)
    how = draw.random()
    if how < 0.4:
        draw.shuffle(heard)
    elif how < 0.7:
        heard.sort(key=reports.index)
    return heard


@given(st.integers(0, 1_000_000), st.integers(0, 1_000_000))
def test_whatever_is_heard_each_intent_ends_once_and_each_fill_is_stored_once(seed: int, ears: int) -> None:
    venue = _Venue(seed)
    executor = _Executor(venue)
    draw = random.Random(ears)
    for of in venue.intents:
        executor.store(of)
        executor.store(executor.core.submit(of, T0))
    refusals = [report for report in venue.reports if isinstance(report, tuple) and isinstance(report[1], Rejected)]
    for report in _scramble(draw, venue.reports):
        executor.hear(report)
        if draw.random() < 0.2:
            executor.restart()
        if draw.random() < 0.2:
            executor.restore(draw.randint(0, len(executor.stored)))
    for report in refusals:  # the answer to our own request is asked for until it is there
        executor.hear(report)
    executor.catch_up()
    _check(executor)
    stored = list(executor.stored)
    for report in venue.reports:  # and once everything is known, nothing that is heard again says anything
        executor.hear(report)
    executor.catch_up()
    assert executor.stored == stored


@given(st.integers(0, 1_000_000))
def test_a_calm_venue_needs_no_questions(seed: int) -> None:
    venue = _Venue(seed)
    core = ExecutionCore()
    for of in venue.intents:
        core.apply(of)
        core.apply(core.submit(of, T0))
    for report in venue.reports:
        if isinstance(report, tuple):
            conclusion = core.on_outcome(report[0], report[1], T0 + NS_PER_S)
        else:
            conclusion = core.on_update(report)  # type: ignore[arg-type]
        assert not conclusion.needs_executions
        _tell(core, conclusion)
    assert core.state.open_ids == {}


@given(st.integers(0, 1_000_000), st.data())
def test_a_message_applied_twice_changes_nothing(seed: int, data: st.DataObject) -> None:
    venue = _Venue(seed)
    executor = _Executor(venue)
    for of in venue.intents:
        executor.store(of)
        executor.store(executor.core.submit(of, T0))
    for report in venue.reports:
        executor.hear(report)
    core = ExecutionCore()
    again = data.draw(st.integers(0, len(executor.stored) - 1), label="applied twice from the start up to here")
    for number, body in enumerate(executor.stored):
        core.apply(body)
        if number == again:
            before = msgspec.to_builtins(core.state)
            for earlier in executor.stored[: number + 1]:
                core.apply(earlier)
            assert msgspec.to_builtins(core.state) == before


def test_the_states_of_the_fold_are_those_of_the_table() -> None:
    of = intent()
    core = _core(of, submitted=False)
    seen = [core.state.orders["i1"].status]
    for body in (
        OrderSubmitted("i1", "alpha", "AAPL", T0),
        OrderAccepted("i1", "alpha", "AAPL", "venue-i1", T0),
        fill(of, "4", "4"),
        fill(of, "6", "10"),
        OrderFilled("i1", "alpha", "AAPL", "venue-i1", D(10), D(100), T0),
        OrderCanceled("i1", "alpha", "AAPL", "venue-i1", D(10), T0),
    ):
        core.apply(body)
        seen.append(core.state.orders["i1"].status)
    s = OrderStatus
    assert seen == [s.INITIALIZED, s.SUBMITTED, s.ACCEPTED, s.PARTIALLY_FILLED, s.PARTIALLY_FILLED, s.FILLED, s.FILLED]
