"""Splits and changes of name as the executor learns of them: announced, by activities, by positions, each booked once."""

from __future__ import annotations

import msgspec
import pytest

from engine.execution import ExecutionCore
from engine.messages import (
    Alert,
    AnyBody,
    CancelOrder,
    Correction,
    Fee,
    OrderAccepted,
    OrderAdopted,
    OrderSubmitted,
    Sessions,
    Split,
)
from engine.ports import VenueAccount, VenueActivity, VenueExecution, VenueSplit
from engine.values import (
    NS_PER_DAY,
    NS_PER_MINUTE,
    NS_PER_S,
    AssetClass,
    OrderClass,
    OrderType,
    Purpose,
    Side,
    TimeInForce,
)
from tests.engine.build import T0, D, fill, intent
from tests.engine.venue_says import NOW, account, activity, conclude, core, listed

HOUR = 60 * NS_PER_MINUTE
LATER = NOW + NS_PER_DAY


def _announced(made: ExecutionCore, ratio: str = "4", at: int = NOW - 5, **more: object) -> VenueSplit:
    fields: dict[str, object] = {
        "id": "ca1", "symbol": "AAPL", "new_symbol": "AAPL", "ratio": D(ratio), "effective_ns": at,
    }  # fmt: skip
    split = VenueSplit(**(fields | more))  # type: ignore[arg-type]
    made.announce([split])
    return split


def _looked(made: ExecutionCore, theirs: VenueAccount, now: int = NOW) -> list[AnyBody]:
    found = made.on_account(theirs, now).events
    for body in found:
        made.apply(body)
    return list(found)


def test_a_split_is_stored_when_the_venue_has_booked_it_and_once() -> None:
    made = core(AAPL="10")
    _announced(made)
    assert _looked(made, account(AAPL="10")) == []
    assert _looked(made, account(AAPL="40")) == [Split("ca1", "AAPL", "AAPL", D(4), NOW - 5)]
    assert made.state.book.positions == {"AAPL": 40}
    for again in ("ca1", "ca1-corrected"):  # asked again; announced anew under another id
        _announced(made, id=again)
        assert _looked(made, account(AAPL="160"), LATER) == []
    restarted = ExecutionCore(msgspec.msgpack.decode(msgspec.msgpack.encode(made.state), type=type(made.state)))
    _announced(restarted)
    assert _looked(restarted, account(AAPL="160"), LATER) == []


SESSION = Sessions(AssetClass.US_EQUITY, ((NOW - 12 * HOUR, NOW - 5 * HOUR), (NOW + 9 * HOUR, NOW + 16 * HOUR)), T0)
BEFORE_OPEN = NOW + 9 * HOUR - 15 * NS_PER_MINUTE


def test_at_the_latest_before_the_session_opens_whether_the_venue_has_booked_it_or_not() -> None:
    made = core(SESSION, AAPL="10")
    _announced(made, at=NOW)
    assert made.due_ns() == BEFORE_OPEN
    assert _looked(made, account(AAPL="10"), BEFORE_OPEN - 1) == []
    assert _looked(made, account(AAPL="10"), BEFORE_OPEN) == [Split("ca1", "AAPL", "AAPL", D(4), NOW)]
    assert made.due_ns() == 0
    # Not booked yet is no difference, for a day.
    assert not made.compare(account(AAPL="10"), [], NOW + NS_PER_DAY)
    assert [split.id for split in made.unbooked] == ["ca1"]
    assert made.compare(account(AAPL="10"), [], NOW + NS_PER_DAY + 1)
    assert not made.compare(account(AAPL="40"), [], NOW + HOUR)
    assert made.unbooked == ()


def test_a_fraction_that_the_venue_drops_after_the_split_was_stored_is_corrected_in_silence() -> None:
    made = core(SESSION, AAPL="15")
    _announced(made, "0.1", at=NOW)
    _looked(made, account(AAPL="15"), BEFORE_OPEN)
    assert made.state.book.held("AAPL") == D("1.5")
    [correction] = made.settle(account(AAPL="1"), usd_max=D(0), now_ns=BEFORE_OPEN, latched=False).events
    assert isinstance(correction, Correction)
    assert (correction.quantity, correction.source) == (D("-0.5"), "splits")


