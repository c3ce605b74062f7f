"""Bots that trade one coin pay their own fees, in whatever order and however late the venue posts them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import pytest

from engine.execution import ExecutionCore
from engine.execution.charges import Charge, added, give_back, match, shared
from engine.messages import AnyBody, Correction, Fee, OrderFilled, OrderSubmitted
from engine.values import NS_PER_DAY, Side, TimeInForce
from tests.engine.build import T0, D, fill, intent
from tests.engine.test_reconcile import settled
from tests.engine.venue_says import account, activity, conclude, core

BTC = "BTC/USD"


def _trade(made: ExecutionCore, bot: str, side: Side, quantity: str, id: str) -> None:
    of = intent(id, side, quantity, bot=bot, symbol=BTC, time_in_force=TimeInForce.GTC)
    whole = D(quantity)
    for body in (
        of,
        OrderSubmitted(id, bot, BTC, T0),
        fill(of, quantity, quantity, "1000"),
        OrderFilled(id, bot, BTC, f"v{id}", whole, D(1000), T0),
    ):
        made.apply(body)


def _coins(bodies: Sequence[AnyBody]) -> dict[str, Decimal]:
    """What each bot has less, in coins."""
    taken: defaultdict[str, Decimal] = defaultdict(Decimal)
    for body in bodies:
        if isinstance(body, Fee | Correction):
            taken[body.bot] -= body.quantity
    return {bot: quantity for bot, quantity in taken.items() if quantity}


FEES = (("f1", "-0.0025"), ("f2", "-0.005"), ("f3", "-0.00125"))
OWN = {"alpha": D("0.00375"), "beta": D("0.005")}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("is_together", [True, False])
def test_each_pays_for_its_own_buys(order: tuple[int, ...], is_together: bool) -> None:
    made = core()
    for number, (bot, quantity) in enumerate((("alpha", "1"), ("beta", "2"), ("alpha", "0.5"))):
        _trade(made, bot, Side.BUY, quantity, f"c{number}")
    posted = [activity(FEES[n][0], "CFEE", BTC, quantity=FEES[n][1]) for n in order]
    answers = [posted] if is_together else [[one] for one in posted]
    assert _coins([body for answer in answers for body in conclude(made, *answer)]) == OWN
    assert made.state.book.charges == {BTC: []}


def test_fees_in_usd_are_of_those_that_sold() -> None:
    made = core()
    _trade(made, "alpha", Side.BUY, "3", "c0")
    for number, (bot, quantity) in enumerate((("alpha", "1"), ("beta", "2")), 1):
        _trade(made, bot, Side.SELL, quantity, f"c{number}")
    posted = (activity(f"f{usd}", "CFEE", BTC, cash=usd) for usd in ("-5", "-2.5"))
    fees = [body for body in conclude(made, *posted) if isinstance(body, Fee)]
    assert [(fee.bot, fee.cash) for fee in fees] == [("beta", D(-5)), ("alpha", D("-2.5"))]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_what_is_not_posted_yet_is_taken_off_each_and_given_back_to_each(order: tuple[int, ...]) -> None:
    made = core()
    for number, (bot, quantity) in enumerate((("alpha", "1"), ("beta", "2"), ("alpha", "0.5"))):
        _trade(made, bot, Side.BUY, quantity, f"c{number}")
    theirs = account("96500", BTC_USD="3.49125")
    bodies = settled(made, theirs)
    assert _coins(bodies) == OWN
    assert not made.compare(theirs, [], T0)
    for n in order:
        bodies += conclude(made, activity(FEES[n][0], "CFEE", BTC, quantity=FEES[n][1]))
    assert _coins(bodies) == OWN
    assert made.state.book.advanced == {}
    assert not made.compare(theirs, [], T0)


def test_killed_between_two_advances_the_rest_is_taken_off_the_other() -> None:
    made = core()
    for number, (bot, quantity) in enumerate((("alpha", "1"), ("beta", "2"))):
        _trade(made, bot, Side.BUY, quantity, f"c{number}")
    theirs = account("97000", BTC_USD="2.9925")
    first, second = made.settle(theirs, usd_max=D(1), now_ns=T0, latched=False).events
    assert isinstance(first, Correction)
    made.apply(first)
    [again] = settled(made, theirs)
    assert isinstance(again, Correction)
    assert isinstance(second, Correction)
    assert (again.bot, again.quantity) == (second.bot, second.quantity)
    assert not made.compare(theirs, [], T0)


def test_a_fee_of_many_trades_together_is_of_the_last_one() -> None:
    made = core()
    for number, bot in enumerate(("alpha", "beta")):
        _trade(made, bot, Side.BUY, "1", f"c{number}")
    [fee] = conclude(made, activity("f", "CFEE", BTC, quantity="-0.005"))
    assert isinstance(fee, Fee)
    assert fee.bot == "beta"


def test_what_is_shared_out_is_all_of_it() -> None:
    charges = [Charge("alpha", True, D("0.333333333"), T0), Charge("beta", True, D("0.666666667"), T0)]
    parts = shared(charges, {}, D("0.000000007"))
    assert sum(parts.values()) == D("0.000000007")
    assert set(parts) == {"alpha", "beta"}
    assert shared(charges, {"alpha": D(1), "beta": D(1)}, D("0.001")) == {}
    assert shared([], {}, D("0.001")) == {}


def test_parts_that_were_rounded_are_given_back_whole() -> None:
    advanced = {"alpha": D("0.000000003"), "beta": D("0.000000004")}
    give_back(advanced, "alpha", D("0.000000004"))
    assert advanced == {"beta": D("0.000000003")}
    give_back(advanced, "beta", D("0.000000003"))
    assert advanced == {}


def test_old_charges_are_forgotten() -> None:
    charges = added([], Charge("alpha", True, D(1), T0))
    assert len(added(charges, Charge("beta", True, D(1), T0 + 2 * NS_PER_DAY))) == 2
    assert [one.bot for one in added(charges, Charge("beta", True, D(1), T0 + 3 * NS_PER_DAY))] == ["beta"]
    assert match(charges, D("0.0031"), is_buy=True) is None
    assert match(charges, D("0.0025"), is_buy=False) is None
