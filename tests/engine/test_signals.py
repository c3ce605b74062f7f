"""The four invariants of engine.signals, and restarts at every point."""

from __future__ import annotations

import io
import itertools
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ids import bar_key, make_id
from engine.messages import Bar, Head, Sessions, Signal, body_json, encode
from engine.signals import SignalEngine
from engine.strategies import Target
from engine.values import AssetClass, Direction
from tests.engine.build import always_open, bar, bot, minute

ALPHA = bot(params={"fast": 1, "slow": 2})


def _engine(*bots: object, sessions: Sessions | None = None) -> SignalEngine:
    engine = SignalEngine("ACC1", "run1", bots or (ALPHA,))  # type: ignore[arg-type]
    engine.on_sessions(sessions or always_open())
    return engine


def _content(engine: SignalEngine) -> bytes:
    """The whole state, whichever of its texts are one object: those of an unpickled one are others."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5)
    pickler.fast = True
    pickler.dump(engine.state())
    return file.getvalue()


def _said(engine: SignalEngine, *closes: float, first: int = 1, **more: object) -> list[tuple[int, str]]:
    """Bar number and direction of what is said."""
    found: list[tuple[int, str]] = []
    for number, close in enumerate(closes, first):
        found += [(number, signal.direction.value) for signal in engine.on_bar(bar(close, number, **more))]
    return found


def test_a_signal_is_said_when_the_target_changes_and_names_its_bar() -> None:
    engine = _engine()
    assert engine.on_bar(bar(10.0, 1)) == []
    [said] = engine.on_bar(bar(11.0, 2))
    key = bar_key("AAPL", "1m", minute(2), 0)
    assert said == Signal(
        id=make_id("ACC1", "run1", "alpha", "signal", key, 0),
        bot="alpha",
        symbol="AAPL",
        strategy="sma_crossover",
        direction=Direction.LONG,
        strength=1.0,
        price=11.0,
        reason="sma(1) > sma(2)",
        bar=key,
        ts_event=minute(2),
        indicators={"sma(1)": 11.0, "sma(2)": 10.5},
    )
    assert _said(engine, 12.0, 13.0, 12.0, 11.0, 12.0, first=3) == [(5, "flat"), (7, "long")]
    counters = engine.counters
    assert (counters.bars, counters.evaluated, counters.refused, counters.signals) == (7, 7, 0, 3)


def test_being_flat_from_the_start_is_nothing_to_say() -> None:
    assert _said(_engine(), 12.0, 11.0, 10.0) == []


def test_bars_of_unknown_symbols_and_timeframes_are_counted_and_passed_over() -> None:
    engine = _engine()
    assert _said(engine, 1.0, 2.0, symbol="MSFT") == []
    assert engine.on_bar(Bar("AAPL", "5m", minute(5), 1, 1, 1, 1, 1)) == []
    assert (engine.counters.bars, engine.counters.evaluated) == (3, 0)


def test_each_bot_speaks_for_itself_in_the_order_of_configuration() -> None:
    slow = bot(name="beta", params={"fast": 1, "slow": 3}, symbols=("AAPL", "MSFT"))
    engine = _engine(slow, ALPHA)
    for number in (1, 2):
        engine.on_bar(bar(10.0, number))
    said = engine.on_bar(bar(11.0, 3))
    assert [(signal.bot, signal.direction) for signal in said] == [("beta", "long"), ("alpha", "long")]
    assert len({signal.id for signal in said}) == 2


# 1. A bar at or before the last one moves nothing.


@given(
    st.lists(st.sampled_from([9.0, 10.0, 11.0]), min_size=3, max_size=20),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=10),
)
def test_repeated_and_late_bars_move_nothing(closes: list[float], again: list[tuple[int, int]]) -> None:
    bars = [bar(close, number) for number, close in enumerate(closes, 1)]
    calm, disturbed = _engine(), _engine()
    wanted: list[Signal] = []
    found: list[Signal] = []
    repeated = 0
    for number, item in enumerate(bars):
        wanted += calm.on_bar(item)
        found += disturbed.on_bar(item)
        for after, which in again:
            if after % len(bars) == number and which <= number:
                late = bars[which]
                assert disturbed.on_bar(bar(late.close + 5, which + 1)) == []
                repeated += 1
    assert found == wanted
    assert disturbed.counters.refused == repeated
    assert _content(disturbed) == _content(calm)


# 2. A backfilled bar moves indicators and yields no signal; the first live bar after it speaks.


def test_a_backfilled_bar_moves_and_is_silent_and_the_next_live_one_speaks() -> None:
    engine = _engine()
    assert _said(engine, 10.0, 11.0, is_backfill=True) == []
    assert _said(engine, 12.0, first=3) == [(3, "long")]
    engine = _engine()
    assert _said(engine, 10.0, 11.0, 12.0, is_backfill=True) == []
    assert _said(engine, 11.0, first=4) == []  # out again before anything was said


# 3. At or before the cause of the last signal in the stream nothing is emitted.


def _play(bars: list[Bar], engine: SignalEngine) -> list[Signal]:
    return [signal for item in bars for signal in engine.on_bar(item)]


def _bars(seed: int, count: int) -> list[Bar]:
    draw = random.Random(seed)
    return [
        bar(draw.choice([9.0, 9.5, 10.0, 10.5, 11.0]), number, symbol, is_backfill=draw.random() < 0.1)
        for number in range(1, count + 1)
        for symbol in ("AAPL", "BTC/USD")
    ]


BOTS = (
    bot(symbols=("AAPL", "BTC/USD"), params={"fast": 1, "slow": 2, "allow_short": True}),
    bot(name="beta", strategy="rsi", symbols=("BTC/USD",), params={"period": 3}),
)


@given(st.integers(0, 10_000), st.integers(0, 80), st.integers(0, 80))
def test_a_restart_from_any_checkpoint_says_what_is_left_and_nothing_twice(seed: int, cut: int, crash: int) -> None:
    """A state of bar `cut`, a crash after bar `crash`: what is in the stream is learnt, what is not yet is said."""
    bars = _bars(seed, 40)
    crash, cut = max(cut, crash), min(cut, crash)
    hours = Sessions(AssetClass.US_EQUITY, ((minute(5), minute(15)), (minute(25), minute(35))), 0)
    undisturbed = _engine(*BOTS, sessions=hours)
    before = _play(bars[:cut], undisturbed)
    checkpoint = pickle.dumps(undisturbed.state())
    between = _play(bars[cut:crash], undisturbed)
    after = _play(bars[crash:], undisturbed)

    restarted = _engine(*BOTS, sessions=hours)
    restarted.restore(pickle.loads(checkpoint))
    last = {f"{one.bot}|{one.symbol}": one for one in before + between}
    for said_last in last.values():  # what the service reads: the last signal of every subject
        restarted.on_own_signal(said_last)
    assert _play(bars[cut:crash], restarted) == []
    left = _play(bars[crash:], restarted)
    assert [body_json(signal) for signal in left] == [body_json(signal) for signal in after]
    assert _content(restarted) == _content(undisturbed)


@given(st.integers(0, 10_000), st.integers(0, 80), st.integers(0, 3))
def test_outputs_that_were_not_stored_before_the_crash_are_said_again(seed: int, cut: int, lost: int) -> None:
    bars = _bars(seed, 40)
    undisturbed = _engine(*BOTS)
    before = _play(bars[:cut], undisturbed)
    checkpoint = pickle.dumps(undisturbed.state())
    after = _play(bars[cut:], undisturbed)
    stored = before + after[:lost]

    restarted = _engine(*BOTS)
    restarted.restore(pickle.loads(checkpoint))
    for last_said in {f"{one.bot}|{one.symbol}": one for one in stored}.values():
        restarted.on_own_signal(last_said)
    assert _play(bars[cut:], restarted) == after[lost:]


@given(st.integers(0, 10_000), st.integers(0, 80))
def test_a_restored_state_alone_goes_on_as_if_nothing_had_happened(seed: int, cut: int) -> None:
    bars = _bars(seed, 40)
    undisturbed = _engine(*BOTS)
    _play(bars[:cut], undisturbed)
    restored = _engine(*BOTS)
    restored.restore(pickle.loads(pickle.dumps(undisturbed.state())))
    assert _play(bars[cut:], restored) == _play(bars[cut:], undisturbed)
    assert _content(restored) == _content(undisturbed)


def test_without_a_checkpoint_everything_is_replayed_in_silence() -> None:
    bars = _bars(3, 40)
    undisturbed = _engine(*BOTS)
    said = _play(bars, undisturbed)
    assert len(said) > 10
    cold = _engine(*BOTS)
    for last_said in {f"{one.bot}|{one.symbol}": one for one in said}.values():
        cold.on_own_signal(last_said)
    assert _play(bars, cold) == []
    assert _content(cold) == _content(undisturbed)


@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(0, 80))
def test_what_the_stream_lost_is_said_again_with_the_next_bar(seed: int, cut: int, kept: int) -> None:
    """A checkpoint knows of signals that the stream no longer has: its targets are those of the stream, not its own."""
    bars = _bars(seed, 40)
    undisturbed = _engine(*BOTS)
    said = _play(bars[:cut], undisturbed)
    kept = min(kept, len(said))
    last = {f"{one.bot}|{one.symbol}": one for one in said[:kept]}

    restarted = _engine(*BOTS)
    restarted.restore(pickle.loads(pickle.dumps(undisturbed.state())))
    for last_said in last.values():
        restarted.on_own_signal(last_said)
    lost = {f"{one.bot}|{one.symbol}" for one in said[kept:]}
    assert {f"{bot}|{symbol}" for bot, symbol in restarted.forget_unsaid()} == lost
    again = _play(bars[cut:], restarted)
    whole = _play(bars[cut:], undisturbed)
    for key in {f"{one.bot}|{one.symbol}" for one in again + whole} | lost:
        first = next((one for one in again if f"{one.bot}|{one.symbol}" == key), None)
        known = last.get(key)
        if first is not None:
            assert (first.direction, first.strength) != ((known.direction, known.strength) if known else ("flat", 0.0))
        if key not in lost:
            ours, theirs = ([o for o in found if f"{o.bot}|{o.symbol}" == key] for found in (again, whole))
            assert ours == theirs


def test_an_older_own_signal_does_not_take_back_a_newer_one() -> None:
    engine = _engine()
    first, second = _play([bar(c, n) for n, c in enumerate((10.0, 11.0, 10.0), 1)], _engine())
    engine.on_own_signal(second)
    engine.on_own_signal(first)
    assert _said(engine, 10.0, 11.0, 10.0, 9.0) == []


def test_a_signal_of_another_bot_or_symbol_silences_nobody() -> None:
    [said] = _play([bar(10.0, 1), bar(11.0, 2)], _engine())
    for other in ({"bot": "beta"}, {"symbol": "MSFT"}):
        engine = _engine()
        engine.on_own_signal(Signal(**{name: getattr(said, name) for name in said.__struct_fields__} | other))
        assert _said(engine, 10.0, 11.0) == [(2, "long")]


def test_a_state_of_other_bots_leaves_new_ones_cold() -> None:
    engine = _engine()
    _said(engine, 10.0, 11.0)
    other = _engine(bot(name="beta", params={"fast": 1, "slow": 2}))
    other.restore(pickle.loads(pickle.dumps(engine.state())))
    assert _said(other, 10.0, 11.0) == [(2, "long")]


# 4. Outside its session a bot's bars move indicators; a changed target is published with the first bar in session.


@pytest.mark.parametrize(
    ("session", "symbol", "said"),
    [
        ("regular", "AAPL", [(4, "long")]),
        ("any", "AAPL", [(2, "long")]),
        ("regular", "BTC/USD", [(2, "long")]),
    ],
)
def test_outside_the_session_a_bot_listens_and_is_silent(
    session: str, symbol: str, said: list[tuple[int, str]]
) -> None:
    hours = Sessions(AssetClass.US_EQUITY, ((minute(4), minute(6)),), 0)
    engine = _engine(bot(session=session, symbols=(symbol,), params={"fast": 1, "slow": 2}), sessions=hours)
    assert _said(engine, 10.0, 11.0, 12.0, 13.0, 14.0, symbol=symbol) == said


def test_a_target_that_turns_while_closed_is_said_at_the_next_opening() -> None:
    hours = Sessions(AssetClass.US_EQUITY, ((minute(2), minute(4)), (minute(6), minute(9))), 0)
    engine = _engine(sessions=hours)
    assert _said(engine, 10.0, 11.0, 12.0, 11.0, 10.0, 9.0, 8.0) == [(2, "long"), (6, "flat")]


def test_no_calendar_no_signal() -> None:
    engine = SignalEngine("ACC1", "run1", (ALPHA,))
    assert _said(engine, 10.0, 11.0, 12.0) == []


# --- numbers that are none -----------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


class _Scripted:
    """A strategy that says what it is told to, bar by bar."""

    def __init__(self, said: list[tuple[Target | None, dict[str, float]]]) -> None:
        self._said = said
        self._values: dict[str, float] = {}

    def on_bar(self, bar: Bar) -> Target | None:
        target, self._values = self._said.pop(0)
        return target

    def snapshot(self) -> dict[str, float]:
        return self._values


def _scripted(monkeypatch: pytest.MonkeyPatch, *said: tuple[Target | None, dict[str, float]]) -> SignalEngine:
    monkeypatch.setattr("engine.versions.make", lambda name, params: _Scripted(list(said)))
    return _engine()


def _long(strength: float) -> Target:
    return Target(Direction.LONG, strength, "test")


@pytest.mark.parametrize("strength", [NAN, INF, -INF, -0.01, 1.01])
def test_a_strength_that_is_none_opens_nothing_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, strength: float
) -> None:
    engine = _scripted(
        monkeypatch, (_long(strength), {}), (_long(strength), {}), (_long(1.0), {}), (_long(strength), {})
    )
    assert engine.on_bar(bar(10.0, 1)) == []
    [alert] = engine.alerts()
    assert (alert.level, alert.role, alert.ts_event) == ("error", "signals", minute(1))
    assert f"was {strength!r}" in alert.what
    assert "bot alpha" in alert.what
    assert "AAPL" in alert.what
    assert (engine.on_bar(bar(10.0, 2)), engine.alerts()) == ([], [])
    [said] = engine.on_bar(bar(10.0, 3))
    assert (said.direction, said.strength) == (Direction.LONG, 1.0)
    assert (engine.on_bar(bar(10.0, 4)), len(engine.alerts())) == ([], 1)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_a_strength_up_to_its_bounds_is_said(monkeypatch: pytest.MonkeyPatch, strength: float) -> None:
    engine = _scripted(monkeypatch, (_long(strength), {}))
    assert [said.strength for said in engine.on_bar(bar(10.0, 1))] == [strength]
    assert engine.alerts() == []


@pytest.mark.parametrize("value", [NAN, INF])
def test_an_indicator_that_is_none_opens_nothing(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    engine = _scripted(monkeypatch, (_long(1.0), {"a": 1.0, "b": value}), (_long(1.0), {"a": 1.0, "b": 2.0}))
    assert engine.on_bar(bar(10.0, 1)) == []
    assert f"indicator b = {value!r}" in engine.alerts()[0].what
    assert len(engine.on_bar(bar(10.0, 2))) == 1


def test_an_exit_is_said_whatever_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = Target(Direction.FLAT, NAN, "out")
    engine = _scripted(monkeypatch, (_long(1.0), {"a": 1.0}), (flat, {"a": NAN, "b": 2.0}))
    engine.on_bar(bar(10.0, 1))
    [said] = engine.on_bar(bar(10.0, 2))
    assert (said.direction, said.strength, said.indicators) == (Direction.FLAT, 0.0, {"b": 2.0})
    assert len(engine.alerts()) == 1
    assert b"null" not in encode(Head(1), said)


def test_a_restart_does_not_tell_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _scripted(monkeypatch, (_long(NAN), {}), (_long(NAN), {}))
    engine.on_bar(bar(10.0, 1))
    again = _scripted(monkeypatch)
    again.restore(pickle.loads(pickle.dumps(engine.state())))
    assert (again.on_bar(bar(10.0, 2)), again.alerts()) == ([], [])


def test_values_are_shown_at_every_bar_of_a_bot_that_publishes_them_and_once() -> None:
    shows = bot(params={"fast": 1, "slow": 2}, publish_indicators=True)
    engine = _engine(shows, bot(name="silent"))
    closes = (10.0, 11.0, 9.0, 9.5, 12.0)
    shown = []
    for number, close in enumerate(closes, 1):
        engine.on_bar(bar(close, number))
        shown += engine.shown()
    assert [(one.bot, one.ts_event, one.values) for one in shown] == [
        ("alpha", minute(number), {"sma(1)": close, "sma(2)": (close + before) / 2})
        for number, (before, close) in enumerate(itertools.pairwise(closes), 2)
    ]
    assert shown[0].bar == bar_key("AAPL", "1m", minute(2), 0)
    again = _engine(shows)
    again.on_own_values(shown[2])
    for number, close in enumerate(closes, 1):
        again.on_bar(bar(close, number))
    assert again.shown() == shown[3:]
