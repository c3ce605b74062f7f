"""A bot's new version takes over by bar time: no bar is missed or decided twice, and a restart changes nothing."""

from __future__ import annotations

import pickle
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bots import Bot, BotStatus
from engine.messages import Bar, BotDefined, Head, Signal, body_json, decode, encode
from engine.signals import SignalEngine
from engine.strategies import Target
from engine.values import Direction
from tests.engine.build import always_open, bar, bot, minute

FAST = bot(params={"fast": 1, "slow": 2})
SLOW = bot(params={"fast": 2, "slow": 4})


def _defined(of: Bot, revision: int, after: int = 0, status: BotStatus = BotStatus.RUNNING, **more: Any) -> BotDefined:
    return BotDefined(of.name, revision, of, status, minute(after) if after else 0, "me", f"w{revision}", 0, **more)


def _engine(*bots: Bot) -> SignalEngine:
    engine = SignalEngine("ACC1", "run1", bots)
    engine.on_sessions(always_open())
    return engine


def _bars(count: int, seed: int = 1, symbols: tuple[str, ...] = ("AAPL",)) -> list[Bar]:
    draw = random.Random(seed)
    return [bar(draw.uniform(9, 11), number, symbol) for number in range(1, count + 1) for symbol in symbols]


def _play(engine: SignalEngine, bars: list[Bar]) -> list[Signal]:
    return [said for each in bars for said in engine.on_bar(each)]


def _alone(of: Bot, bars: list[Bar]) -> list[Signal]:
    return _play(_engine(of), bars)


def test_up_to_its_time_the_old_version_decides_and_after_it_the_new_one_as_if_it_had_always_looked() -> None:
    bars = _bars(60)
    engine = _engine(FAST)
    said = _play(engine, bars[:30])
    engine.define(_defined(SLOW, 2, 30), bars[:30])
    said += _play(engine, bars[30:])
    old = [one for one in _alone(FAST, bars) if one.ts_event <= minute(30)]
    directions = {one.ts_event: one.direction for one in _alone(SLOW, bars)}
    assert [one for one in said if one.ts_event <= minute(30)] == old
    new = [one for one in said if one.ts_event > minute(30)]
    assert {one.ts_event: one.direction for one in new[1:]} == {
        at: to for at, to in directions.items() if at > new[0].ts_event
    }
    assert new[0].ts_event == minute(31)  # its target is said at once, whatever the old one's was
    assert set(new[0].indicators) == {"sma(2)", "sma(4)"}


def test_a_bar_from_before_its_time_that_comes_late_is_decided_by_the_old_version() -> None:
    both = bot(symbols=("AAPL", "MSFT"), params={"fast": 1, "slow": 2})
    engine = _engine(both)
    for number, close in ((1, 10.0), (2, 9.0)):
        engine.on_bar(bar(close, number))
        engine.on_bar(bar(close, number, "MSFT"))
    engine.on_bar(bar(9.0, 3))
    stopped = msgspec.structs.replace(both, params={"fast": 1, "slow": 3})
    engine.define(_defined(stopped, 2, 3), [bar(c, n, s) for n, c in ((1, 10.0), (2, 9.0)) for s in ("AAPL", "MSFT")])
    [late] = engine.on_bar(bar(12.0, 3, "MSFT"))
    assert set(late.indicators) == {"sma(1)", "sma(2)"}
    [after] = engine.on_bar(bar(8.0, 4, "MSFT"))
    assert set(after.indicators) == {"sma(1)", "sma(3)"}
    assert after.indicators["sma(3)"] == pytest.approx((9 + 12 + 8) / 3)


def test_other_capital_is_another_version_of_the_same_strategy() -> None:
    bars = _bars(40)
    engine = _engine(FAST)
    said = _play(engine, bars[:20])
    richer = msgspec.structs.replace(FAST, capital=FAST.capital * 2)
    assert engine.must_learn(richer, BotStatus.RUNNING) == set()
    engine.define(_defined(richer, 2, 20))
    assert said + _play(engine, bars[20:]) == _alone(FAST, bars)


def test_a_paused_bot_looks_and_says_nothing_and_says_its_target_when_it_runs_again() -> None:
    bars = _bars(40)
    engine = _engine(FAST)
    _play(engine, bars[:10])
    engine.define(_defined(FAST, 2, 10, BotStatus.PAUSED))
    assert _play(engine, bars[10:25]) == []
    assert engine.must_learn(FAST, BotStatus.RUNNING) == set()
    engine.define(_defined(FAST, 3, 25))
    said = _play(engine, bars[25:])
    assert said[0].ts_event == minute(26)
    alone = [one for one in _alone(FAST, bars) if one.ts_event > minute(26)]
    assert said[1:] == alone


