"""Shadows: decided by the daemon's cores, filled by the exchange's book, on an account of their own."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from adapters.simulated import SimulatedVenue, shadow_venue
from engine.bots import Bot, BotStatus, OrderStyle, RiskLimits, Stops
from engine.ids import make_id
from engine.limits import BotLimits
from engine.messages import (
    AnyBody,
    BotDefined,
    DerivedBar,
    Fee,
    Fill,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    Position,
    RiskDenied,
    Sessions,
    Shadowed,
    Signal,
    Split,
    TargetReached,
)
from engine.ports import Accepted, Rejected
from engine.risk import RiskCore
from engine.shadows import Shadows
from engine.values import AssetClass, Direction, Purpose, Side, TimeInForce
from tests.engine.build import T0, D, always_open, bot, funds, intent, lent, minute, opened, signal

SHADOW = bot(name="beta", shadow_of="alpha", position_fraction=0.2)


def _defined(definition: Bot = SHADOW, revision: int = 1, status: BotStatus = BotStatus.RUNNING) -> BotDefined:
    cause = f"wish-{definition.name}-{revision}"
    return BotDefined(definition.name, revision, definition, status, T0, "me", cause, T0)


def _minute(number: int, prices: str, symbol: str = "AAPL") -> DerivedBar:
    """A candle as a trader writes it: open high low close."""
    first, high, low, last = map(float, prices.split())
    return DerivedBar(symbol, "1m", minute(number), first, high, low, last, 10_000.0)


def _said(number: int, direction: Direction = Direction.LONG, price: float = 100.0, **more: object) -> Signal:
    return signal(direction, number=number, bot="beta", price=price, id=f"s{number}", **more)


def _shadows(limits: RiskLimits | None = None) -> Shadows:
    return Shadows(limits or RiskLimits(), shadow_venue)


def _played(*bodies: AnyBody, shadows: Shadows | None = None) -> list[Shadowed]:
    shadows = shadows or _shadows()
    begin: tuple[AnyBody, ...] = (opened(), always_open(), *lent("AAPL", "MSFT"))
    return [said for body in (*begin, *bodies) for said in shadows.apply(body)]


def _of[T](said: list[Shadowed], kind: type[T]) -> list[T]:
    return [one.of for one in said if isinstance(one.of, kind)]


# --- what it does ------------------------------------------------------------------------------------------------------


def test_an_order_is_filled_at_the_open_of_the_bar_after_its_decision() -> None:
    said = _played(
        _defined(), _minute(1, "99 101 98 100"), _said(1), _minute(2, "102 103 101 102"), _minute(3, "104 105 103 104")
    )
    [order] = _of(said, OrderIntent)
    assert (order.bot, order.symbol, order.side, order.decided_ns) == ("beta", "AAPL", Side.BUY, minute(1))
    [fill] = _of(said, Fill)
    assert (fill.last_px, fill.last_qty, fill.ts_event) == (D(102), order.quantity, minute(2))
    [held] = _of(said, Position)
    assert (held.signed_qty, held.avg_px_open) == (order.quantity, D(102))
    assert [one.ordinal for one in said] == list(range(len(said)))
    assert {(one.bot, one.life) for one in said} == {("beta", "wish-beta-1")}


def test_a_bar_that_began_before_an_order_was_decided_does_not_fill_it() -> None:
    """The last minute of a 5-minute bar had no trade: that it was over was known with another symbol's next minute."""
    longer = msgspec.structs.replace(SHADOW, timeframe="5m", symbols=("AAPL", "MSFT"))
    said = msgspec.structs.replace(_said(5), bar=f"AAPL|5m|{minute(5)}|0")
    for known, price in ((4, D(107)), (5, D(106))):
        told = _played(
            _defined(longer),
            *(_minute(number, f"{100 + number} 200 100 150") for number in range(1, known + 1)),
            said,
            _minute(6, "106 200 100 150"),
            _minute(7, "107 200 100 150"),
        )
        assert [fill.last_px for fill in _of(told, Fill)] == [price]


