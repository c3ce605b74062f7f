"""What the venue has against what the ledger has: when a difference counts, what explains it, what becomes of the rest."""

from __future__ import annotations

import msgspec
import pytest

from engine.execution import ExecutionCore, Looks, Seen, Step
from engine.execution.book import FROM_FEES
from engine.execution.reconcile import FROM_ACTIVITIES, Difference
from engine.messages import (
    Alert,
    AnyBody,
    Command,
    Correction,
    Fee,
    OrderAccepted,
    OrderFilled,
    OrderSubmitted,
    TradingState,
)
from engine.ports import VenueAccount
from engine.values import Side, TimeInForce, TradingMode
from tests.engine.build import T0, D, fill, intent
from tests.engine.venue_says import NOW, account, activity, conclude, core, listed

USD = D(1)
ONE = Seen((Difference("AAPL", D(10), D(12)),))


def settled(made: ExecutionCore, theirs: VenueAccount, *, latched: bool = False) -> list[AnyBody]:
    found = made.settle(theirs, usd_max=USD, now_ns=NOW, latched=latched).events
    for body in found:
        made.apply(body)
    return list(found)


# --- when a difference counts --------------------------------------------------------------------------------------------


def test_three_looks_that_show_the_same_with_a_sweep_before_the_last() -> None:
    looks = Looks()
    assert looks.take(ONE, 5, is_idle=True) is Step.AGAIN
    assert looks.is_open
    assert looks.take(ONE, 5, is_idle=True) is Step.SWEEP
    assert looks.take(ONE, 5, is_idle=True) is Step.SETTLE
    assert not looks.is_open


@pytest.mark.parametrize(
    ("seen", "moves", "is_idle"),
    [
        (Seen((Difference("AAPL", D(10), D(13)),)), 5, True),  # another difference
        (ONE, 6, True),  # something was stored in between
        (ONE, 5, False),  # a request is under way
    ],
)
@pytest.mark.parametrize("before", [1, 2])
def test_whatever_could_explain_it_begins_the_count_anew(seen: Seen, moves: int, is_idle: bool, before: int) -> None:
    looks = Looks()
    for _ in range(before):
        looks.take(ONE, 5, is_idle=True)
    assert looks.take(seen, moves, is_idle=is_idle) is Step.AGAIN
    assert looks.take(seen, moves, is_idle=True) is Step.SWEEP
    assert looks.take(seen, moves, is_idle=True) is Step.SETTLE


def test_no_difference_ends_it() -> None:
    looks = Looks()
    looks.take(ONE, 5, is_idle=True)
    assert looks.take(Seen(), 5, is_idle=True) is Step.AGREED
    assert not looks.is_open
    assert looks.take(ONE, 5, is_idle=True) is Step.AGAIN


# --- what differs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        (account(AAPL="10"), ()),
        (account("100000.009", AAPL="10.000000000"), ()),  # less than a cent: the venue rounds
        (account("99999.99", AAPL="10"), (Difference("", D(100_000), D("99999.99")),)),
        (account(AAPL="-10"), (Difference("AAPL", D(10), D(-10)),)),
        (account(), (Difference("AAPL", D(10), D(0)),)),
        (account(AAPL="10", MSFT="1"), (Difference("MSFT", D(0), D(1)),)),
    ],
)
def test_cash_and_positions_are_compared(theirs: VenueAccount, found: tuple[Difference, ...]) -> None:
    assert core(AAPL="10").compare(theirs, [], NOW).account == found