def test_a_stopped_bot_does_not_look_and_is_warmed_up_when_it_runs_again() -> None:
    bars = _bars(40)
    engine = _engine(SLOW)
    _play(engine, bars[:10])
    engine.define(_defined(SLOW, 2, 10, BotStatus.STOPPED))
    assert _play(engine, bars[10:25]) == []
    assert engine.snapshots() == []
    again = _defined(SLOW, 3, 25)
    assert engine.must_learn(SLOW, BotStatus.RUNNING) == {"AAPL"}
    engine.define(again, bars[:25])
    said = _play(engine, bars[25:])
    assert said[0].ts_event == minute(26)
    assert said[1:] == [one for one in _alone(SLOW, bars) if one.ts_event > minute(26)]


def test_a_stop_that_closes_positions_says_flat_at_once_and_nothing_after() -> None:
    engine = _engine(FAST, bot(name="beta", params={"fast": 1, "slow": 2}))
    assert [one.direction for one in _play(engine, [bar(10.0, 1), bar(11.0, 2)])] == [Direction.LONG] * 2
    stopped = _defined(FAST, 2, 2, BotStatus.STOPPED, flatten=True)
    [said] = engine.define(stopped)
    assert (said.bot, said.direction, said.price, said.ts_event) == ("alpha", Direction.FLAT, 11.0, minute(2))
    assert said.reason == "stopped by me, with its positions closed"
    assert engine.define(stopped) == []
    assert [one.bot for one in _play(engine, [bar(9.0, 3), bar(12.0, 4), bar(9.0, 5)])] == ["beta"] * 3


def test_a_close_that_was_not_said_before_a_crash_is_said_at_its_place() -> None:
    """Also where the last signal is of the same time."""
    engine = _engine(FAST)
    before, bars = pickle.dumps(engine.state()), [bar(10.0, 1), bar(11.0, 2)]
    [entry] = _play(engine, bars)
    for state in (before, pickle.dumps(engine.state())):
        again = _engine()
        again.restore(pickle.loads(state))
        again.expect(_defined(FAST, 2, 2, BotStatus.STOPPED, flatten=True))  # stored; what followed from it was not
        again.on_own_signal(entry)
        assert again.forget_unsaid() == []
        assert state != before or _play(again, bars) == []
        stopped, _ = again.expected(2)
        assert stopped is not None
        [said] = again.define(stopped)
        assert (said.direction, said.ts_event) == (Direction.FLAT, minute(2))
        again.caught_up()
        assert _play(again, [bar(12.0, 3), bar(9.0, 4)]) == []


def test_after_a_close_a_late_bar_opens_nothing() -> None:
    engine = _engine(FAST, bot(name="beta", symbols=("MSFT",), params={"fast": 1, "slow": 2}))
    _play(engine, [bar(10.0, 1), bar(9.0, 2), bar(9.0, 3, "MSFT")])
    stopped = _defined(FAST, 2, 3, BotStatus.STOPPED, flatten=True)
    engine.define(stopped)
    assert engine.on_bar(bar(12.0, 3)) == []


def test_a_symbol_that_was_taken_away_is_decided_no_more_and_a_new_one_is() -> None:
    engine = _engine(FAST)
    _play(engine, [bar(10.0, 1), bar(9.0, 2)])
    engine.define(_defined(msgspec.structs.replace(FAST, symbols=("MSFT",)), 2, 2))
    said = _play(engine, [bar(12.0, 3), bar(10.0, 3, "MSFT"), bar(13.0, 4), bar(11.0, 4, "MSFT")])
    assert [(one.symbol, one.ts_event) for one in said] == [("MSFT", minute(4))]


def test_a_known_revision_changes_nothing() -> None:
    engine = _engine(FAST)
    engine.define(_defined(SLOW, 1))
    assert engine.revision("alpha") == 1
    assert _play(engine, _bars(30)) == _alone(FAST, _bars(30))


_STEPS = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.sampled_from(["fast", "slow", "capital", "pause", "stop", "run"]),
    ),
    max_size=6,
)