def test_a_stop_at_the_venue_closes_inside_a_bar_and_a_gap_at_its_open() -> None:
    stopped = msgspec.structs.replace(SHADOW, stops=Stops(stop_loss=0.02, take_profit=0.05))
    for prices, price in (("100 101 97 99", D(98)), ("95 96 94 95", D(95))):
        said = _played(
            _defined(stopped),
            _minute(1, "100 100 100 100"),
            _said(1),
            _minute(2, "100 100 100 100"),
            _minute(3, prices),
        )
        entry, exit_ = _of(said, Fill)
        assert (entry.side, exit_.side, exit_.last_px) == (Side.BUY, Side.SELL, price)
        assert [end.client_order_id for end in _of(said, OrderFilled)] == [entry.client_order_id, exit_.client_order_id]
        assert len(_of(said, OrderCanceled)) == 1
        assert _of(said, Position)[-1].signed_qty == 0


def test_a_stop_that_risk_holds_fires_at_a_close_and_is_filled_at_the_next_open() -> None:
    stopped = msgspec.structs.replace(SHADOW, stops=Stops(trailing_stop=0.02, held_by="risk"))
    said = _played(
        _defined(stopped),
        _minute(1, "100 100 100 100"),
        _said(1),
        _minute(2, "100 104 100 104"),
        _minute(3, "104 104 100 101"),
        _minute(4, "99 100 98 99"),
    )
    [guard] = _of(said, Signal)
    assert (guard.strategy, guard.direction, guard.ts_event) == ("guard", Direction.FLAT, minute(3))
    entry, exit_ = _of(said, Fill)
    assert (entry.last_px, exit_.last_px, exit_.ts_event) == (D(100), D(99), minute(4))


def test_an_exit_waits_for_the_end_of_what_protects_and_leaves_at_the_same_moment() -> None:
    """A real venue says within the minute that an order has ended."""
    stopped = msgspec.structs.replace(SHADOW, stops=Stops(stop_loss=0.5, take_profit=0.5))
    said = _played(
        _defined(stopped),
        _minute(1, "100 100 100 100"),
        _said(1),
        _minute(2, "100 100 100 100"),
        _said(2, Direction.FLAT),
        _minute(3, "101 101 101 101"),
    )
    kinds = [type(one.of).__name__ for one in said if one.ts_event == minute(2)]
    assert kinds[-5:] == ["OrderCanceled", "OrderCanceled", "OrderIntent", "OrderSubmitted", "OrderAccepted"]
    assert _of(said, Fill)[-1].last_px == D(101)


def test_a_limit_of_the_account_and_one_of_the_bot_beside_hold_for_it_too() -> None:
    body = (_defined(), _minute(1, "100 100 100 100"), _said(1))
    for limits in (
        RiskLimits(order_notional_usd_max=D(10)),
        RiskLimits(bots={"alpha": BotLimits(order_notional_usd_max=D(10))}),
    ):
        [denied] = _of(_played(*body, shadows=_shadows(limits)), RiskDenied)
        assert denied.rule == "order_notional_usd_max"
    own = RiskLimits(bots={"alpha": BotLimits(order_notional_usd_max=D(10)), "beta": BotLimits()})
    assert _of(_played(*body, shadows=_shadows(own)), OrderIntent)


def test_coins_pay_the_venues_fee() -> None:
    coin = msgspec.structs.replace(SHADOW, symbols=("BTC/USD",))
    said = _played(
        _defined(coin),
        _minute(1, "100 100 100 100", "BTC/USD"),
        _said(1, symbol="BTC/USD"),
        _minute(2, "100 100 100 100", "BTC/USD"),
    )
    [bought] = _of(said, Fill)
    [fee] = _of(said, Fee)
    assert (fee.bot, fee.symbol, fee.quantity) == ("beta", "BTC/USD", -bought.last_qty * D("0.0025"))
    assert _of(said, Position)[-1].signed_qty == bought.last_qty + fee.quantity


def test_it_begins_with_what_the_account_is_worth_then() -> None:
    """Ten dollars buy nothing; without a word of the venue, the cash of the opening counts."""
    body = (_defined(), _minute(1, "100 100 100 100"), _said(1))
    [denied] = _of(_played(funds(equity="10"), *body), RiskDenied)
    assert denied.rule == "buying_power"
    assert _of(_played(*body), OrderIntent)


