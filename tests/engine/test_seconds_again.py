"""Bots of bars of seconds over a restart, also while they are changed: the same is said and known."""

from __future__ import annotations

import pickle
import random

import msgspec
import pytest

from engine.messages import AnyBody, BotDefined, DerivedBar, IndicatorValues, Signal, Ticks, Timer, body_json
from engine.signals import SignalEngine
from engine.values import NS_PER_S
from tests.engine.test_frames import bar_at
from tests.engine.test_seconds import bot, defined, ticks
from tests.engine.test_ticks import at
from tests.engine.test_timeframes import engine_of

BOTS = (
    bot(name="five", window=None),
    bot("10s", name="ten", trading_frequency=7),
    bot("15s", name="quick", trading_frequency="every_tick"),
    bot("1m", name="minute", trading_frequency="every_tick", quotes=True),
)


def story(seed: int) -> list[AnyBody | int]:
    """Ticks of two symbols, their minutes, some of which are missing, and moments at which the clock is looked at."""
    draw, bodies, price = random.Random(seed), list[AnyBody | int](), 100.0
    for minute in range(6):
        second = draw.uniform(0, 15)
        while second < 60:
            price *= 1 + draw.gauss(0, 0.002)
            symbol, moment = draw.choice(("AAPL", "AAPL", "MSFT")), at(minute, second)
            late = (moment - draw.choice((0, 4)) * NS_PER_S, price)
            if draw.random() < 0.6:
                bodies.append(ticks((moment, price), symbol=symbol))
            else:
                bodies.append(ticks(quotes=(late,), symbol=symbol))
            second += draw.choice((0.4, 1, 3, 9, 14))
            if draw.random() < 0.3:
                bodies.append(moment)
        for symbol in ("AAPL", "MSFT"):
            if draw.random() < 0.8:
                bodies.append(msgspec.structs.replace(bar_at(at(minute + 1), price), symbol=symbol))
    return bodies


def play(engine: SignalEngine, bodies: list[AnyBody | int], first: int = 0) -> list[AnyBody]:
    """Give what is stored, in order; what is to be done again before each is done."""
    stored: list[AnyBody] = []
    for number, body in enumerate(bodies, first):
        stored += _come_to(engine, number)
        if isinstance(body, int):
            signals = engine.on_clock(body)
        else:
            signals = engine.on_ticks(body) if isinstance(body, Ticks) else engine.on_bar(body)  # type: ignore[arg-type]
        stored += [*engine.timers(number + 1), *engine.frames(), *signals, *engine.shown()]
    return stored


def again_at(engine: SignalEngine, bodies: list[AnyBody | int], first: int) -> list[AnyBody]:
    """Give what a later life stores that decides bars again, to the end of what there is."""
    stored: list[AnyBody] = []
    for number, body in enumerate(bodies, first):
        stored += _come_to(engine, number) if isinstance(body, int) else play(engine, [body], number)
    return stored + _come_to(engine, first + len(bodies))


def again_from(state: bytes, stored: list[AnyBody]) -> SignalEngine:
    engine = engine_of(*BOTS)
    engine.restore(pickle.loads(state))
    for body in stored:
        match body:
            case Signal():
                engine.on_own_signal(body)
            case DerivedBar():
                engine.on_own_frame(body)
            case IndicatorValues():
                engine.on_own_values(body)
            case BotDefined() | Timer():
                engine.expect(body)
            case _:
                pass
    return engine


@pytest.mark.parametrize("seed", range(6))
def test_over_a_restart_at_every_point_the_same_is_said_and_known(seed: int) -> None:
    bodies, whole = story(seed), engine_of(*BOTS)
    expected = [*map(body_json, play(whole, bodies))]
    assert any(b"five" in line and b'"Signal"' in line for line in expected)
    for kept in range(0, len(bodies), 7):
        first = engine_of(*BOTS)
        before = play(first, bodies[:kept])
        state = pickle.dumps(first.state())
        killed = min(len(bodies), kept + 5)
        stored = before + play(first, bodies[kept:killed], kept)
        again = again_from(state, stored)
        assert again_at(again, bodies[kept:killed], kept) == []
        stored += play(again, bodies[killed:], killed)
        assert [*map(body_json, stored)] == expected
        assert again.snapshots() == whole.snapshots()


CHANGES = (
    (msgspec.structs.replace(BOTS[0], params={"fast": 2, "slow": 4, "allow_short": True}), 2, "running"),
    (bot("5s", name="late", params={"fast": 1, "slow": 6}), 1, "running"),
    (BOTS[1], 2, "stopped"),
    (BOTS[2], 2, "paused"),
    (BOTS[1], 3, "running"),
    (msgspec.structs.replace(BOTS[2], timeframe="5s"), 3, "running"),
    (bot("10s", name="late", params={"fast": 1, "slow": 3}), 2, "running"),
)


def _changed(engine: SignalEngine, bodies: list[AnyBody | int], first: int, changes: dict[int, int]) -> list[AnyBody]:
    """Give what is stored where bots are changed after some bodies; those that are expected are taken in first."""
    stored: list[AnyBody] = []
    for number, body in enumerate(bodies, first):
        stored += play(engine, [body], number)
        if number in changes and not engine.is_expecting:
            definition, revision, status = CHANGES[changes[number]]
            if engine.revision(definition.name) < revision:
                answer = defined(definition, revision, engine, number + 1, status)
                engine.define(answer)
                stored.append(answer)
    return stored


def _come_to(engine: SignalEngine, seq: int) -> list[AnyBody]:
    while (found := engine.expected(seq))[0] is not None:
        assert found[1] == []  # all of it was said
        assert engine.define(found[0]) == []
    assert found[1] == []
    return [*engine.timers(), *engine.frames(), *engine.shown()]


@pytest.mark.parametrize("seed", range(6))
def test_over_a_restart_bots_change_where_they_changed(seed: int) -> None:
    bodies, draw = story(seed), random.Random(seed)
    changes = {place: number for number, place in enumerate(sorted(draw.sample(range(len(bodies)), len(CHANGES))))}
    whole = engine_of(*BOTS)
    expected = [*map(body_json, _changed(whole, bodies, 0, changes))]
    for kept in range(0, len(bodies), 7):
        first = engine_of(*BOTS)
        before = _changed(first, bodies[:kept], 0, changes)
        state = pickle.dumps(first.state())
        killed = min(len(bodies), kept + draw.choice((3, 20, 60)))
        stored = before + _changed(first, bodies[kept:killed], kept, changes)
        again = again_from(state, stored)
        assert again_at(again, bodies[kept:killed], kept) == []
        assert not again.is_expecting
        stored += _changed(again, bodies[killed:], killed, changes)
        assert [*map(body_json, stored)] == expected
        assert again.snapshots() == whole.snapshots()


@pytest.mark.parametrize("name", ["five", "ten", "quick", "minute"])
def test_a_bot_says_the_same_alone(name: str) -> None:
    """On the same ticks and bars, whichever other bots look at them."""
    alone = [one for one in BOTS if one.name == name]
    for seed in range(4):
        together = [
            body for body in play(engine_of(*BOTS), story(seed)) if isinstance(body, Signal) and body.bot == name
        ]
        single = [body for body in play(engine_of(*alone), story(seed)) if isinstance(body, Signal)]
        assert [*map(body_json, together)] == [*map(body_json, single)]
