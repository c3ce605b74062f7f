"""What may be spent: not the proceeds of shorts, not more than the venue says; and who may sell short."""

from __future__ import annotations

import msgspec
import pytest

from engine.bots import RiskLimits
from engine.execution.funds import funds_news, funds_of
from engine.messages import AnyBody, OrderAccepted, OrderFilled, OrderIntent, RiskDenied, Signal, VenueFunds
from engine.risk import RiskCore, RiskState
from engine.risk.exposure import Exposure
from engine.risk.funds import cash_free
from engine.values import Direction
from tests.engine.build import T0, D, always_open, bot, fill, funds, intent, lent, minute, opened, signal
from tests.engine.desk import dump
from tests.engine.venue_says import account
from tests.engine.venue_says import core as executor

LONG, SHORT = Direction.LONG, Direction.SHORT
LIMITS = RiskLimits(order_notional_usd_max=D(10**6), position_fraction_max=1, opposite_sides=True)


def _core(*bodies: AnyBody, limits: RiskLimits = LIMITS, fraction: float = 1.0, cash: str = "100000") -> RiskCore:
    core = RiskCore([bot(symbols=("AAPL", "MSFT"), position_fraction=fraction)], limits)
    for body in (opened(cash), always_open(), *lent("AAPL", "MSFT"), *bodies):
        core.apply(body)
    return core


def _ask(core: RiskCore, said: Signal) -> AnyBody:
    core.apply(said)
    [answer] = core.decide_waiting(said.ts_event)
    return answer


def _trade(core: RiskCore, said: Signal, px: str = "100") -> OrderIntent:
    made = _ask(core, said)
    assert isinstance(made, OrderIntent), made
    core.apply(OrderAccepted(made.id, made.bot, made.symbol, "v", T0))
    core.apply(fill(made, made.quantity, made.quantity, px))
    core.apply(OrderFilled(made.id, made.bot, made.symbol, "v", made.quantity, D(px), T0))
    return made


def _free(core: RiskCore, limits: RiskLimits = LIMITS) -> object:
    return cash_free(core.state, Exposure(core.state.portfolio, core.state.marks), limits)


def test_the_proceeds_of_a_short_are_not_free_and_it_binds_margin() -> None:
    core = _core(fraction=0.1)
    _trade(core, signal(SHORT))
    assert core.state.portfolio.cash == 110_000
    assert _free(core) == 95_000, "150 % of 10,000 is bound"
    assert _free(core, msgspec.structs.replace(LIMITS, short_margin_fraction=0.0)) == 100_000
    core.apply(signal(SHORT, number=2, price=120.0))
    core.decide_waiting(minute(2))
    assert _free(core) == 92_000, "the more it is worth, the more it binds"


@pytest.mark.parametrize(("capital", "passes"), [("93100", True), ("93137", True), ("93200", False)])
def test_a_buy_beside_a_short_may_cost_what_is_left(capital: str, passes: bool) -> None:
    core = RiskCore([bot(name="beta", capital=D(10_000), position_fraction=1.0, symbols=("MSFT",)),
                     bot(capital=D(capital), position_fraction=1.0)], LIMITS)  # fmt: skip
    for body in (opened(), always_open(), *lent("AAPL", "MSFT")):
        core.apply(body)
    _trade(core, signal(SHORT, bot="beta", symbol="MSFT"))
    answer = _ask(core, signal(LONG, price=1.0))
    assert isinstance(answer, OrderIntent) is passes, answer
    if isinstance(answer, RiskDenied):
        assert (answer.rule, answer.limit, answer.observed) == ("buying_power", "95000", "95064")


def test_a_short_without_a_price_lets_nothing_be_spent() -> None:
    core = RiskCore([bot()], LIMITS)
    for body in (opened(MSFT="-10"), always_open(), *lent("AAPL")):
        core.apply(body)
    denied = _ask(core, signal(LONG))
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.observed) == ("buying_power", "unknown")


@pytest.mark.parametrize(("buying_power", "passes"), [("102000.01", True), ("102000", True), ("101999.99", False)])
def test_the_venues_word_counts_where_it_is_less(buying_power: str, passes: bool) -> None:
    core = _core(funds(buying_power, ts_event=T0 + 1), cash="200000")
    answer = _ask(core, signal(LONG))
    assert isinstance(answer, OrderIntent) is passes, answer
    if isinstance(answer, RiskDenied):
        assert (answer.rule, answer.limit, answer.observed) == ("buying_power", buying_power, "102000")
        assert "venue" in answer.reason


def test_what_follows_a_look_counts_on_the_venues_side_too() -> None:
    """60,000 less than the ledger says: of 70,000, 51,000 are taken by an order of after the look, then given back."""
    core = _core(funds("70000", ts_event=T0 + 1), fraction=0.5, cash="130000")
    first = _ask(core, signal(LONG))
    assert isinstance(first, OrderIntent)
    denied = _ask(core, signal(LONG, symbol="MSFT", number=2))
    assert isinstance(denied, RiskDenied)
    assert (denied.limit, denied.observed) == ("19000", "51000")
    core.apply(OrderFilled(first.id, first.bot, first.symbol, "v", D(0), D(100), T0))  # ended without a fill
    assert isinstance(_ask(core, signal(LONG, symbol="MSFT", number=3)), OrderIntent)