def test_bars_of_one_minute_come_one_by_one_and_end_only_their_own_orders() -> None:
    """At the close the first symbol's bar ended the orders of all others, before theirs had come."""
    two = msgspec.structs.replace(SHADOW, symbols=("AAPL", "MSFT"))
    day = Sessions(AssetClass.US_EQUITY, ((minute(-60), minute(2)), (minute(900), minute(1200))), T0)
    shadows = _shadows()
    bodies: list[AnyBody] = [opened(), day, *lent("AAPL", "MSFT"), _defined(two)]
    for number in (1, 2):
        for symbol in ("AAPL", "MSFT"):
            said = msgspec.structs.replace(_said(number, symbol=symbol), id=f"{symbol}-{number}")
            bodies += [_minute(number, "100 101 99 100", symbol), *([said] if number == 1 else [])]
    told = [one for body in bodies for one in shadows.apply(body)]
    assert sorted(fill.symbol for fill in _of(told, Fill)) == ["AAPL", "MSFT"]
    assert not _of(told, OrderExpired)


def test_an_order_whose_symbol_has_no_bar_any_more_ends_with_another_ones() -> None:
    two = msgspec.structs.replace(SHADOW, symbols=("AAPL", "BTC/USD"))
    day = Sessions(AssetClass.US_EQUITY, ((minute(-60), minute(2)), (minute(900), minute(1200))), T0)
    shadows = _shadows()
    bodies = (opened(), day, *lent("AAPL"), _defined(two), _minute(1, "100 101 99 100"), _said(1))
    told = [one for body in bodies for one in shadows.apply(body)]
    for number in (2, 3):
        told += shadows.apply(_minute(number, "9 9 9 9", "BTC/USD"))
        assert bool(_of(told, OrderExpired)) == (number == 3)


def test_what_a_split_leaves_over_is_of_its_own_account() -> None:
    """Neither fraction nor cash of the message, which are those of the account; and no rest that nobody can sell."""
    parts = msgspec.structs.replace(SHADOW, order=OrderStyle(fractional=True))
    split = Split("split-1", "AAPL", "AAPL", D(1) / 3, minute(3), cash_in_lieu=D(450), fraction_qty=D("0.5"))
    for price in ("100.37", "100.03", "99.91", "101.77"):
        after = f"{3 * float(price):.2f}"
        said = _played(
            _defined(parts),
            _minute(1, f"{price} {price} {price} {price}"),
            _said(1, price=float(price)),
            _minute(2, f"{price} {price} {price} {price}"),
            split,
            _minute(4, f"{after} {after} {after} {after}"),
            _said(4, Direction.FLAT, float(after)),
            _minute(5, f"{after} {after} {after} {after}"),
        )
        assert not _of(said, OrderRejected)
        last = _of(said, Position)[-1]
        assert last.signed_qty == 0
        assert abs(last.realized_pnl) < 1


def test_a_change_of_name_takes_the_holding_along() -> None:
    said = _played(
        _defined(msgspec.structs.replace(SHADOW, symbols=("AAPL", "NEWA"))),
        *lent("NEWA"),
        _minute(1, "100 100 100 100"),
        _said(1),
        _minute(2, "100 100 100 100"),
        Split("split-1", "AAPL", "NEWA", D(1), minute(3)),
        _minute(4, "101 101 101 101", "NEWA"),
        _said(4, Direction.FLAT, 101.0, symbol="NEWA"),
        _minute(5, "101 101 101 101", "NEWA"),
    )
    bought, sold = _of(said, Fill)
    assert (sold.symbol, sold.last_qty, sold.last_px) == ("NEWA", bought.last_qty, D(101))
    assert _of(said, Position)[-1].signed_qty == 0