@given(_STEPS, st.integers(0, 40), st.integers(0, 10_000))
def test_what_is_said_follows_from_bars_and_definitions_alone(
    steps: list[tuple[int, str]], cut: int, seed: int
) -> None:
    """Told as it happens, all told at the beginning, and over a restart at any bar: the same signals and values."""
    bars = _bars(40, seed)
    definitions: dict[int, list[BotDefined]] = {}
    now, status, revision = FAST, BotStatus.RUNNING, 1
    for number, what in sorted(steps, key=lambda step: step[0]):
        revision += 1
        match what:
            case "fast" | "slow":
                now = msgspec.structs.replace(now, params=(FAST if what == "fast" else SLOW).params)
            case "capital":
                now = msgspec.structs.replace(now, capital=now.capital + 1)
            case _:
                status = {"pause": BotStatus.PAUSED, "stop": BotStatus.STOPPED, "run": BotStatus.RUNNING}[what]
        definitions.setdefault(number, []).append(_defined(now, revision, number, status))

    def live(engine: SignalEngine, first: int, last: int) -> list[Signal]:
        said: list[Signal] = []
        for number in range(first, last + 1):
            said += engine.on_bar(bars[number - 1])
            for defined in definitions.get(number, []):
                engine.define(defined, bars[:number])
        return said

    told = _engine(FAST)
    expected = live(told, 1, 40)
    known = _engine(FAST)
    for defined in [one for of in definitions.values() for one in of]:
        known.define(defined)
    assert _play(known, bars) == expected
    assert known.snapshots() == told.snapshots()

    before = _engine(FAST)
    said = live(before, 1, cut)
    again = _engine(FAST)
    again.restore(pickle.loads(pickle.dumps(before.state())))
    for one in said[-1:]:
        again.on_own_signal(one)
    left = live(again, cut + 1, 40)
    assert [body_json(one) for one in said + left] == [body_json(one) for one in expected]
    assert again.snapshots() == told.snapshots()


# --- a strategy that raises ------------------------------------------------------------------------------------------