def test_what_was_executed_after_it_is_counted_after_it() -> None:
    old, new = intent("old"), intent("new", decided_ns=NOW)
    submitted = [OrderSubmitted(of.id, "alpha", "AAPL", T0) for of in (old, new)]
    made = core(old, new, *submitted, AAPL="10")
    _announced(made, at=NOW)
    assert made.splits_before("AAPL", NOW - 1).events == ()
    assert made.splits_before("MSFT", NOW).events == ()
    assert len(made.splits_before("AAPL", NOW).events) == 1
    early = VenueExecution("venue-old", D(10), "AAPL", Side.BUY, D(10), D(100), NOW - 1, client_order_id="old")
    late = VenueExecution("venue-new", D(10), "AAPL", Side.BUY, D(10), D(25), NOW, client_order_id="new")
    for splits, part in made.around_splits([early, late]):
        for body in splits.events:
            made.apply(body)
        for body in made.on_executions(part).events:
            made.apply(body)
    assert made.state.book.positions == {"AAPL": 90}  # (10 + 10) * 4 + 10
    assert made.around_splits([early, late])[0][1] == [early, late]


def test_a_split_may_be_booked_the_evening_before_and_not_days_before() -> None:
    for early, booked in ((NS_PER_DAY, 1), (NS_PER_DAY + 1, 0)):
        made = core(AAPL="10")
        _announced(made, at=NOW + early)
        assert len(_looked(made, account(AAPL="40"))) == booked


def test_what_nobody_holds_is_split_at_its_time() -> None:
    made = core()
    _announced(made, at=NOW)
    assert _looked(made, account(), NOW - 1) == []
    assert len(_looked(made, account(), NOW)) == 1


def test_a_ledger_opened_after_it_is_not_split() -> None:
    made = core(AAPL="10")
    _announced(made, at=T0)
    assert _looked(made, account(AAPL="40")) == []
    assert made.due_ns() == 0


def test_bought_and_sold_after_it_is_not_split_again() -> None:
    made = core()
    of, other = intent("i1"), intent("i2", Side.SELL)
    submitted = OrderSubmitted(id, "alpha", "BTC/USD", T0)
    for body in (of, submitted, fill(of, "10", "10", ts_event=NOW), other, fill(other, "10", "10", ts_event=NOW)):
        made.apply(body)
    _announced(made, at=NOW - 5)
    assert _looked(made, account()) == []


@pytest.mark.parametrize(
    ("ratio", "theirs", "fraction"),
    [("0.1", "1", "0.5"), ("0.1", "1.5", "0"), ("1.5", "22", "0.5"), ("0.01", "0", "0.15")],
)
def test_fractions_that_the_venue_does_not_keep(ratio: str, theirs: str, fraction: str) -> None:
    made = core(AAPL="15")
    _announced(made, ratio)
    [split] = _looked(made, account(AAPL=theirs))
    assert isinstance(split, Split)
    assert split.fraction_qty == D(fraction)
    assert made.state.book.held("AAPL") == D(theirs)


@pytest.mark.parametrize("theirs", ["15", "2", "0", "-1", "1.6"])
def test_anything_else_is_not_this_split(theirs: str) -> None:
    made = core(AAPL="15")
    _announced(made, "0.1")
    assert _looked(made, account(AAPL=theirs)) == []


def test_a_change_of_name() -> None:
    made = core(OLD="10", NEW="1")
    _announced(made, "1", symbol="OLD", new_symbol="NEW")
    assert _looked(made, account(OLD="10", NEW="1")) == []
    assert len(_looked(made, account(NEW="11"))) == 1
    assert made.state.book.positions == {"NEW": 11}


def _leg(id: str, quantity: str, symbol: str = "AAPL", kind: str = "SPLIT", cash: str = "0") -> VenueActivity:
    return activity(id, kind, symbol, cash, quantity)


PAIR = (_leg("a1", "-10"), _leg("a2", "40"))


def test_activities_of_an_announced_split_do_not_double_it() -> None:
    made = core(AAPL="10")
    _announced(made)
    assert conclude(made, *PAIR) == []
    assert made.has_done_split
    assert _looked(made, account(AAPL="40")) == [Split("ca1", "AAPL", "AAPL", D(4), NOW - 5)]
    for _ in range(2):
        assert not made.has_done_split
        assert conclude(made, *PAIR) == []
        assert _looked(made, account(AAPL="40")) == []
    assert made.state.book.positions == {"AAPL": 40}