@pytest.mark.parametrize(("is_accepted", "gap"), [(True, -1_000), (False, -52_000)])
def test_an_order_that_the_venue_did_not_have_is_none_of_its_figure(is_accepted: bool, gap: int) -> None:
    core = _core(fraction=0.5)
    made = _ask(core, signal(LONG))
    assert isinstance(made, OrderIntent)
    if is_accepted:
        core.apply(OrderAccepted(made.id, made.bot, made.symbol, "v", T0))
    core.apply(funds("48000", ts_event=minute(2)))
    assert core.state.venue_gap == gap
    core.apply(funds("1", ts_event=minute(1)))
    assert core.state.venue_gap == gap, "an older word is none"
    again = RiskCore([bot()], LIMITS, msgspec.msgpack.decode(dump(core), type=RiskState))
    assert again.state.venue_gap == gap


@pytest.mark.parametrize(
    ("said", "limits", "passes", "observed"),
    [
        (funds(equity="2000.01"), {}, True, ""),
        (funds(equity="2000"), {}, True, ""),
        (funds(equity="1999.99"), {}, False, "1999.99"),
        (funds(equity="1999.99"), {"short_equity_usd_min": None}, True, ""),
        (funds(is_shorting_enabled=False), {}, False, "no"),
        (None, {}, False, "unknown"),
        (None, {"shortable_known": False}, True, ""),
    ],
)
def test_who_may_sell_short(said: VenueFunds | None, limits: dict[str, object], passes: bool, observed: str) -> None:
    core = _core(limits=msgspec.structs.replace(LIMITS, **limits), fraction=0.1)
    core.state.funds = said
    answer = _ask(core, signal(SHORT))
    assert isinstance(answer, OrderIntent) is passes, answer
    if isinstance(answer, RiskDenied):
        assert (answer.rule, answer.observed) == ("shortable", observed)
    assert isinstance(_ask(core, signal(LONG, symbol="MSFT", number=2)), OrderIntent)


@pytest.mark.parametrize(("cash", "passes"), [("2000", True), ("1999.99", False)])
def test_equity_by_the_ledger_counts_too(cash: str, passes: bool) -> None:
    core = RiskCore([bot(capital=D(1000))], LIMITS)
    for body in (opened(cash), always_open(), *lent("AAPL")):
        core.apply(body)
    answer = _ask(core, signal(SHORT))
    assert isinstance(answer, OrderIntent) is passes, answer
    if isinstance(answer, RiskDenied):
        assert (answer.limit, answer.observed) == ("2000", cash)


# --- what executor stores of it --------------------------------------------------------------------------------------


def _said(buying_power: str, equity: str = "100000", shorting: bool = True, **held: str) -> object:
    return msgspec.structs.replace(
        account(**held), buying_power=D(buying_power), equity=D(equity), is_shorting_enabled=shorting
    )


def test_what_the_venue_lets_be_spent_is_stored_where_it_is_news() -> None:
    made = executor()
    first = _said("200000")
    assert funds_news(made.state, first, LIMITS, T0) == (funds_of(first, T0),)  # type: ignore[arg-type]
    made.apply(funds_of(first, T0))  # type: ignore[arg-type]
    stored: list[str] = []
    for number, said in enumerate(
        (
            _said("100000"),  # as much as the ledger has
            _said("99999"),  # less
            _said("99999"),  # the same
            _said("99998"),
            _said("100000"),  # no longer
            _said("150000"),
            _said("150000", equity="1999"),
            _said("150000", equity="1998"),
            _said("150000", equity="2000", shorting=False),
            _said("86000", equity="2000", shorting=False, AAPL="-100"),  # a short binds 15,000
            _said("84999", equity="2000", shorting=False, AAPL="-100"),
        )
    ):
        for news in funds_news(made.state, said, LIMITS, T0 + number):  # type: ignore[arg-type]
            made.apply(news)
            stored.append(f"{number}: {news.buying_power} {news.equity} {news.is_shorting_enabled}")
    assert stored == [
        "1: 99999 100000 True", "3: 99998 100000 True", "4: 100000 100000 True", "6: 150000 1999 True",
        "8: 150000 2000 False", "10: 84999 2000 False",
    ]  # fmt: skip


def test_open_orders_are_taken_off_on_both_sides() -> None:
    made = executor(intent(quantity="10", reserved=D(1020)))
    made.apply(funds("1e9"))
    assert funds_news(made.state, _said("98980"), LIMITS, T0) == ()  # type: ignore[arg-type]
    assert len(funds_news(made.state, _said("98979"), LIMITS, T0)) == 1  # type: ignore[arg-type]