def test_orders_are_compared_with_the_venues_list() -> None:
    accepted = OrderAccepted("i1", "alpha", "AAPL", "venue-i1", T0)
    made = core(intent("i1"), accepted, intent("i2"))  # the second one has not left yet
    leg = listed("leg", "held")
    cases = {
        (): ("i1 gone",),
        (listed("i1"),): (),
        (listed("", venue_order_id="venue-i1"),): (),
        (listed("i1", "canceled"),): ("i1 canceled",),
        (listed("i1", "partially_filled", "4"),): ("i1 filled 4",),
        (listed("i1"), listed("i2")): (),
        (listed("i1"), listed("hand")): ("hand unknown",),
        (listed("i1"), listed("hand", "canceled")): (),  # came and went without a trace
        (listed("i1"), listed("hand", "canceled", "1")): ("hand unknown",),
        (listed("i1", legs=(leg,)),): ("leg unknown",),
    }
    for given, found in cases.items():
        assert made.compare(account(), list(given), NOW).orders == found, given


# --- what nothing explains -----------------------------------------------------------------------------------------------


def test_an_unexplained_position_is_counted_as_unattributed_and_a_person_is_told() -> None:
    made = core(AAPL="10")
    alert, command, correction = settled(made, account(AAPL="12"))
    assert isinstance(correction, Correction)
    fields = msgspec.structs.replace(correction, id="")
    assert fields == Correction(
        "", "unattributed", "AAPL", D(2), D(0), D(10), D(12), "positions",
        "no order, execution, activity or split of the venue explains it", NOW, D(100),
    )  # fmt: skip
    assert isinstance(command, Command)
    assert (command.mode, command.by) == (TradingMode.REDUCING, "executor")
    assert isinstance(alert, Alert)
    assert alert.level == "error"
    assert alert.what.startswith("AAPL is 12 at the venue and 10 in the ledger")
    assert "tapeline resume" in alert.what
    assert not made.compare(account(AAPL="12"), [], NOW)


def test_cash_too() -> None:
    made = core()
    *_, correction = settled(made, account("99000"))
    assert isinstance(correction, Correction)
    assert (correction.symbol, correction.cash, correction.quantity) == ("", D(-1000), D(0))
    assert not made.compare(account("99000"), [], NOW)


@pytest.mark.parametrize(
    ("theirs", "is_told"),
    [
        (account("100001"), False),  # at the limit
        (account("100001.01"), True),
        (account(AAPL="10.01"), False),
        (account(AAPL="10.011"), True),
        (account(prices={}, AAPL="10.01"), True),  # worth what?
    ],
)
def test_small_differences_are_corrected_in_silence(theirs: VenueAccount, is_told: bool) -> None:
    held = {} if not theirs.positions else {"AAPL": "10"}
    kinds = [type(body) for body in settled(core(**held), theirs)]  # type: ignore[arg-type]
    assert kinds == [*([Alert, Command] if is_told else []), Correction]


def test_a_latched_halt_is_left_alone() -> None:
    made = core(TradingState(TradingMode.ACTIVE, "", "c1", T0))
    assert [type(body) for body in settled(made, account("5"), latched=True)] == [Alert, Correction]


def test_while_trading_is_halted_it_is_commanded_too() -> None:
    """A person may be resuming it meanwhile; risk does not let it loosen a halt."""
    made = core(TradingState(TradingMode.HALTED, "", "c1", T0))
    assert [type(body) for body in settled(made, account("5"))] == [Alert, Command, Correction]


def test_many_differences_are_one_command() -> None:
    kinds = [type(body).__name__ for body in settled(core(AAPL="10"), account("5", AAPL="3", MSFT="1"))]
    assert kinds == ["Alert"] * 3 + ["Command"] + ["Correction"] * 3


def test_the_same_correction_has_the_same_id_until_the_ledger_moved() -> None:
    theirs = account(AAPL="12")
    one, two = (
        core(AAPL="10").settle(theirs, usd_max=USD, now_ns=at, latched=False).events[-1] for at in (NOW, NOW + 5)
    )
    assert one.id == two.id  # type: ignore[union-attr]
    made = core(AAPL="10")
    first = settled(made, theirs)[-1]
    made.apply(first)
    assert made.state.book.held("AAPL") == 12  # applied once
    settled(made, account(AAPL="10"))
    again = settled(made, theirs)[-1]
    assert again.id != first.id  # type: ignore[union-attr]


