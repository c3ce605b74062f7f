"""Shadows: decided by the daemon's cores, filled by the exchange's book, on an account of their own."""

from __future__ import annotations

import math
import pickle

import msgspec

from adapters.simulated import shadow_venue
from engine.bots import Bot, BotStatus, RiskLimits, Stops
from engine.limits import BotLimits
from engine.messages import (
    AnyBody,
    Bar,
    BotDefined,
    DerivedBar,
    Fee,
    Fill,
    OrderCanceled,
    OrderFilled,
    OrderIntent,
    Position,
    RiskDenied,
    Sessions,
    Shadowed,
    Signal,
    Split,
    TargetReached,
    body_json,
)
from engine.ports import Accepted, Rejected
from engine.risk import RiskCore
from engine.shadows import Shadows
from engine.signals import SignalEngine
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


# --- with the strategies -----------------------------------------------------------------------------------------------


def _market(count: int) -> list[Bar]:
    """Two symbols, now and then a minute without a trade."""
    bars: list[Bar] = []
    for number in range(1, count):
        for symbol, base in (("AAPL", 100.0), ("BTC/USD", 9_000.0)):
            if (number * 7 + len(symbol)) % 11:
                price = round(base * (1 + 0.02 * math.sin(number / 9) + 0.003 * math.sin(number * 1.7)), 2)
                high, low = round(price * 1.002, 2), round(price * 0.998, 2)
                bars.append(Bar(symbol, "1m", minute(number), price, high, low, price, 10_000.0))
    return bars


def _stream(definition: Bot) -> list[AnyBody]:
    """The trading stream of a bot over the market: minutes where they stand, and signals."""
    engine = SignalEngine("account", "run", ())
    defined = _defined(definition)
    engine.define(defined)
    engine.on_sessions(always_open())
    stored: list[AnyBody] = [opened(), always_open(), *lent("AAPL"), defined]
    for each in _market(400):
        signals = engine.on_bar(each)
        stored += [*engine.timers(), *engine.frames(), *signals]
    return stored


def test_what_is_stored_twice_happens_once() -> None:
    stored = _stream(msgspec.structs.replace(SHADOW, params={"fast": 2, "slow": 4}))
    split = Split("split-1", "AAPL", "AAPL", D(1), minute(400))
    once, doubled = _shadows(), _shadows()
    said = [one for body in (*stored, split) for one in once.apply(body)]
    assert [one for body in (*stored, split) for _ in range(2) for one in doubled.apply(body)] == said


def test_read_again_it_comes_out_the_same_and_each_minute_comes_before_what_is_said_at_it() -> None:
    lively = msgspec.structs.replace(
        SHADOW, symbols=("AAPL", "BTC/USD"), params={"fast": 2, "slow": 4}, stops=Stops(stop_loss=0.01)
    )
    stored = _stream(lively)
    once, twice = _shadows(), _shadows()
    said = [[body_json(one) for one in once.apply(body)] for body in stored]
    assert said == [[body_json(one) for one in twice.apply(body)] for body in stored]
    assert sum(map(len, said)) > 300
    seen: dict[str, int] = {}
    for body in stored:
        if isinstance(body, DerivedBar):
            assert body.ts_event > seen.get(body.symbol, 0)
            seen[body.symbol] = body.ts_event
        elif isinstance(body, Signal):
            assert body.ts_event == seen[body.symbol]


def test_minutes_are_told_once_over_a_restart_and_none_where_no_shadow_trades() -> None:
    bars = [each for each in _market(60) if each.symbol == "AAPL"]
    calm = SignalEngine("account", "run", ())
    calm.define(_defined())
    told = [frame for each in bars for frame in (calm.on_bar(each), calm.frames())[1]]
    assert [frame.ts_event for frame in told] == [each.ts_event for each in bars]
    restarted = SignalEngine("account", "run", ())
    restarted.define(_defined())
    restarted.on_own_frame(told[20])
    assert [frame for each in bars for frame in (restarted.on_bar(each), restarted.frames())[1]] == told[21:]
    kept = SignalEngine("account", "run", ())
    kept.restore(pickle.loads(pickle.dumps(calm.state())))
    kept.on_bar(msgspec.structs.replace(bars[-1], ts_event=minute(98)))
    assert [frame.ts_event for frame in kept.frames()] == [minute(98)]
    plain = SignalEngine("account", "run", (bot(),))
    assert [frame for each in bars for frame in (plain.on_bar(each), plain.frames())[1]] == []
    calm.define(_defined(revision=2, status=BotStatus.REMOVED))
    calm.on_bar(msgspec.structs.replace(bars[-1], ts_event=minute(99)))
    assert calm.frames() == []