def test_one_that_raises_stands_still_and_the_others_go_on() -> None:
    class Broken(SimulatedVenue):
        def submit(self, *_: object) -> Rejected:  # type: ignore[override]
            msg = "no venue"
            raise RuntimeError(msg)

    def make(cash: Decimal, name: str) -> SimulatedVenue:
        made = shadow_venue(cash, name)
        if name == broken_name:
            made.__class__ = Broken
        return made

    broken_name = make_id(opened().account_number, opened().run, "shadow", "wish-beta-1")
    shadows = Shadows(RiskLimits(), make)
    other = _defined(msgspec.structs.replace(SHADOW, name="gamma"))
    gamma = msgspec.structs.replace(_said(1), bot="gamma", id="g1")
    day = (_defined(), other, _minute(1, "100 100 100 100"), _said(1), gamma, _minute(2, "100 100 100 100"))
    said = _played(*day, shadows=shadows)
    assert shadows.faults == {"beta": "RuntimeError: no venue"}
    assert {one.bot for one in said} == {"gamma"}
    assert _of(said, Fill)
    shadows.apply(_defined(revision=2, status=BotStatus.REMOVED))
    assert shadows.faults == {}


def test_a_split_restates_what_is_held() -> None:
    said = _played(
        _defined(),
        _minute(1, "100 100 100 100"),
        _said(1),
        _minute(2, "100 100 100 100"),
        Split("split-1", "AAPL", "AAPL", D(4), minute(3)),
        _minute(4, "25 26 24 25"),
        _said(4, Direction.FLAT, 25.0),
        _minute(5, "25 26 24 25"),
    )
    bought, sold = _of(said, Fill)
    assert (sold.last_qty, sold.last_px) == (4 * bought.last_qty, D(25))
    assert _of(said, Position)[-1].realized_pnl == 0


def test_a_day_that_the_calendar_does_not_know_takes_no_order() -> None:
    """Risk asks the calendar first; the venue has the last word, as everywhere."""
    venue = shadow_venue(D(1_000_000), "name")
    day = Sessions(AssetClass.US_EQUITY, ((minute(-60), minute(60)),), T0)
    refused = venue.submit(intent(), minute(1))
    assert isinstance(refused, Rejected)
    assert "the calendar does not reach 2023-11-14T" in refused.reason
    venue.on_sessions(day)
    assert isinstance(venue.submit(intent("i2", time_in_force=TimeInForce.OPG), minute(1)), Rejected)
    assert isinstance(venue.submit(intent(), minute(61)), Rejected)
    assert isinstance(venue.submit(intent(), minute(1)), Accepted)


def test_a_paused_shadow_opens_nothing() -> None:
    paused = _defined(revision=2, status=BotStatus.PAUSED)
    said = _played(_defined(), _minute(1, "100 100 100 100"), paused, _said(1))
    assert [denied.rule for denied in _of(said, RiskDenied)] == ["trading_mode"]


def test_removed_and_added_again_it_is_another_one() -> None:
    shadows = _shadows()
    said = _played(
        _defined(),
        _minute(1, "100 100 100 100"),
        _said(1),
        _minute(2, "100 100 100 100"),
        _defined(revision=2, status=BotStatus.REMOVED),
        _said(2, Direction.FLAT),
        _minute(3, "100 100 100 100"),
        shadows=shadows,
    )
    assert shadows.names == []
    assert said[-1].ts_event == minute(2)
    again = [one for body in (_defined(revision=3), _said(4, Direction.FLAT)) for one in shadows.apply(body)]
    assert [(one.life, one.ordinal) for one in again] == [("wish-beta-3", 0)]
    assert _of(again, TargetReached)


# --- beside the account ------------------------------------------------------------------------------------------------


def test_the_account_knows_nothing_of_it() -> None:
    core = RiskCore((SHADOW,), RiskLimits())
    for body in (opened(), always_open(), *lent("AAPL"), _defined(), _said(1)):
        assert core.apply(body) == []
    assert not core.state.waiting
    assert core.decide_waiting(minute(1)) == []
    said = core.apply(_said(2)) + list(core.decide_waiting(minute(2)))
    assert said == []


def test_under_a_name_that_was_a_shadows_a_bot_trades() -> None:
    core = RiskCore((), RiskLimits())
    real = BotDefined("beta", 3, bot(name="beta"), BotStatus.RUNNING, T0, "me", "wish-9", T0)
    gone = _defined(revision=2, status=BotStatus.REMOVED)
    for body in (opened(), always_open(), *lent("AAPL"), _defined(), gone, real, _said(1)):
        core.apply(body)
    [decided] = core.decide_waiting(minute(1))
    assert isinstance(decided, OrderIntent)
    assert decided.purpose is Purpose.TARGET