# --- what activities explain ---------------------------------------------------------------------------------------------


def test_an_activity_that_comes_late_takes_the_correction_back() -> None:
    made = core()
    first = settled(made, account("100010"))[-1]
    back, fee = conclude(made, activity("a1", "DIV", "AAPL", cash="10"))
    assert isinstance(fee, Fee)
    assert isinstance(back, Correction)
    assert (back.cash, back.source, back.bot) == (D(-10), FROM_ACTIVITIES, "unattributed")
    assert first.id in back.reason  # type: ignore[union-attr]
    assert not made.compare(account("100010"), [], NOW)
    assert conclude(made, activity("a1", "DIV", "AAPL", cash="10")) == []
    assert [type(body) for body in conclude(made, activity("a2", "DIV", "AAPL", cash="10"))] == [Fee]


def test_an_activity_of_another_amount_takes_nothing_back() -> None:
    made = core()
    settled(made, account("100010"))
    assert [type(body) for body in conclude(made, activity("a1", "CSD", cash="9"))] == [Fee]


def _coins(made: ExecutionCore, side: Side, quantity: str, px: str = "1000", id: str = "c1") -> None:
    of = intent(id, side, quantity, symbol="BTC/USD", time_in_force=TimeInForce.GTC)
    submitted = OrderSubmitted(id, "alpha", "BTC/USD", T0)
    for body in (
        of,
        submitted,
        fill(of, quantity, quantity, px),
        OrderFilled(id, "alpha", "BTC/USD", "v", D(1), D(1), T0),
    ):
        made.apply(body)


def test_a_fee_in_coins_that_is_not_posted_yet_is_taken_off_its_bot_in_silence_and_given_back_when_it_is() -> None:
    made = core()
    _coins(made, Side.BUY, "2")
    theirs = account("98000", BTC_USD="1.995")
    [advance] = settled(made, theirs)
    assert isinstance(advance, Correction)
    assert (advance.bot, advance.quantity, advance.source) == ("alpha", D("-0.005"), FROM_FEES)
    assert not made.compare(theirs, [], NOW)
    back, fee = conclude(made, activity("f1", "CFEE", "BTC/USD", quantity="-0.005"))
    assert isinstance(fee, Fee)
    assert isinstance(back, Correction)
    assert (back.bot, back.quantity, back.source) == ("alpha", D("0.005"), FROM_FEES)
    assert not made.compare(theirs, [], NOW)
    assert made.state.book.advanced == {}


def test_two_fees_of_one_answer_give_an_advance_back_once() -> None:
    """Of two trades, only the first fee was missing when the account was looked at; both are posted later."""
    made = core()
    _coins(made, Side.BUY, "4")
    [advance] = settled(made, account("96000", BTC_USD="3.995"))
    assert isinstance(advance, Correction)
    conclude(
        made,
        activity("f1", "CFEE", "BTC/USD", quantity="-0.005"),
        activity("f2", "CFEE", "BTC/USD", quantity="-0.005"),
    )
    assert made.state.book.held("BTC/USD") == D("3.99")
    assert made.state.book.advanced == {}


def test_more_than_a_fee_is_no_fee() -> None:
    made = core()
    _coins(made, Side.BUY, "2")
    assert [type(body) for body in settled(made, account("98000", BTC_USD="1.98"))] == [Alert, Command, Correction]


def test_a_fee_in_dollars_that_is_not_posted_yet_is_no_difference() -> None:
    made = core(BTC_USD="2")
    _coins(made, Side.SELL, "1")
    assert not made.compare(account("100997", BTC_USD="1"), [], NOW)
    assert made.compare(account("100996.99", BTC_USD="1"), [], NOW)
    conclude(made, activity("f1", "CFEE", "BTC/USD", cash="-2.5"))
    assert not made.compare(account("100997.5", BTC_USD="1"), [], NOW)
    assert made.compare(account("100996.99", BTC_USD="1"), [], NOW)
