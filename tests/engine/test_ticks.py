"""Trades one by one: what feed publishes of them, the bars that form, and bots that look at every tick."""

from __future__ import annotations

import pickle
import random

import msgspec
import pytest

from engine.bots import Bot, BotStatus
from engine.forming import Forming
from engine.messages import Bar, BotDefined, Signal, Ticks
from engine.ports import Quote, Trade
from engine.signals import SignalEngine
from engine.strategies import Target, registry
from engine.ticking import TickCore
from engine.values import NS_PER_MINUTE, NS_PER_S, Direction
from tests.engine import build
from tests.engine.test_frames import bar_at, wall
from tests.engine.test_timeframes import engine_of, heard

OPEN = wall("2026-11-24T09:30")
UP, DOWN, OUT = Direction.LONG, Direction.SHORT, Direction.FLAT


def at(minute: int, second: float = 0.0) -> int:
    """So long after the opening."""
    return OPEN + minute * NS_PER_MINUTE + round(second * NS_PER_S)


def ticks(*trades: tuple[int, float], symbol: str = "AAPL", size: float = 10.0) -> Ticks:
    return Ticks(f"t{trades}", symbol, tuple((ts, px, size) for ts, px in trades), trades[-1][0])


def bot(timeframe: str = "1m", **more: object) -> Bot:
    fields = {"trading_frequency": "every_tick", "params": {"fast": 1, "slow": 2, "allow_short": True}}
    return build.bot(timeframe=timeframe, **(fields | more))


def warm(*bots: Bot, closes: tuple[float, ...] = (10.0, 10.0)) -> SignalEngine:
    engine = engine_of(*bots)
    for number, close in enumerate(closes, 1):
        assert engine.on_bar(bar_at(at(number), close)) == []
    return engine


# --- what feed publishes ---------------------------------------------------------------------------------------------


def test_trades_of_wanted_symbols_go_out_once_in_one_message_for_each_frame() -> None:
    core = TickCore()
    core.follow(["AAPL", "MSFT"])
    frame = [
        Trade("AAPL", 5, 10.0, 1.0),
        Quote("AAPL", 5, 9.0, 11.0),
        Trade("SPY", 5, 1.0, 1.0),
        Trade("MSFT", 6, 2.0, 3.0),
    ]
    frame += [Trade("AAPL", 5, 10.1, 2.0), Trade("AAPL", 4, 9.9, 1.0), Trade("AAPL", 7, 10.2, 0.0)]
    found = core.on_ticks(frame)
    assert [(one.symbol, one.trades, one.ts_event) for one in found] == [
        ("AAPL", ((5, 10.0, 1.0), (5, 10.1, 2.0), (7, 10.2, 0.0)), 7),
        ("MSFT", ((6, 2.0, 3.0),), 6),
    ]
    assert core.on_ticks(frame) == []
    assert [one.trades for one in core.on_ticks([Trade("AAPL", 8, 11.0, 1.0)])] == [((8, 11.0, 1.0),)]
    again = TickCore(found)
    again.follow(["AAPL"])
    assert again.on_ticks(frame) == []
    again.follow([])
    assert again.on_ticks([Trade("AAPL", 9, 11.0, 1.0)]) == []


# --- the bars that form ----------------------------------------------------------------------------------------------


def test_a_minute_forms_of_its_trades() -> None:
    forming = Forming()
    trades = [(at(0, 1), 10.0), (at(0, 2), 12.0), (at(0, 59.9), 9.0), (at(1), 11.0)]
    found = [forming.minutes("AAPL", has_quotes=False) for _ in forming.on_ticks(ticks(*trades))]
    first = Bar("AAPL", "1m", at(1), 10.0, 12.0, 9.0, 9.0, 30.0, 3)
    assert found[2] == (first,)
    assert found[3] == (first, Bar("AAPL", "1m", at(2), 11.0, 11.0, 11.0, 11.0, 10.0, 1))
    forming.on_bar(bar_at(at(1)))
    [_] = forming.on_ticks(ticks((at(1, 5), 13.0)))
    minutes = forming.minutes("AAPL", has_quotes=False)
    assert minutes == (Bar("AAPL", "1m", at(2), 11.0, 13.0, 11.0, 13.0, 20.0, 2),)


def test_a_trade_counts_once_and_not_in_a_minute_that_is_closed() -> None:
    forming = Forming()
    first = ticks((at(0, 1), 10.0), (at(0, 2), 12.0))
    assert len(list(forming.on_ticks(first))) == 2
    assert list(forming.on_ticks(first)) == []
    forming.on_bar(bar_at(at(1)))
    assert list(forming.on_ticks(ticks((at(0, 30), 10.0), (at(0, 59), 10.0)))) == []
    [(trade, is_quote)] = forming.on_ticks(ticks((at(0, 59.5), 10.0), (at(1), 10.0)))
    minutes = forming.minutes("AAPL", has_quotes=False)
    assert not is_quote
    assert (trade.ts_event, len(minutes), minutes[0].ts_event) == (at(1), 1, at(2))


