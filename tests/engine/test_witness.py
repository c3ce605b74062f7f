"""Shadows with strategies: minutes stand among the signals, and the same stream gives the same again."""

from __future__ import annotations

import math
import pickle

import msgspec

from adapters.simulated import shadow_venue
from engine.bots import Bot, BotStatus, RiskLimits, Stops
from engine.messages import AnyBody, Bar, BotDefined, DerivedBar, Signal, Split, body_json
from engine.shadows import Shadows
from engine.signals import SignalEngine
from tests.engine.build import T0, D, always_open, bot, lent, minute, opened

SHADOW = bot(name="beta", shadow_of="alpha", position_fraction=0.2)


def _defined(definition: Bot = SHADOW, revision: int = 1, status: BotStatus = BotStatus.RUNNING) -> BotDefined:
    return BotDefined("beta", revision, definition, status, T0, "me", f"wish-{revision}", T0)


def _shadows() -> Shadows:
    return Shadows(RiskLimits(), shadow_venue)


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