def test_a_split_that_nobody_announced_follows_from_its_activities() -> None:
    made = core(AAPL="10")
    assert conclude(made, *PAIR) == []
    assert _looked(made, account(AAPL="10")) == []  # the positions lag behind
    assert _looked(made, account(AAPL="40")) == [Split("a1", "AAPL", "AAPL", D(4), NOW)]
    _announced(made)  # late
    assert _looked(made, account(AAPL="40")) == []


def test_half_of_the_activities_waits_for_the_other_half_and_not_for_ever() -> None:
    made = core(AAPL="10")
    assert made.activities_since() == T0  # the ledger's opening
    for body in (Fee("f1", "FEE", "unattributed", "", D(-1), D(0), NOW + 9),):
        made.apply(body)
    assert made.activities_since() == T0 + 9  # first since the start: a day back
    assert conclude(made, PAIR[1]) == []
    assert made.activities_since() == NOW  # the waiting one's time
    assert _looked(made, account(AAPL="40")) == []
    assert conclude(made, *PAIR) == []
    assert len(_looked(made, account(AAPL="40"))) == 1

    made = core(AAPL="10")
    paid = _leg("a1", "-10", cash="3")
    assert [type(body) for body in conclude(made, paid)] == [Fee]
    fee, alert = conclude(made, paid, now=NOW + NS_PER_DAY + 1)
    assert isinstance(fee, Fee)
    assert (fee.quantity, fee.cash) == (-10, 0)  # the cash was booked before
    assert isinstance(alert, Alert)
    assert "half of an exchange" in alert.what
    assert made.state.book.cash == 100_003
    assert conclude(made, paid, now=NOW + NS_PER_DAY + 2) == []


def test_a_kind_we_do_not_know_is_booked_and_a_person_is_told() -> None:
    row = VenueActivity("a1", "ODD", "AAPL", D(5), D(0), NOW, is_known=False)
    made = core()
    kinds = [type(body) for body in conclude(made, row)]
    assert kinds == [Fee, Alert]
    assert conclude(made, row) == []


def test_activities_of_a_change_of_name_and_of_a_merger() -> None:
    made = core(OLD="10", GONE="4")
    conclude(made, _leg("a1", "-10", "OLD", "NC"), _leg("a2", "10", "NEW", "NC"))
    assert _looked(made, account(NEW="10", GONE="4")) == [Split("a1", "OLD", "NEW", D(1), NOW)]
    [paid] = conclude(made, _leg("a3", "-4", "GONE", "MA", cash="200"))
    assert isinstance(paid, Fee)
    assert (paid.cash, paid.quantity) == (200, -4)
    assert conclude(made, _leg("a3", "-4", "GONE", "MA", cash="200")) == []
    assert made.state.book.positions == {"NEW": 10}
    assert made.state.book.cash == 100_200


def test_cash_in_lieu_that_comes_with_the_activity_is_booked_once() -> None:
    made = core(AAPL="15")
    _announced(made, "0.1")
    legs = [_leg("a1", "-15"), _leg("a2", "1", cash="7.5")]
    assert [type(body) for body in conclude(made, *legs)] == [Fee]
    assert len(_looked(made, account("100007.5", AAPL="1"))) == 1
    assert conclude(made, *legs) == []
    assert not made.compare(account("100007.5", AAPL="1"), [], NOW)


# --- open orders through a split -----------------------------------------------------------------------------------------


def _with_order(ratio: str, filled: str = "0", **more: object) -> tuple[ExecutionCore, list[AnyBody]]:
    """A core with an open order, at the last close before a split; and what it says there."""
    of = intent("i1", quantity="10", time_in_force=TimeInForce.GTC, **more)
    accepted = OrderAccepted("i1", "alpha", "AAPL", "venue-i1", T0)
    made = core(SESSION, of, OrderSubmitted("i1", "alpha", "AAPL", T0), accepted)
    if D(filled):
        made.apply(fill(of, filled, filled))
    _announced(made, ratio, at=NOW)
    held = {"AAPL": filled} if D(filled) else {}
    assert _looked(made, account(**held), NOW - 5 * HOUR - 1) == []
    return made, _looked(made, account(**held), NOW - 5 * HOUR)