# --- bots ------------------------------------------------------------------------------------------------------------


def test_a_bot_says_at_a_trade_what_it_wants_by_the_bar_that_is_forming() -> None:
    engine = warm(bot())
    [up] = engine.on_ticks(ticks((at(2, 10), 10.0), (at(2, 20), 12.0)))
    assert (up.ts_event, up.direction, up.price, up.bar) == (at(2, 20), UP, 12.0, f"AAPL|1m|{at(3)}|0")
    assert up.indicators == {"sma(1)": 12.0, "sma(2)": 11.0}
    assert engine.on_ticks(ticks((at(2, 21), 13.0))) == []
    [down] = engine.on_ticks(ticks((at(2, 30), 8.0)))
    assert (down.ts_event, down.direction) == (at(2, 30), DOWN)
    [back] = engine.on_bar(bar_at(at(3), 14.0))  # the bar itself decides, too
    assert (back.ts_event, back.direction, back.indicators) == (at(3), UP, {"sma(1)": 14.0, "sma(2)": 12.0})
    assert len({one.id for one in (up, down, back)}) == 3


def test_a_minute_that_comes_after_trades_of_the_next_is_said_in_time() -> None:
    """At Alpaca it does. A restart takes the last signal for where it goes on, so signals go on in time."""
    story = [ticks((at(2, 10), 12.0)), ticks((at(3, 2), 12.5)), bar_at(at(3), 8.0), ticks((at(3, 4), 7.0))]
    engine = warm(bot())
    before = pickle.dumps(engine.state())
    said = [s for body in story for s in (engine.on_ticks(body) if isinstance(body, Ticks) else engine.on_bar(body))]
    assert [(s.ts_event, s.direction) for s in said] == [(at(2, 10), UP), (at(3, 4), DOWN)]
    for count in (1, 2):
        again = engine_of(bot())
        again.restore(pickle.loads(before))
        for signal in said[:count]:
            again.on_own_signal(signal)
        anew = [s for body in story for s in (again.on_ticks(body) if isinstance(body, Ticks) else again.on_bar(body))]
        assert anew == said[count:]


def test_bars_that_form_leave_no_trace_in_the_strategy() -> None:
    calm, busy = warm(bot()), warm(bot())
    draw = random.Random(3)
    for number in range(3, 40):
        for second in range(0, 60, 7):
            busy.on_ticks(ticks((at(number - 1, second), 10.0 + draw.gauss(0, 1))))
        close = 10.0 + draw.gauss(0, 1)
        for engine in (calm, busy):
            engine.on_bar(bar_at(at(number), close))
        assert [one[4] for one in calm.snapshots()] == [one[4] for one in busy.snapshots()]


def test_other_bots_are_not_asked_and_say_the_same() -> None:
    plain = bot(name="plain", trading_frequency="every_bar")
    engine = warm(bot(), plain)
    assert [signal.bot for signal in engine.on_ticks(ticks((at(2, 10), 12.0)))] == ["alpha"]
    assert [signal.bot for signal in engine.on_bar(bar_at(at(3), 12.0))] == ["plain"]


def test_trades_of_the_next_minute_before_the_bar_of_the_last_one() -> None:
    engine = warm(bot())
    engine.on_ticks(ticks((at(2, 10), 12.0)))
    [signal] = engine.on_ticks(
        ticks((at(3, 0.1), 11.0))
    )  # 12 closed the minute that is not there yet: 11 is below 11.5
    assert (signal.direction, signal.indicators) == (DOWN, {"sma(1)": 11.0, "sma(2)": 11.5})
    assert engine.on_ticks(ticks((at(3, 0.2), 11.1))) == []
    assert engine.on_bar(bar_at(at(3), 12.5)) == []  # a bar of before what was said
    assert engine.on_ticks(ticks((at(3, 0.3), 11.2))) == []


def test_longer_bars_form_of_closed_minutes_and_of_the_one_that_is_forming() -> None:
    engine = engine_of(bot("5m"))
    for number in range(1, 12):
        assert engine.on_bar(bar_at(at(number), 10.0)) == []
    [signal] = engine.on_ticks(ticks((at(11, 30), 13.0)))
    assert (signal.ts_event, signal.direction) == (at(11, 30), UP)
    assert signal.indicators == {"sma(1)": 13.0, "sma(2)": 11.5}
    assert signal.bar == f"AAPL|1m|{at(12)}|0"
    assert [shown for *_, shown in engine.snapshots()] == [{"sma(1)": 10.0, "sma(2)": 10.0}]


