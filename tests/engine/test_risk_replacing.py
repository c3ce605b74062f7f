"""Changing a working order: the new terms pass the same rules as a new order, and the dearer of both is reserved."""

from __future__ import annotations

import msgspec
import pytest

from engine.bots import OrderStyle, RiskLimits, Stops
from engine.messages import (
    AnyBody,
    Command,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderReplaced,
    ReplaceOrder,
    RiskDenied,
    Sessions,
    SymbolStatus,
)
from engine.risk import RiskCore, RiskState
from engine.values import NS_PER_MINUTE, AssetClass, Direction, OrderType, Purpose, Side, TradingMode
from tests.engine.build import T0, D, always_open, bot, fill, lent, minute, opened, signal
from tests.engine.desk import dump

NOW = minute(1) + NS_PER_MINUTE // 2
LIMIT = bot(position_fraction=0.5, order=OrderStyle(type=OrderType.LIMIT))
OPEN = RiskLimits(position_fraction_max=1)


def _core(limits: RiskLimits = OPEN, *bodies: AnyBody) -> RiskCore:
    core = RiskCore([LIMIT], limits)
    for body in (opened(), always_open(), *lent("AAPL"), *bodies):
        core.apply(body)
    return core


def _order(core: RiskCore, direction: Direction = Direction.LONG, number: int = 1) -> OrderIntent:
    core.apply(signal(direction, number=number))
    [made] = core.decide_waiting(minute(number))
    assert isinstance(made, OrderIntent), made
    core.apply(OrderAccepted(made.id, made.bot, made.symbol, f"venue-{made.id}", T0))
    return made


def _wish(core: RiskCore, of: OrderIntent, now_ns: int = NOW, id: str = "w1", **more: object) -> AnyBody:
    numbers = {name: D(str(value)) for name, value in more.items()}
    core.apply(ReplaceOrder(id, of.id, "test", "ann", now_ns, **numbers))  # type: ignore[arg-type]
    [answer] = core.decide_waiting(now_ns)
    return answer


def _denied(core: RiskCore, of: OrderIntent, **more: object) -> RiskDenied:
    before = dump(core)
    denied = _wish(core, of, **more)
    assert isinstance(denied, RiskDenied), denied
    del core.state.commands["w1"]
    assert dump(core) == before, "a denial changes nothing"
    return denied


def test_an_order_that_would_cost_more_than_one_may_is_denied() -> None:
    """500 at 100 are 50,000 and pass; at 129 they are 64,500."""
    core = _core()
    old = _order(core)
    assert (old.quantity, old.limit_px) == (500, 100)
    denied = _denied(core, old, limit_px=129)
    assert (denied.rule, denied.limit, denied.observed) == ("order_notional_usd_max", "50000", "64500")
    assert (denied.side, denied.signal_id) == (Side.BUY, "w1")


def test_what_the_old_order_takes_is_not_counted_twice() -> None:
    """51,000 of 100,000 are reserved; 51,510 for the new price fit only without them."""
    core = _core(msgspec.structs.replace(OPEN, order_notional_usd_max=D(60_000), gross_exposure_usd_max=D(50_000)))
    old = _order(core)
    new = _wish(core, old, limit_px=101)
    assert isinstance(new, OrderIntent)
    assert (new.limit_px, new.quantity, new.replaces, new.reserved) == (101, 500, old.id, 51_510)


@pytest.mark.parametrize(
    ("limits", "bodies", "change", "rule"),
    [
        ({"gross_exposure_usd_max": D(1)}, (), {"limit_px": 99}, "gross_exposure_usd_max"),
        ({"position_fraction_max": 0.1}, (), {"limit_px": 99}, "position_fraction_max"),
        ({"collar_fraction_max": 0.1}, (), {"limit_px": 99}, "collar_fraction_max"),
        ({"orders_per_min_max": 1}, (), {"limit_px": 99}, "orders_per_min_max"),
        ({"restricted_symbols": ("AAPL",)}, (), {"limit_px": 99}, "restricted_symbols"),
        ({"order_notional_usd_max": D(10**6)}, (), {"limit_px": 129}, None),
        ({"order_notional_usd_max": D(10**6), "price_buffer_fraction": 0.6}, (), {"limit_px": 129}, "buying_power"),
        ({}, (SymbolStatus("AAPL", "statuses", "T1", T0, is_halted=True),), {"limit_px": 99}, "symbol_status"),
        ({}, (SymbolStatus("AAPL", "lulds", "band", T0, high_px=D(98)),), {"limit_px": 99}, "price_band"),
        ({}, (Command("c", TradingMode.REDUCING, "odd", "ann", T0),), {"limit_px": 99}, "trading_mode"),
        ({}, (Command("c", TradingMode.HALTED, "odd", "ann", T0),), {"limit_px": 99}, "trading_mode"),
        ({}, (), {"limit_px": 131}, "price_move_fraction_max"),
        ({}, (), {"limit_px": "NaN"}, "price_sanity"),
        ({}, (), {"quantity": "NaN"}, "replace"),
        ({}, (), {"quantity": 501}, "replace"),
    ],
)
def test_the_rules_of_an_order_are_those_of_its_replacement(
    limits: dict[str, object], bodies: tuple[AnyBody, ...], change: dict[str, object], rule: str | None
) -> None:
    core = _core()
    old = _order(core)
    state = msgspec.msgpack.decode(dump(core), type=RiskState)
    later = RiskCore([LIMIT], msgspec.structs.replace(OPEN, **limits), state)
    for body in bodies:
        later.apply(body)
    if rule is None:
        assert isinstance(_wish(later, old, **change), OrderIntent)
    else:
        assert _denied(later, old, **change).rule == rule