def _is_wish(said: list[AnyBody]) -> bool:
    assert all(isinstance(body, CancelOrder) and body.by == "executor" for body in said)
    return [body.client_order_id for body in said if isinstance(body, CancelOrder)] == ["i1"]


def test_a_simple_order_goes_along_with_a_forward_split() -> None:
    made, said = _with_order("4", filled="3", order_type=OrderType.LIMIT, limit_px=D("99.99"))
    assert said == []
    made.apply(Split("ca1", "AAPL", "AAPL", D(4), NOW))
    order = made.state.orders["i1"]
    assert (order.intent.quantity, order.filled_qty, order.intent.limit_px) == (31, 3, D("24.99"))
    report = listed("i1", "partially_filled", "3", quantity=D(31))
    assert made.on_orders([report], [], foreign="manual").events == ()
    made.apply(fill(intent("i1"), "28", "31", "25", ts_event=NOW + NS_PER_S))
    assert made.state.book.positions == {"AAPL": 40}


@pytest.mark.parametrize(
    ("ratio", "order_class"),
    [("4", OrderClass.BRACKET), ("4", OrderClass.OCO), ("4", OrderClass.OTO), ("0.1", OrderClass.SIMPLE)],
)
def test_what_does_not_go_along_is_asked_to_end_from_the_last_close_on_and_once(
    ratio: str, order_class: OrderClass
) -> None:
    made, said = _with_order(ratio, order_class=order_class)
    assert _is_wish(said)
    assert made.unwanted(latched=False) == ["i1"]
    assert _looked(made, account(), NOW - HOUR) == []
    made.apply(Split("ca1", "AAPL", "AAPL", D(ratio), NOW))
    assert made.state.orders["i1"].intent.quantity == 10  # as the venue has it until it ends


def test_it_is_due_at_that_close() -> None:
    of = intent("i1", time_in_force=TimeInForce.GTC, order_class=OrderClass.BRACKET)
    made = core(SESSION, of, OrderSubmitted("i1", "alpha", "AAPL", T0))
    _announced(made, at=NOW)
    assert made.due_ns() == NOW  # nothing is held, and the order has not got there yet
    made.apply(OrderAccepted("i1", "alpha", "AAPL", "venue-i1", T0))
    assert made.due_ns() == NOW - 5 * HOUR


def test_a_group_is_asked_to_end_also_when_nobody_announced_the_split() -> None:
    of = intent("i1", time_in_force=TimeInForce.GTC, order_class=OrderClass.BRACKET)
    made = core(of, OrderSubmitted("i1", "alpha", "AAPL", T0), OrderAccepted("i1", "alpha", "AAPL", "venue-i1", T0))
    made.apply(Split("ca1", "AAPL", "AAPL", D(4), NOW))
    report = listed("i1")
    said = list(made.on_orders([report], [], foreign="manual").events)
    assert _is_wish(said)
    made.apply(said[0])
    assert made.on_orders([report], [], foreign="manual").events == ()


def test_an_order_that_the_venue_left_as_it_was_is_asked_to_end() -> None:
    made, _ = _with_order("4")
    made.apply(Split("ca1", "AAPL", "AAPL", D(4), NOW))
    assert made.on_orders([listed("i1", quantity=D(40))], [], foreign="manual").events == ()
    assert _is_wish(list(made.on_orders([listed("i1", quantity=D(10))], [], foreign="manual").events))


def test_orders_of_others_are_theirs_to_end() -> None:
    adopted = OrderAdopted(
        "hand", "manual", "AAPL", Side.BUY, D(10), OrderType.MARKET, TimeInForce.GTC, "v1", Purpose.FOREIGN, T0
    )
    made = core(adopted)
    _announced(made, "0.1", at=NOW)
    assert _looked(made, account(), NOW - 1) == []


def test_an_order_placed_after_the_split_is_as_it_is() -> None:
    late = intent("late", decided_ns=NOW + 1)
    made = core(late, OrderSubmitted("late", "alpha", "AAPL", NOW), OrderAccepted("late", "alpha", "AAPL", "v", NOW))
    made.apply(Split("ca1", "AAPL", "AAPL", D(4), NOW))
    assert made.state.orders["late"].intent.quantity == 10
    assert made.on_orders([listed("late", venue_order_id="v")], [], foreign="manual").events == ()