@pytest.mark.parametrize("seed", range(6))
def test_after_a_restart_at_any_point_it_says_what_it_would_have_said(seed: int) -> None:
    draw = random.Random(seed)
    timeframe = draw.choice(("1m", "2m", "5m"))
    events: list[Bar | Ticks] = []
    price = 10.0
    for number in range(1, 40):
        for second in sorted(draw.sample(range(60), 4)):
            price *= 1 + draw.gauss(0, 0.01)
            if draw.random() < 0.8:
                events.append(ticks((at(number - 1, second), price)))
        if draw.random() < 0.9:
            late = draw.random() < 0.3 and isinstance(events[-1:] and events[-1], Ticks)
            events.insert(len(events) - late, bar_at(at(number), price))
    calm, other = engine_of(bot(timeframe)), engine_of(bot(timeframe))
    expected: list[Signal] = []
    said: list[Signal] = []
    for event in events:
        expected += calm.on_ticks(event) if isinstance(event, Ticks) else calm.on_bar(event)
        said += other.on_ticks(event) if isinstance(event, Ticks) else other.on_bar(event)
        if draw.random() < 0.3:
            state = pickle.dumps(other.state())
            other = engine_of(bot(timeframe))
            other.restore(pickle.loads(state))
    assert said == expected
    assert len(expected) > 5


def test_a_restart_from_before_says_nothing_twice() -> None:
    engine = warm(bot())
    state = pickle.dumps(engine.state())
    events = [ticks((at(2, 10), 12.0)), ticks((at(2, 20), 8.0)), ticks((at(2, 30), 12.0))]
    said = [signal for event in events[:2] for signal in engine.on_ticks(event)]
    again = engine_of(bot())
    again.restore(pickle.loads(state))
    again.on_own_signal(said[-1])
    assert [signal for event in events for signal in again.on_ticks(event)] == engine.on_ticks(events[2])


def test_outside_of_the_session_and_before_its_time_nothing_is_said() -> None:
    engine = engine_of(bot())
    for number in (-3, -2, -1):
        engine.on_bar(bar_at(at(number), 10.0))
    assert engine.on_ticks(ticks((at(-1, 10), 12.0))) == []
    engine = warm(bot())
    assert engine.on_ticks(ticks((at(0, 30), 12.0))) == []  # late


def test_a_new_version_decides_from_the_first_bar_after_it_and_the_old_one_not_any_more() -> None:
    engine = warm(bot())
    engine.on_ticks(ticks((at(2, 10), 12.0)))
    assert engine.newest_ns == at(2, 10)
    paused = BotDefined("alpha", 2, bot(), BotStatus.PAUSED, engine.newest_ns, "me", "w", 0)
    engine.define(paused)
    assert engine.on_ticks(ticks((at(2, 20), 8.0))) == []
    engine.define(msgspec.structs.replace(paused, revision=3, status=BotStatus.RUNNING, from_ts=at(2, 20)))
    assert engine.on_ticks(ticks((at(2, 30), 8.0))) == []
    assert heard(engine.on_bar(bar_at(at(3), 8.0))) == [(at(3), DOWN)]
    assert heard(engine.on_ticks(ticks((at(3, 30), 12.0)))) == [(at(3, 30), UP)]


class Hooked:
    """Keeps what trades say; short above 100 trades of size."""

    def __init__(self) -> None:
        self.size = 0.0

    def on_bar(self, bar: Bar) -> Target | None:
        return None

    def on_tick(self, trade: Trade) -> Target | None:
        self.size += trade.size
        if trade.px < 0.5:
            msg = "by hand"
            raise ValueError(msg)
        return Target(UP if self.size > 25 else OUT, 1.0 if self.size > 25 else 0.0, "size")

    def snapshot(self) -> dict[str, float]:
        return {"size": self.size}


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._STRATEGIES, "hooked", (Nothing, lambda _: Hooked()))


@pytest.mark.usefixtures("hooked")
def test_a_strategy_with_on_tick_is_asked_itself_and_keeps_what_it_learned() -> None:
    engine = warm(bot(strategy="hooked", params={}))
    assert engine.on_ticks(ticks((at(2, 1), 10.0), (at(2, 2), 10.0))) == []
    engine.restore(pickle.loads(pickle.dumps(engine.state())))
    [signal] = engine.on_ticks(ticks((at(2, 3), 10.0)))
    assert (signal.direction, signal.indicators) == (UP, {"size": 30.0})


@pytest.mark.usefixtures("hooked")
def test_what_a_strategy_raises_at_a_trade_harms_its_own_bot_only() -> None:
    engine = warm(bot(strategy="hooked", params={}), bot(name="beta"))
    for second in range(1, 12):
        signals = engine.on_ticks(ticks((at(2, second), 0.4)))
        assert [signal.bot for signal in signals] == (["beta"] if second == 1 else [])
    assert len(engine.alerts()) >= 10
    assert set(engine.failed()) == {"alpha"}
