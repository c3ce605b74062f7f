"""The fold: one verdict per signal, nothing counted twice, and the same outputs from any point on."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.bots import RiskLimits
from engine.ids import make_id
from engine.messages import (
    Account,
    AnyBody,
    Fee,
    Fill,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderSubmitted,
    Position,
    RiskDenied,
    Sessions,
    Signal,
    TargetReached,
    body_json,
)
from engine.risk import RiskCore, RiskState
from engine.values import NS_PER_MINUTE, NS_PER_MS, AssetClass, Direction, OrderType, Side, TimeInForce
from tests.engine.build import T0, D, always_open, bot, fill, intent, lent, minute, opened, signal
from tests.engine.desk import day, decide, dump, fresh

LONG, SHORT, FLAT = Direction.LONG, Direction.SHORT, Direction.FLAT
NOW = minute(1)


def _core(*bodies: AnyBody, cash: str = "100000", limits: RiskLimits | None = None) -> RiskCore:
    core = RiskCore([bot(symbols=("AAPL", "BTC/USD"))], limits or RiskLimits())
    for body in (opened(cash), always_open(), *lent("AAPL"), *bodies):
        core.apply(body)
    return core


def _ask(core: RiskCore, said: Signal, now_ns: int = 0) -> list[AnyBody]:
    core.apply(said)
    return list(core.decide_waiting(now_ns or said.ts_event))


def _fill_all(core: RiskCore, of: OrderIntent, px: str = "100") -> list[AnyBody]:
    ledger = core.apply(fill(of, of.quantity, of.quantity, px))
    core.apply(OrderFilled(of.id, of.bot, of.symbol, f"venue-{of.id}", of.quantity, D(px), T0))
    return ledger


def _intent(verdicts: list[AnyBody]) -> OrderIntent:
    [verdict] = verdicts
    assert isinstance(verdict, OrderIntent), verdict
    return verdict


# --- one signal ----------------------------------------------------------------------------------------------------------


def test_an_approved_signal_becomes_an_order_with_everything_it_rests_on() -> None:
    core = _core()
    said = signal(LONG, price=100.004)
    made = _intent(_ask(core, said, NOW + 5))
    assert made == OrderIntent(
        id=make_id("ACC1", "run1", "alpha", "verdict", said.id, 0),
        signal_id=said.id,
        bot="alpha",
        symbol="AAPL",
        side=Side.BUY,
        quantity=D(100),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        ref_px=D("100.00"),
        reserved=D(10_200),
        decided_ns=NOW + 5,
        valid_until=NOW + 5 + 120_000 * NS_PER_MS,
    )
    book = core.state.portfolio
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (10_200, 100)


def test_crypto_is_good_till_canceled_and_in_coins() -> None:
    made = _intent(_ask(_core(), signal(LONG, symbol="BTC/USD", price=36_500.0)))
    assert (made.side, made.quantity, made.time_in_force) == (Side.BUY, D("0.273972602"), TimeInForce.GTC)


def test_a_target_that_is_held_is_answered_without_a_trade() -> None:
    core = _core()
    of = _intent(_ask(core, signal(LONG)))
    [still] = _ask(core, signal(LONG, number=2))
    assert isinstance(still, TargetReached)
    assert still.reason == "held 0 and working 100 are the target"
    _fill_all(core, of)
    [done] = _ask(core, signal(LONG, number=3))
    assert isinstance(done, TargetReached)
    assert done.reason == "held 100 and working 0 are the target"


def test_a_denial_says_what_was_compared() -> None:
    core = _core(limits=RiskLimits(order_notional_usd_max=D("9999.99")))
    [denied] = _ask(core, signal(LONG))
    assert denied == RiskDenied(
        id=core.verdict_id(signal(LONG), 0),
        signal_id=signal(LONG).id,
        bot="alpha",
        symbol="AAPL",
        rule="order_notional_usd_max",
        reason="the order is too large",
        limit="9999.99",
        observed="10000",
        decided_ns=NOW,
        side=Side.BUY,
        quantity=D(100),
    )
    assert core.state.portfolio.reserved == 0


@pytest.mark.parametrize("more", [{"bot": "ghost"}, {"symbol": "MSFT"}])
def test_a_signal_nobody_is_configured_for_is_denied(more: dict[str, str]) -> None:
    [denied] = _ask(_core(), signal(LONG, **more))  # type: ignore[arg-type]
    assert isinstance(denied, RiskDenied)
    assert denied.rule == "bot"


def test_the_calendar_of_another_market_does_not_open_the_stock_exchange() -> None:
    core = RiskCore([bot()], RiskLimits())
    core.apply(opened())
    core.apply(Sessions(AssetClass.CRYPTO, ((0, 1 << 62),), T0))
    [denied] = _ask(core, signal(LONG))
    assert isinstance(denied, RiskDenied)
    assert denied.rule == "session"


def test_sessions_survive_a_checkpoint() -> None:
    core = _core()
    again = RiskCore([bot()], RiskLimits(), msgspec.msgpack.decode(dump(core), type=RiskState))
    _intent(_ask(again, signal(LONG)))


def test_only_the_first_opening_of_the_ledger_counts() -> None:
    core = _core()
    core.apply(opened("5"))
    assert core.state.portfolio.cash == 100_000
    assert (core.state.account, core.state.run) == ("ACC1", "run1")


def test_what_was_held_before_belongs_to_no_bot() -> None:
    core = RiskCore([bot()], RiskLimits())
    core.apply(opened(AAPL="-3"))
    assert core.state.portfolio.net() == {"AAPL": D(-3)}
    assert core.state.portfolio.signed_qty("alpha", "AAPL") == 0


# --- redelivery ----------------------------------------------------------------------------------------------------------


def test_a_signal_gets_one_verdict_however_often_it_comes() -> None:
    core = _core()
    said, later = signal(LONG), signal(FLAT, number=2)
    of = _intent(_ask(core, said))
    assert _ask(core, said) == []
    core.apply(of)
    assert _ask(core, said) == []
    _fill_all(core, of)
    assert len(_ask(core, later)) == 1
    assert _ask(core, said) == []
    assert _ask(core, later) == []


def test_two_copies_in_one_batch_get_one_verdict() -> None:
    core = _core()
    core.apply(signal(LONG))
    core.apply(signal(LONG))
    assert len(core.decide_waiting(NOW)) == 1


def test_the_same_content_under_another_id_is_denied_as_duplicate() -> None:
    core = _core()
    _intent(_ask(core, signal(LONG)))
    core.apply(OrderExpired(core.verdict_id(signal(LONG), 0), "alpha", "AAPL", "not_sent", T0))
    [denied] = _ask(core, signal(LONG, id="other"))
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.limit, denied.observed) == ("duplicate", signal(LONG).id, "other")


def test_our_own_verdicts_and_every_event_twice_change_nothing() -> None:
    core = _core()
    of = _intent(_ask(core, signal(LONG)))
    for body in (
        of,
        OrderSubmitted(of.id, "alpha", "AAPL", T0),
        fill(of, "40", "40"),
        Fee("f1", "FEE", "alpha", "AAPL", D("-0.1"), D(0), T0),
        fill(of, "60", "100"),
        OrderFilled(of.id, "alpha", "AAPL", "v", D(100), D(100), T0),
    ):
        core.apply(body)
        before = dump(core)
        assert core.apply(body) == []
        assert dump(core) == before


def test_a_fill_that_was_booked_is_not_booked_again_even_late() -> None:
    core = _core()
    of = _intent(_ask(core, signal(LONG)))
    first, second = fill(of, "40", "40"), fill(of, "60", "100")
    assert len(core.apply(first)) == 2
    assert len(core.apply(second)) == 2
    assert core.apply(first) == []
    assert core.state.portfolio.signed_qty("alpha", "AAPL") == 100
    assert core.state.portfolio.cash == 90_000


# --- the ledger ----------------------------------------------------------------------------------------------------------


def test_a_fill_is_followed_by_position_and_account_that_name_it() -> None:
    core = _core()
    of = _intent(_ask(core, signal(LONG)))
    assert core.apply(fill(of, "40", "40.0", "99.5", commission=D("1"))) == [
        Position("alpha", "AAPL", D(40), D("99.5"), D(-1), f"venue-{of.id}|40", T0),
        Account(D(96_019), D(6_120), D(-1), f"venue-{of.id}|40", T0),
    ]


def test_a_fee_is_booked_once_and_named() -> None:
    core = _core()
    fee = Fee("act-1", "CFEE", "alpha", "BTC/USD", D("-0.5"), D("-0.001"), T0)
    position, account = core.apply(fee)
    assert isinstance(position, Position)
    assert isinstance(account, Account)
    assert (position.signed_qty, position.cause, account.cash, account.cause) == (
        D("-0.001"), "act-1", D("99999.5"), "act-1",
    )  # fmt: skip
    assert core.apply(fee) == []


@pytest.mark.parametrize(
    "end",
    [
        lambda of: OrderRejected(of.id, of.bot, of.symbol, "403", "no", T0),
        lambda of: OrderCanceled(of.id, of.bot, of.symbol, "v", D(0), T0),
        lambda of: OrderExpired(of.id, of.bot, of.symbol, "not_sent", T0),
        lambda of: OrderFilled(of.id, of.bot, of.symbol, "v", of.quantity, D(100), T0),
    ],
)
def test_every_end_of_an_order_gives_back_what_it_held(end: object) -> None:
    core = _core()
    of = _intent(_ask(core, signal(LONG)))
    core.apply(end(of))  # type: ignore[operator]
    book = core.state.portfolio
    assert (book.reserved, book.working, book.reservations) == (0, {}, {})


def test_reservations_of_other_symbols_count_against_the_cash() -> None:
    core = _core(cash="10200", limits=RiskLimits(position_fraction_max=1.0))
    _intent(_ask(core, signal(LONG)))
    [denied] = _ask(core, signal(LONG, symbol="BTC/USD", price=36_500.0))
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.limit) == ("buying_power", "0")


# --- waiting -------------------------------------------------------------------------------------------------------------


def test_a_signal_against_a_working_order_waits_for_its_end() -> None:
    core = _core()
    buy = _intent(_ask(core, signal(LONG)))
    core.apply(fill(buy, "30", "30"))
    assert _ask(core, signal(FLAT, number=2)) == []
    assert core.decide_waiting(minute(2)) == []
    core.apply(OrderCanceled(buy.id, "alpha", "AAPL", "v", D(30), T0))
    sell = _intent(list(core.decide_waiting(minute(2) + 7)))
    assert (sell.side, sell.quantity, sell.decided_ns, sell.reserved) == (Side.SELL, D(30), minute(2) + 7, D(0))


def test_a_newer_signal_supersedes_the_waiting_one() -> None:
    core = _core()
    buy = _intent(_ask(core, signal(LONG)))
    waiting, newer = signal(FLAT, number=2), signal(LONG, number=3)
    assert _ask(core, waiting) == []
    denied, reached = _ask(core, newer)
    assert isinstance(denied, RiskDenied)
    assert (denied.signal_id, denied.rule, denied.observed) == (waiting.id, "superseded", waiting.id)
    assert isinstance(reached, TargetReached)
    assert reached.signal_id == newer.id
    _fill_all(core, buy)
    assert core.decide_waiting(minute(4)) == []


def test_a_signal_that_waited_too_long_is_judged_by_its_age() -> None:
    core = _core()
    buy = _intent(_ask(core, signal(LONG)))
    assert _ask(core, signal(SHORT, number=2)) == []
    core.apply(OrderCanceled(buy.id, "alpha", "AAPL", "v", D(0), T0))
    [denied] = core.decide_waiting(minute(2) + 121_000 * NS_PER_MS)
    assert isinstance(denied, RiskDenied)
    assert denied.rule == "bar_age_ms_max"


def test_through_zero_goes_in_two_orders_the_second_after_the_first_has_filled() -> None:
    core = _core()
    _fill_all(core, _intent(_ask(core, signal(LONG))))
    said = signal(SHORT, number=2)
    out = _intent(_ask(core, said))
    assert (out.side, out.quantity, out.reserved) == (Side.SELL, D(100), D(0))
    assert core.decide_waiting(minute(2)) == []
    core.apply(fill(out, "60", "60"))
    assert core.decide_waiting(minute(2)) == []
    core.apply(fill(out, "40", "100"))
    core.apply(OrderFilled(out.id, "alpha", "AAPL", "v", D(100), D(100), T0))
    into = _intent(list(core.decide_waiting(minute(2) + 9)))
    assert (into.side, into.quantity, into.signal_id) == (Side.SELL, D(100), said.id)
    assert (into.id, out.id) == (core.verdict_id(said, 1), core.verdict_id(said, 0))
    assert into.reserved == D(10_200)
    _fill_all(core, into)
    assert core.decide_waiting(minute(3)) == []
    assert core.state.waiting == {}


def test_a_second_leg_that_was_not_reached_goes_on_from_what_is_held() -> None:
    core = _core()
    _fill_all(core, _intent(_ask(core, signal(LONG))))
    said = signal(SHORT, number=2)
    out = _intent(_ask(core, said))
    core.apply(fill(out, "60", "60"))
    core.apply(OrderCanceled(out.id, "alpha", "AAPL", "v", D(60), T0))
    again = _intent(list(core.decide_waiting(minute(2))))
    assert (again.quantity, again.id) == (D(40), core.verdict_id(said, 1))
    _fill_all(core, again)
    into = _intent(list(core.decide_waiting(minute(2))))
    assert (into.quantity, into.id) == (D(100), core.verdict_id(said, 2))


def test_a_new_signal_takes_the_place_of_a_second_leg() -> None:
    core = _core()
    _fill_all(core, _intent(_ask(core, signal(LONG))))
    out = _intent(_ask(core, signal(SHORT, number=2)))
    _fill_all(core, out)
    first, second = _ask(core, signal(FLAT, number=3))
    assert isinstance(first, RiskDenied)
    assert (first.rule, first.id) == ("superseded", core.verdict_id(signal(SHORT, number=2), 1))
    assert isinstance(second, TargetReached)


def test_a_short_target_waits_while_the_order_out_of_the_long_one_works() -> None:
    """Expected flat is not flat: the venue holds the 100 for the first order and refuses a second as too large."""
    core = _core()
    _fill_all(core, _intent(_ask(core, signal(LONG))))
    out = _intent(_ask(core, signal(FLAT, number=2)))
    assert _ask(core, signal(SHORT, number=3)) == []
    core.apply(fill(out, "99", "99"))
    assert core.decide_waiting(minute(3)) == []
    core.apply(fill(out, "1", "100"))
    core.apply(OrderFilled(out.id, "alpha", "AAPL", "v", D(100), D(100), T0))
    into = _intent(list(core.decide_waiting(minute(3))))
    assert (into.side, into.quantity) == (Side.SELL, D(100))


def test_more_of_the_same_side_need_not_wait() -> None:
    core = _core()
    buy = _intent(_ask(core, signal(LONG, strength=0.5)))
    more = _intent(_ask(core, signal(LONG, number=2)))
    assert [buy.quantity, more.quantity] == [50, 50]


# --- any day -------------------------------------------------------------------------------------------------------------

_seeds = st.integers(0, 1_000_000)


def _verdicts(bodies: list[AnyBody]) -> list[OrderIntent | RiskDenied | TargetReached]:
    return [body for body in bodies if isinstance(body, OrderIntent | RiskDenied | TargetReached)]


@given(_seeds)
def test_each_signal_gets_one_verdict_and_no_order_goes_against_another(seed: int) -> None:
    steps = day(seed)
    verdicts = _verdicts([body for step in steps for body in step.outputs])
    ids = [verdict.id for verdict in verdicts]
    assert len(ids) == len(set(ids))
    legs: dict[str, list[object]] = defaultdict(list)
    for verdict in verdicts:
        legs[verdict.signal_id].append(verdict)
    for answers in legs.values():
        # More than one verdict where an order that stops at zero came first, or an exit is asked for again.
        ended = next((at for at, answer in enumerate(answers) if not isinstance(answer, OrderIntent)), len(answers))
        again = [answer for answer in answers[ended + 1 :] if isinstance(answer, OrderIntent)]
        assert all(not answer.reserved for answer in again), "an entry after a denial of its signal"
    _check_orders(steps)


def _check_orders(steps: list[object]) -> None:
    working: dict[str, tuple[OrderIntent, Decimal]] = {}
    held: dict[tuple[str, str], Decimal] = defaultdict(lambda: D(0))
    booked: set[tuple[str, Decimal]] = set()
    charged: set[str] = set()
    for step in steps:
        for body in step.inputs:  # type: ignore[attr-defined]
            match body:
                case Fill() if (body.venue_order_id, body.cum_qty) not in booked:
                    booked.add((body.venue_order_id, body.cum_qty))
                    held[body.bot, body.symbol] += body.side.sign * body.last_qty
                    if body.client_order_id in working:
                        of, leaves = working[body.client_order_id]
                        working[body.client_order_id] = (of, leaves - body.last_qty)
                case Fee() if body.id not in charged:
                    charged.add(body.id)
                    held[body.bot, body.symbol] += body.quantity
                case OrderRejected() | OrderFilled() | OrderCanceled() | OrderExpired():
                    working.pop(body.client_order_id, None)
                case _:
                    pass
        for body in step.outputs:  # type: ignore[attr-defined]
            if isinstance(body, OrderIntent):
                beside = [pair for pair in working.values() if (pair[0].bot, pair[0].symbol) == (body.bot, body.symbol)]
                assert {of.side for of, _ in beside} <= {body.side}
                now = held[body.bot, body.symbol]
                if now * body.side.sign < 0:
                    # All sells that work on a long position together sell no more than there is.
                    assert sum(leaves for _, leaves in beside) + body.quantity <= abs(now)
                working[body.id] = (body, body.quantity)


@given(_seeds, st.integers(0, 39), st.data())
def test_from_any_point_the_outputs_are_those_of_the_undisturbed_run(seed: int, cut: int, data: st.DataObject) -> None:
    """The state goes through a checkpoint in the middle of a step: everything after it comes out byte by byte."""
    steps = day(seed)
    core = fresh()
    for step in steps[:cut]:
        assert decide(core, step.inputs, step.now_ns) == step.outputs
    inside = data.draw(st.integers(0, len(steps[cut].inputs)), label="inside")
    ledger = [body for item in steps[cut].inputs[:inside] for body in core.apply(item)]
    core = fresh(dump(core))
    outputs = ledger + decide(core, steps[cut].inputs[inside:], steps[cut].now_ns)
    assert [body_json(body) for body in outputs] == [body_json(body) for body in steps[cut].outputs]
    for step in steps[cut + 1 :]:
        found = decide(core, step.inputs, step.now_ns)
        assert [body_json(body) for body in found] == [body_json(body) for body in step.outputs]


@given(_seeds, st.integers(0, 39), st.integers(0, 39), st.booleans())
@example(seed=403094, checkpoint=0, crash=9, stored=False)  # the rest of a crossing, superseded
def test_a_role_that_reads_its_own_verdicts_back_goes_on_as_if_it_had_made_them(
    seed: int, checkpoint: int, crash: int, stored: bool
) -> None:
    """Killed after the inputs of step `crash`, with or without its outputs in the stream; the checkpoint is older."""
    steps = day(seed)
    checkpoint = min(checkpoint, crash)
    live = fresh()
    for step in steps[:checkpoint]:
        decide(live, step.inputs, step.now_ns)
    saved = dump(live)
    for step in steps[checkpoint:crash]:
        decide(live, step.inputs, step.now_ns)

    # Recovery applies the whole stream up to its end, silently; outputs of a step are the first inputs of the next.
    again = fresh(saved)
    for step in steps[checkpoint:crash]:
        for body in step.inputs:
            again.apply(body)
    here = steps[crash]
    for body in here.inputs:
        again.apply(body)
        live.apply(body)
    if stored:
        live.decide_waiting(here.now_ns)
        for body in here.outputs:
            again.apply(body)
    assert msgspec.to_builtins(again.state) == msgspec.to_builtins(live.state)
    assert list(again.state.waiting) == list(live.state.waiting)
    expected = [] if stored else _verdicts(here.outputs)
    if not stored:
        assert again.decide_waiting(here.now_ns) == expected


def test_days_hold_what_the_tests_above_are_about() -> None:
    """Guard: were the made days dull, the properties would hold for nothing."""
    seen: dict[str, int] = defaultdict(int)
    for seed in range(30):
        for step in day(seed):
            for body in step.outputs:
                seen[body.rule if isinstance(body, RiskDenied) else type(body).__name__] += 1
                if isinstance(body, OrderIntent) and body.id == fresh_id(body, 1):
                    seen["second leg"] += 1
    for kind in ("OrderIntent", "TargetReached", "Position", "superseded", "bot", "buying_power", "second leg",
                 "bar_age_ms_max", "order_notional_usd_max"):  # fmt: skip
        assert seen[kind] >= 3, (kind, dict(seen))


def fresh_id(of: OrderIntent, ordinal: int) -> str:
    return make_id("ACC1", "run1", of.bot, "verdict", of.signal_id, ordinal)


def test_the_memory_of_fills_and_fees_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.risk.state._REMEMBERED_MAX", 10)
    core = _core()
    for number in range(50):
        of = intent(f"o{number}")
        core.apply(fill(of, "1", "1"))
        core.apply(Fee(f"f{number}", "FEE", "alpha", "AAPL", D(-1), D(0), T0 + NS_PER_MINUTE * number))
    assert len(core.state.filled) == len(core.state.fees) == 10
    assert "venue-o49" in core.state.filled