class _Raising:
    """Raises at every bar of a symbol."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol

    def on_bar(self, bar: Bar) -> Target | None:
        if bar.symbol == self.symbol:
            msg = "list index out of range"
            raise IndexError(msg)
        return Target(Direction.LONG, 1.0, "always")

    def snapshot(self) -> dict[str, float]:
        return {}


def test_a_strategy_that_raises_harms_nobody_else_and_is_given_up_after_a_number_of_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from engine import versions

    real = versions.make
    monkeypatch.setattr(
        versions, "make", lambda name, params: _Raising("MSFT") if name == "bad" else real(name, params)
    )
    bad = bot(name="bad", strategy="bad", symbols=("AAPL", "MSFT"))
    engine = _engine(FAST, bad)
    bars = _bars(30, symbols=("AAPL", "MSFT"))
    said = _play(engine, bars[:18])
    assert [one.symbol for one in said if one.bot == "bad"] == ["AAPL"]
    assert engine.failed() == {}
    alerts = engine.alerts()
    assert len(alerts) == 9
    assert alerts[0].what == (
        "bot bad, strategy bad, MSFT: IndexError: list index out of range; this bar decides nothing"
    )
    said += _play(engine, bars[18:20])
    failed = engine.failed()
    assert failed == {"bad": "strategy bad, MSFT: IndexError: list index out of range; it raised 10 times"}
    engine.define(_defined(bad, 2, 10, BotStatus.ERROR))
    said += _play(engine, bars[20:])
    assert [one for one in said if one.bot == "alpha"] == _alone(FAST, bars)
    assert engine.counters.faults == 10
    assert engine.failed() == {}


def test_a_close_that_the_stream_lost_is_said_anew_after_another_revision() -> None:
    engine = _engine(FAST)
    [entry] = _play(engine, [bar(10.0, 1), bar(11.0, 2)])
    assert len(engine.define(_defined(FAST, 2, 2, BotStatus.STOPPED, flatten=True))) == 1
    engine.define(_defined(msgspec.structs.replace(FAST, capital=FAST.capital / 2), 3, 2, BotStatus.STOPPED))
    again = _engine()
    again.restore(pickle.loads(pickle.dumps(engine.state())))
    again.on_own_signal(entry)  # the stream lost what followed
    again.forget_unsaid()
    again.caught_up()
    assert [one.direction for one in again.on_bar(bar(12.0, 3))] == [Direction.FLAT]


class _Odd:
    """Gives what a user may give by mistake."""

    def __init__(self, target: object, values: object = None) -> None:
        self.target, self.values = target, values if values is not None else {}

    def on_bar(self, bar: Bar) -> Any:
        if isinstance(self.target, BaseException):
            raise self.target
        return self.target

    def snapshot(self) -> Any:
        return self.values


class _WordsError(Exception):
    def __str__(self) -> str:
        raise ValueError


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("target", "values", "said"),
    [
        (Target(Direction.LONG, True, "x"), None, None),
        (Target(Direction.LONG, 10**400, "x"), None, None),
        (Target("long", 1.0, "x"), None, None),  # type: ignore[arg-type]
        (Target(Direction.LONG, 1.0, 3), None, None),  # type: ignore[arg-type]
        (Target(Direction.LONG, 1, _Text("two\nlines")), None, "two lines"),
        (Target(Direction.LONG, 1.0, "x" * 2_000_000), None, "x" * 500),
        (Target(Direction.LONG, 1.0, "a\ud800b"), None, "a?b"),
        (Target(Direction.LONG, 1.0, "x"), {f"v{number}": 1.0 for number in range(300)}, None),
        (Target(Direction.LONG, 1.0, "x"), {"v": "text"}, None),
        (Target(Direction.LONG, 1.0, "x"), {3: 1.0}, None),
        (Target(Direction.LONG, 1.0, "x"), [1.0], None),
        (_WordsError(), None, None),
        (SystemExit(3), None, None),
        (ValueError("two\nlines" * 10_000), None, None),
    ],
)
def test_what_a_strategy_gives_is_said_as_it_can_be_stored_or_is_its_fault(
    monkeypatch: pytest.MonkeyPatch, target: object, values: object, said: str | None
) -> None:
    from engine import versions

    monkeypatch.setattr(versions, "make", lambda *_: _Odd(target, values))
    engine = _engine(bot(strategy="odd"))
    signals = engine.on_bar(bar(10.0, 1))
    assert [one.reason for one in signals] == ([] if said is None else [said])
    assert engine.counters.faults == (said is None)
    for body in (*signals, *engine.alerts()):
        assert decode(encode(Head(1), body)).body == body
        assert len(body_json(body)) < 2_000


def test_one_that_cannot_be_kept_is_given_up_once_and_the_rest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import versions

    real = versions.make
    odd = _Odd(Target(Direction.FLAT, 0.0, "x"), {})
    odd.rule = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setattr(versions, "make", lambda name, params: odd if name == "odd" else real(name, params))
    engine = _engine(FAST, bot(name="odd", strategy="odd"))
    engine.on_bar(bar(10.0, 1))
    with pytest.raises(Exception, match=r"pickle|local"):
        pickle.dumps(engine.state())
    engine.give_up_unkept(pickle.dumps)
    assert list(engine.failed()) == ["odd"]
    assert pickle.dumps(engine.state())
    engine.give_up_unkept(pickle.dumps)
    assert engine.failed() == {}


def test_code_of_what_does_not_look_any_more_is_not_asked_for() -> None:
    engine = _engine(FAST, bot(name="beta", params={"fast": 1, "slow": 2}))
    assert {one.name for one in engine.bots()} == {"alpha", "beta"}
    engine.define(_defined(FAST, 2, 2, BotStatus.ERROR))
    _play(engine, _bars(3))
    assert {one.name for one in engine.bots()} == {"beta"}


def test_rehearsing_says_what_a_strategy_raises_at_past_bars_and_nothing_of_parameters() -> None:
    engine = _engine()
    bars = _bars(30)
    _play(engine, bars)
    assert engine.rehearse(FAST, bars) == ""
    assert engine.rehearse(bot(params={"fast": 9, "slow": 3}), bars) == ""  # the roster names field and value
    broken = [msgspec.structs.replace(one, close=float("nan")) for one in bars]
    assert engine.rehearse(FAST, broken[:9]) == ""
    assert "strategy sma_crossover raised at 10 past bars and fills, AAPL: ValueError" in engine.rehearse(FAST, broken)


def test_too_many_new_symbols_are_told_of_and_other_capital_is_not() -> None:
    many = bot(symbols=tuple(f"S{number:03}" for number in range(501)), params=FAST.params)
    engine = _engine()
    engine.on_bar(bar(10.0, 1))
    assert engine.must_learn(many, BotStatus.RUNNING) == set()
    engine.define(_defined(many, 1, 1))
    [told] = engine.alerts()
    assert told.what == "bot alpha: its 501 new symbols warm up from now on: the past of at most 500 is read"
    engine.define(_defined(msgspec.structs.replace(many, capital=many.capital * 2), 2, 1))
    assert engine.alerts() == []
