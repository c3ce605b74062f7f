"""A later life that decides bars again says nothing twice and ends where life ended: by stories that once did not."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest

from engine import versions
from engine.bots import Bot, BotStatus
from engine.messages import AnyBody, Bar, BotDefined, DerivedBar, Signal, Split, Ticks, Timer
from engine.signals import SignalEngine
from engine.values import Direction
from engine.window import Window
from tests.engine.build import D
from tests.engine.test_frames import bar_at
from tests.engine.test_seconds import bot, defined, ticks
from tests.engine.test_ticks import at
from tests.engine.test_timeframes import engine_of

AAPL = ("AAPL",)
SHORTS = {"fast": 1, "slow": 3, "allow_short": True}


def give(engine: SignalEngine, *bodies: Bar | Ticks, first: int = 1) -> list[AnyBody]:
    """Give what is stored of messages, the first of which is at a position."""
    stored: list[AnyBody] = []
    for body in bodies:
        signals = engine.on_bar(body) if isinstance(body, Bar) else engine.on_ticks(body)
        stored += [*engine.timers(first), *engine.frames(), *signals]
        first += 1
    return stored


def at_clock(engine: SignalEngine, now_ns: int, market_seq: int) -> list[AnyBody]:
    signals = engine.on_clock(now_ns)
    return [*engine.timers(market_seq), *engine.frames(), *signals]


def after(engine: SignalEngine, stored: Sequence[AnyBody], market: Sequence[Bar | Ticks]) -> list[AnyBody]:
    """Let a later life read what is stored and decide the market again; give what it stores."""
    for body in stored:
        if isinstance(body, Timer | BotDefined):
            engine.expect(body)
        elif isinstance(body, Signal):
            engine.on_own_signal(body)
        elif isinstance(body, DerivedBar):
            engine.on_own_frame(body)
    assert engine.forget_unsaid() == []
    new: list[AnyBody] = []
    for seq, body in enumerate(market):
        new += come_to(engine, seq) + give(engine, body, first=seq + 1)
    new += come_to(engine, len(market))
    assert not engine.is_expecting
    engine.caught_up()
    return new


def come_to(engine: SignalEngine, seq: int) -> list[AnyBody]:
    said: list[AnyBody] = []
    while (found := engine.expected(seq))[0] is not None:
        said += [*found[1], *engine.define(found[0])]
    return [*said, *found[1], *engine.timers(), *engine.frames()]


FLATTENED: dict[str, tuple[Bot, list[Bar | Ticks]]] = {
    "bars of seconds": (
        bot("5s", symbols=AAPL),
        [bar_at(at(1), 10.0), *(ticks((at(1, second), px)) for second, px in ((6, 10.0), (11, 11.0), (16, 12.0), (21, 12.0)))],
    ),
    "ticks": (
        bot("1m", symbols=AAPL, trading_frequency="every_tick"),
        [bar_at(at(1), 10.0), bar_at(at(2), 10.0), ticks((at(2, 5), 11.0)), ticks((at(2, 9), 11.5))],
    ),
    "longer bars": (
        bot("5m", symbols=AAPL),
        [*(bar_at(at(n), px) for n, px in ((1, 10.0), (5, 10.0), (10, 11.0), (13, 12.0))), bar_at(at(17), 1.0, "MSFT")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("of", FLATTENED)
def test_what_a_person_closed_stays_closed(of: str) -> None:
    """Its target was decided again, at unchanged target, after the signal that was said last and before the command."""
    one, market = FLATTENED[of]
    life, state = engine_of(one), pickle.dumps(engine_of(one).state())
    stored = give(life, *market)
    assert any(isinstance(body, Signal) for body in stored)
    now, place = life.newest_ns, len(market)
    paused = BotDefined(one.name, 2, one, BotStatus.PAUSED, now, "me", "w1", now, flatten=True, market_seq=place)
    [flat] = life.define(paused)
    assert flat.ts_event == life.newest_ns
    again = engine_of(one)
    again.restore(pickle.loads(state))
    assert after(again, [*stored, paused, flat], market) == []
    assert again.snapshots() == life.snapshots()


def test_a_name_changes_while_a_bar_of_seconds_forms() -> None:
    engine = engine_of(bot("5s", symbols=AAPL))
    engine.on_ticks(ticks((at(1, 6), 10.0)))
    engine.on_split(Split("ca1", "AAPL", "AAPX", D(1), at(2)), ())
    give(engine, bar_at(at(3), 10.0, "MSFT"))
    give(engine, ticks((at(3, 6), 10.0)), ticks((at(3, 6), 10.0), symbol="AAPX"))


def test_a_flat_that_was_owed_before_the_opening_is_not_said_within_the_session() -> None:
    window = Window(market_hours=True, flatten_before_s=60)
    of = bot("1m", symbols=AAPL, publish_indicators=False, window=window, params=SHORTS)
    life = engine_of(bot("1m", symbols=AAPL, publish_indicators=False))
    life.on_bar(bar_at(at(-5), 10.0))
    life.define(defined(of, 2, life))
    life.on_bar(bar_at(at(-4), 10.0))
    state, market = pickle.dumps(life.state()), [bar_at(at(n), px) for n, px in ((1, 10.0), (2, 11.0), (3, 12.0))]
    stored = give(life, *market)
    assert sum(isinstance(body, Signal) for body in stored) == 2
    again = engine_of(of)
    again.restore(pickle.loads(state))
    assert after(again, stored, market) == []
    assert again.on_bar(bar_at(at(4), 13.0)) == life.on_bar(bar_at(at(4), 13.0))


def test_bars_of_seconds_that_nobody_wanted_any_more_warm_nobody_up() -> None:
    window = Window(start="09:30", end="09:33", flatten_before_s=60)
    one = bot("5s", name="one", symbols=AAPL)
    two, other = bot("1m", name="one", symbols=AAPL, window=window), bot("5s", name="other", symbols=AAPL)
    market = [bar_at(at(1), 10.0), *(ticks((at(1, s), px)) for s, px in ((6, 10.0), (11, 11.0), (16, 12.0)))]
    life, state = engine_of(one), pickle.dumps(engine_of(one).state())
    stored = give(life, *market)
    changed = defined(two, 2, life, len(market))
    life.define(changed)
    of_clock = at_clock(life, at(2, 6), len(market))
    assert isinstance(of_clock[0], Timer)
    added = defined(other, 1, life, len(market))
    life.define(added)
    again = engine_of(one)
    again.restore(pickle.loads(state))
    assert after(again, [*stored, changed, *of_clock, added], market) == []
    assert again.snapshots() == life.snapshots()


def test_a_version_says_nothing_of_a_time_up_to_which_the_one_before_it_decides() -> None:
    window = Window(start="10:00", end="11:00", flatten_before_s=60)
    one = bot("5s", symbols=AAPL)
    two = bot("5s", symbols=AAPL, params=SHORTS, window=window)
    seconds = (-44, 10.0), (-39, 11.0), (-34, 12.0), (66, 10.0), (71, 11.0), (81, 12.0), (86, 12.0), (91, 12.0)
    market: list[Bar | Ticks] = [ticks((at(389, second), px)) for second, px in seconds]
    market.insert(3, bar_at(at(389), 10.0))
    life, state = engine_of(one), pickle.dumps(engine_of(one).state())
    stored = give(life, *market[:7])
    changed = defined(two, 2, life, 7)
    life.define(changed)
    stored += [changed, *give(life, *market[7:], first=8), *at_clock(life, at(390, 40), len(market))]
    for _ in range(3):
        again = engine_of(one)
        again.restore(pickle.loads(state))
        assert after(again, stored, market) + at_clock(again, at(390, 40), len(market)) == []


def test_at_the_cause_of_the_last_signal_nothing_is_said_even_if_it_would_be_another() -> None:
    """Said by other code or parameters: what is in the stream was said, and the next bar corrects it."""
    engine = engine_of(bot("1m", symbols=AAPL, publish_indicators=False, params=SHORTS))
    said = [Signal("s1", "alpha", "AAPL", "sma_crossover", Direction.SHORT, 1.0, 11.0, "", "AAPL|1m|0|0", at(3))]
    assert after(engine, said, [bar_at(at(number), 9.0 + number) for number in (1, 2, 3)]) == []
    [mended] = give(engine, bar_at(at(4), 13.0))
    assert isinstance(mended, Signal)
    assert mended.direction is Direction.LONG


def test_what_was_said_is_not_said_again_where_bars_aged_out() -> None:
    """A replay that cannot be life as it was, for its first bars are gone, says nothing until all is decided."""
    one = bot("1m", symbols=AAPL, publish_indicators=False, params=SHORTS)
    market = [bar_at(at(number), px) for number, px in enumerate((10.0, 10.0, 11.0, 12.0, 11.0, 12.0, 13.0, 14.0), 1)]
    life = engine_of(one)
    stored = give(life, *market[:4])
    assert [body.ts_event for body in stored if isinstance(body, Signal)] == [at(3)]
    again = engine_of(one)
    assert after(again, stored, market[4:7]) == []
    assert give(again, market[7]) == []  # the target that is wanted was said
    [turned] = give(again, bar_at(at(9), 1.0))
    assert isinstance(turned, Signal)
    assert turned.direction is Direction.SHORT


def test_a_bot_whose_strategy_can_not_be_made_any_more_fails_whatever_became_of_it_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = bot("1m", symbols=AAPL, publish_indicators=False)
    life = engine_of(one)
    changes = [defined(one, 2, life, 0, "paused"), defined(one, 3, life, 0)]

    def gone(name: str, params: object) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(versions, "make", gone)
    again = engine_of(one)
    assert list(again.failed()) == [one.name]
    for change in changes:
        again.define(change)
    assert list(again.failed()) == [one.name]