def test_outside_the_session_an_order_stays_as_it_is() -> None:
    core = RiskCore([LIMIT], OPEN)
    spans = ((T0, NOW),)
    for body in (opened(), Sessions(AssetClass.US_EQUITY, spans, T0), *lent("AAPL")):
        core.apply(body)
    old = _order(core)
    assert _denied(core, old, limit_px=101).rule == "session"


def test_of_a_dearer_order_both_may_fill_until_it_took_the_place_of_the_old_one() -> None:
    core = _core(msgspec.structs.replace(OPEN, order_notional_usd_max=D(60_000)))
    book = core.state.portfolio
    old = _order(core)
    assert book.reserved == 51_000
    new = _wish(core, old, limit_px=110)
    assert isinstance(new, OrderIntent)
    assert (new.reserved, book.reserved, book.working_qty("alpha", "AAPL")) == (56_100, 56_100, 500)
    core.apply(fill(old, 100, 100))
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (40_800 + 5_100, 400)
    core.apply(OrderReplaced(old.id, old.bot, old.symbol, "v", D(100), T0, "v2"))
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (D(56_100) * 400 / 500, 400)
    core.apply(fill(new, 400, 500, px="110"))
    core.apply(OrderFilled(new.id, new.bot, new.symbol, "v2", D(500), D(108), T0))
    assert (book.reserved, book.working_qty("alpha", "AAPL"), book.reservations) == (0, 0, {})


def test_a_replacement_that_the_venue_refuses_leaves_the_old_order_and_what_it_took() -> None:
    core = _core(msgspec.structs.replace(OPEN, order_notional_usd_max=D(60_000)))
    book = core.state.portfolio
    old = _order(core)
    new = _wish(core, old, limit_px=110)
    assert isinstance(new, OrderIntent)
    core.apply(OrderRejected(new.id, new.bot, new.symbol, "422", "no", T0))
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (51_000, 500)
    core.apply(OrderCanceled(old.id, old.bot, old.symbol, "v", D(0), T0))
    assert (book.reserved, book.working, book.reservations) == (0, {}, {})


def test_a_cheaper_one_keeps_what_the_old_one_may_still_take() -> None:
    core = _core()
    old = _order(core)
    new = _wish(core, old, limit_px=90)
    assert isinstance(new, OrderIntent)
    assert (new.reserved, core.state.portfolio.reserved) == (51_000, 51_000)


def test_a_smaller_one_takes_less_once_it_is_there() -> None:
    core = _core()
    old = _order(core)
    core.apply(fill(old, 100, 100))
    new = _wish(core, old, quantity=200)
    assert isinstance(new, OrderIntent)
    assert (new.quantity, new.reserved) == (200, 20_400)
    core.apply(OrderReplaced(old.id, old.bot, old.symbol, "v", D(100), T0, "v2"))
    book = core.state.portfolio
    assert (book.reserved, book.working_qty("alpha", "AAPL")) == (10_200, 100)


def test_a_stored_answer_is_taken_as_it_is() -> None:
    core = _core(msgspec.structs.replace(OPEN, order_notional_usd_max=D(60_000)))
    old = _order(core)
    before = dump(core)
    wish = ReplaceOrder("w1", old.id, "test", "ann", NOW, limit_px=D(110))
    core.apply(wish)
    [new] = core.decide_waiting(NOW)
    again = RiskCore([LIMIT], OPEN, msgspec.msgpack.decode(before, type=RiskState))
    for body in (wish, new, new):
        again.apply(body)
    assert dump(again) == dump(core)
    assert list(again.decide_waiting(NOW + NS_PER_MINUTE)) == []


def test_an_exit_may_be_changed_while_reducing_and_reserves_nothing() -> None:
    style = OrderStyle(type=OrderType.LIMIT, extended_hours=True)
    core = RiskCore([bot(session="any", order=style)], OPEN)
    for body in (opened(), Sessions(AssetClass.US_EQUITY, ((0, 1),), T0), *lent("AAPL")):
        core.apply(body)
    entry = _order(core)
    core.apply(fill(entry, entry.quantity, entry.quantity))
    core.apply(OrderFilled(entry.id, entry.bot, entry.symbol, "v", entry.quantity, D(100), T0))
    out = _order(core, Direction.FLAT, 2)
    assert (out.side, out.limit_px) == (Side.SELL, D("99.5"))
    core.apply(Command("c", TradingMode.REDUCING, "odd", "ann", T0))
    new = _wish(core, out, minute(3), limit_px=99)
    assert isinstance(new, OrderIntent)
    assert (new.limit_px, new.reserved) == (99, 0)
    assert core.state.portfolio.reserved == 0


def test_an_order_that_protects_reserves_nothing_when_another_takes_its_place() -> None:
    stopped = bot(stops=Stops(trailing_stop=0.05))
    core = RiskCore([stopped], OPEN)
    for body in (opened(), always_open(), *lent("AAPL")):
        core.apply(body)
    entry = _order(core)
    core.apply(fill(entry, entry.quantity, entry.quantity))
    core.apply(OrderFilled(entry.id, entry.bot, entry.symbol, "v", entry.quantity, D(100), T0))
    [trail] = core.decide_waiting(NOW)
    assert isinstance(trail, OrderIntent)
    assert (trail.purpose, trail.order_type) == (Purpose.PROTECT, OrderType.TRAILING_STOP)
    core.apply(OrderAccepted(trail.id, trail.bot, trail.symbol, "v2", T0))
    new = _wish(core, trail, trail_percent=3)
    assert isinstance(new, OrderIntent)
    core.apply(OrderReplaced(trail.id, trail.bot, trail.symbol, "v2", D(0), T0, "v3"))
    book = core.state.portfolio
    assert (book.working, book.reservations, book.reserved) == ({}, {}, 0)
