"""Bars from before the first that there is: what is asked for, what is made of it, and what strategies know of it."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from engine.bots import Bot, BotStatus
from engine.messages import Bar, BotDefined, PastBars, Signal, Split
from engine.pasts import PastAsk, PastCore
from engine.sessions import SessionTable
from engine.signals import SignalEngine
from engine.splits import SplitBook
from engine.strategies import make, names, past_bars_of
from engine.values import NS_PER_MINUTE, PAST_BARS_MAX, PAST_SYMBOLS_MAX
from tests.engine import build
from tests.engine.build import D
from tests.engine.test_frames import bar_at, calendar, table, wall
from tests.engine.test_timeframes import engine_of, market

SYMBOLS = ("AAPL", "MSFT")
CUT = wall("2026-11-25T10:17")
MINUTES = market(5, days=3)
BEFORE = [bar for bar in MINUTES if bar.ts_event <= CUT]
AFTER = [msgspec.structs.replace(bar, is_backfill=False) for bar in MINUTES if bar.ts_event > CUT]


def venue_bars(timeframe: str, from_ns: int, to_ns: int, symbols: tuple[str, ...]) -> list[Bar]:
    """What a venue has: bars of `timeframe` counted by the clock, with all of their minutes in them."""
    step = int(timeframe[:-1]) * NS_PER_MINUTE
    found: dict[tuple[int, str], Bar] = {}
    for bar in BEFORE:
        end = -(-bar.ts_event // step) * step
        known = found.get((end, bar.symbol))
        made = bar if known is None else known
        found[end, bar.symbol] = msgspec.structs.replace(
            made,
            timeframe=timeframe,
            ts_event=end,
            high=max(made.high, bar.high),
            low=min(made.low, bar.low),
            close=bar.close,
            volume=bar.volume if known is None else known.volume + bar.volume,
        )
    return [bar for key, bar in sorted(found.items()) if from_ns < key[0] <= to_ns and bar.symbol in symbols]


def answered(core: PastCore, ask: PastAsk) -> list[PastBars]:
    minutes = venue_bars("1m", ask.minutes_from_ns, ask.to_ns, ask.symbols)
    return core.on_past(ask, venue_bars(ask.fetched, ask.from_ns, ask.to_ns, ask.symbols), minutes, CUT)


def asks_of(
    core: PastCore, timeframe: str, bars: int = 20, symbols: tuple[str, ...] = ("AAPL", "MSFT")
) -> list[PastAsk]:
    missing = core.missing((symbol, timeframe, bars) for symbol in symbols)
    return core.asks(missing, dict.fromkeys(symbols, CUT), CUT)


def bot(timeframe: str, **more: object) -> Bot:
    fields: dict[str, object] = {"symbols": SYMBOLS, "params": {"fast": 2, "slow": 3, "allow_short": True}}
    return build.bot(timeframe=timeframe, **(fields | more))


def defined(of: Bot, from_ts: int = 0) -> BotDefined:
    return BotDefined(of.name, 1, of, BotStatus.RUNNING, from_ts, "", "", 0, past_bars=20)


def said_with(engine: SignalEngine, bars: list[Bar], history: list[Bar]) -> tuple[list[Signal], list[object]]:
    """As the role does: the stored bars of before, too, where the engine asks. What was said, and seen at each bar."""
    signals: list[Signal] = []
    seen: list[object] = []
    for number, bar in enumerate(bars):
        signals += engine.come_before(bar)
        past = [*history, *bars[: number + 1]] if engine.needs_past(bar) else []
        signals += engine.on_bar(bar, past)
        seen += [
            pytest.approx(shown, rel=1e-9) for _, symbol, _, _, shown in engine.snapshots() if symbol == bar.symbol
        ]
    return signals, seen


def seen_by(engine: SignalEngine, bars: list[Bar]) -> tuple[list[Signal], list[object]]:
    signals: list[Signal] = []
    seen: list[object] = []
    for bar in bars:
        signals += engine.on_bar(bar)
        seen += [shown for _, symbol, _, _, shown in engine.snapshots() if symbol == bar.symbol]
    return signals, seen


TIMEFRAMES = {"1m": "1m", "2m": "1m", "5m": "5m", "20m": "10m", "45m": "15m", "90m": "30m", "4h": "30m", "1d": "30m"}


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@pytest.mark.parametrize("is_known_at_once", [True, False])
def test_strategies_know_the_past_as_if_they_had_seen_it(timeframe: str, *, is_known_at_once: bool) -> None:
    """Cut in the middle of a session: the frame that is open then is whole, too."""
    core, of = PastCore(table()), bot(timeframe)
    [ask] = asks_of(core, timeframe)
    assert (ask.fetched, ask.symbols) == (TIMEFRAMES[timeframe], SYMBOLS)
    pasts = answered(core, ask)
    history = [bar for past in pasts for bar in past.every()]
    cold = engine_of()
    if is_known_at_once:
        cold.define(defined(of, CUT), history)
    else:
        cold.define(defined(of, CUT))
        for past in pasts:
            cold.on_past(past)
        cold.restore(pickle.loads(pickle.dumps(cold.state())))
    calm = engine_of(of)
    seen_by(calm, BEFORE)
    later, expected = seen_by(calm, AFTER)
    heard, seen = said_with(cold, AFTER, history)
    assert expected == seen
    for symbol in SYMBOLS:
        one, other = ([(s.ts_event, s.direction) for s in every if s.symbol == symbol] for every in (heard, later))
        assert one[len(one) - len(other) :] == other
        assert len(one) - len(other) in {0, 1}  # it says what it wants when it comes; the other had said so before


def test_without_the_past_a_strategy_knows_less() -> None:
    cold = engine_of(bot("1d"))
    assert said_with(cold, AFTER, [])[0] == []
    assert [shown for *_, shown in cold.snapshots()] == [{}, {}]


def test_a_past_that_comes_late_says_nothing_of_bars_that_were_decided() -> None:
    core = PastCore(table())
    [ask] = asks_of(core, "5m")
    pasts = answered(core, ask)
    history = [bar for past in pasts for bar in past.every()]
    engine = engine_of()
    engine.define(defined(bot("5m")))
    half = len(AFTER) // 2
    before, _ = said_with(engine, AFTER[:half], [])
    for past in pasts:
        engine.on_past(past)
    signals = list[Signal]()
    for number, bar in enumerate(AFTER[half:], half):
        signals += engine.come_before(bar)
        past = [*history, *AFTER[: number + 1]] if engine.needs_past(bar) else []
        signals += engine.on_bar(bar, past)
    calm = engine_of(bot("5m"))
    seen_by(calm, MINUTES)
    assert [pytest.approx(shown, rel=1e-9) for *_, shown in engine.snapshots()] == [s for *_, s in calm.snapshots()]
    assert all(signal.ts_event > AFTER[half - 1].ts_event - 5 * NS_PER_MINUTE for signal in signals)
    assert len({signal.id for signal in (*before, *signals)}) == len(before) + len(signals)


def test_a_bot_is_warmed_up_with_as_many_bars_as_it_wants_whatever_others_want() -> None:
    """Beside a bot that wants 20 bars and one of days, of which minutes come, too: as alone."""
    core = PastCore(table())
    pasts = [past for of in ("1m", "1d") for ask in asks_of(core, of) for past in answered(core, ask)]
    few = [past for ask in asks_of(core, "1m", 3) for past in answered(core, ask)]
    found = {(bar.ts_event, bar.symbol, bar.of): bar for past in (*pasts, *few) for bar in past.every()}
    everything = [found[key] for key in sorted(found)]
    for wanted, own in ((3, [bar for past in few for bar in past.every()]), (0, [])):
        engines = [engine_of(), engine_of()]
        for engine, history, told in zip(
            engines, (everything, own), ([*pasts, *few], few if wanted else []), strict=True
        ):
            engine.define(msgspec.structs.replace(defined(bot("1m")), past_bars=wanted))
            for past in told:
                engine.on_past(past)
            assert history or not wanted
        beside, alone = (said_with(e, AFTER[:40], h) for e, h in zip(engines, (everything, own), strict=True))
        assert [one.expected for one in alone[1]] == beside[1]
        assert [(one.symbol, one.ts_event, one.direction) for one in alone[0]] == [
            (one.symbol, one.ts_event, one.direction) for one in beside[0]
        ]
        assert bool(alone[1][0].expected) is bool(wanted)


def test_a_past_is_in_the_shares_of_when_it_was_fetched() -> None:
    """A split from before that is known already, and one that comes after it."""
    olds = ((CUT - NS_PER_MINUTE, 10.0, 10.0, 10.0, 10.0, 100.0),)
    past = PastBars("p", "AAPL", "1m", 1, 0, CUT, olds, (), CUT)
    book = SplitBook()
    book.add(Split("s1", "AAPL", "AAPL", D(10), CUT - 1))
    [bar] = past.every()
    assert book.chained(bar).close == 10.0
    assert book.chained(bar_at(bar.ts_event, 100.0)).close == 10.0  # of the stream: in the shares of its time
    book.add(Split("s2", "AAPL", "AAPL", D(2), CUT + 1))
    assert book.chained(bar).close == 5.0


def test_a_question_is_for_so_many_bars_at_most() -> None:
    symbols = tuple(f"S{number}" for number in range(30))
    [first, *_] = asks_of(PastCore(table()), "59m", 700, symbols)
    span = (first.to_ns - first.from_ns) // NS_PER_MINUTE
    assert (first.fetched, len(first.symbols)) == ("1m", 1)
    assert span > 100_000
    assert [len(ask.symbols) for ask in asks_of(PastCore(table()), "1h", 50, symbols)] == [25, 5]


def test_a_frame_that_was_quiet_at_first_is_whole_when_it_was_asked_for_from_its_begin() -> None:
    """A new share: nothing traded before 10:05, and the past is asked for from 10:00 on."""
    core = PastCore(table())
    [ask] = core.asks([("NEW", "20m", 5)], {"NEW": CUT}, CUT)
    minutes = [bar_at(ts, 10.0, "NEW") for ts in range(wall("2026-11-25T10:16"), CUT + 1, NS_PER_MINUTE)]
    [past] = core.on_past(ask, [], minutes, CUT)
    engine = engine_of()
    engine.define(defined(bot("20m", name="n", symbols=("NEW",)), CUT), past.every())
    later = [bar_at(CUT + n * NS_PER_MINUTE, 10.0, "NEW") for n in range(1, 15)]
    said_with(engine, later, [])
    assert [frame.ts_event for frame in engine.frames()] == [wall("2026-11-25T10:30")]


def test_what_the_stream_does_not_have_any_more_is_asked_for_again() -> None:
    core = PastCore(table())
    asks_of(core, "1d")
    core.forget([("AAPL", "1d", 20)])
    assert [ask.symbols for ask in asks_of(core, "1d")] == [("AAPL",)]


def test_what_was_asked_for_is_not_asked_again() -> None:
    core = PastCore(table())
    [ask] = asks_of(core, "1d")
    assert asks_of(core, "1d") == []
    assert [one.bars for one in asks_of(core, "1d", bars=19)] == [19]  # whoever was heard of first
    assert [one.timeframe for one in asks_of(core, "1h")] == ["1h"]
    core.on_failed(ask)
    assert len(asks_of(core, "1d")) == 1
    restarted = PastCore(table(), [(past.symbol, past.timeframe, past.wanted) for past in answered(core, ask)])
    assert asks_of(restarted, "1d") == []
    assert len(asks_of(restarted, "1d", bars=30)) == 1


def test_many_symbols_are_asked_for_a_few_at_a_time() -> None:
    symbols = tuple(f"S{number}" for number in range(60))
    asks = asks_of(PastCore(table()), "1m", symbols=symbols)
    assert [len(ask.symbols) for ask in asks] == [25, 25, 10]
    assert {symbol for ask in asks for symbol in ask.symbols} == set(symbols)


def test_where_the_stream_reaches_far_enough_nothing_is_asked() -> None:
    core = PastCore(table())
    missing = core.missing([("AAPL", "1m", 30), ("MSFT", "1m", 30)])
    since = {"AAPL": wall("2026-11-24T15:45"), "MSFT": wall("2026-11-24T15:46")}
    assert [ask.symbols for ask in core.asks(missing, since, CUT)] == [("MSFT",)]


def test_shares_wait_for_the_calendar() -> None:
    sessions = SessionTable()
    core = PastCore(sessions)
    wanted = [("AAPL", "1m", 30), ("BTC/USD", "1d", 30)]
    assert core.missing(wanted) == wanted[1:]
    [ask] = core.asks(core.missing(wanted), {"BTC/USD": CUT}, CUT)
    assert CUT - 33 * 24 * 60 * NS_PER_MINUTE < ask.from_ns < CUT - 31 * 24 * 60 * NS_PER_MINUTE
    sessions.add(calendar())
    assert core.missing(wanted) == wanted[:1]


def test_no_more_bars_than_wanted_are_kept_and_none_of_the_time_after() -> None:
    core = PastCore(table())
    [ask] = asks_of(core, "1m", bars=7)
    past = answered(core, ask)[0]
    closes = [bar.ts_event for bar in BEFORE if bar.symbol == "AAPL"]
    assert [old[0] for old in past.bars] == closes[-7:]
    assert past.minutes == ()
    assert all(bar.is_backfill and bar.ts_event <= CUT for bar in past.every())
    assert core.on_past(ask, [], [], CUT) == []


def test_a_market_of_too_many_symbols_is_not_made_anew() -> None:
    many = build.bot(timeframe="1m", symbols=tuple(f"S{number}" for number in range(PAST_SYMBOLS_MAX + 1)))
    engine = engine_of(many)
    olds = ((CUT, 1.0, 1.0, 1.0, 1.0, 1.0),)
    engine.on_past(PastBars("p", "S1", "1m", 1, 0, CUT, olds, (), CUT))
    assert engine.needs_past(build.bar(1.0, symbol="S1")) == set()


@pytest.mark.parametrize(
    ("strategy", "params", "given", "bars"),
    [
        ("sma_crossover", {"fast": 3, "slow": 5}, None, 25),
        ("sma_crossover", {"fast": 50, "slow": 200}, None, 700),
        ("sma_crossover", {"fast": 50, "slow": 900}, None, PAST_BARS_MAX),
        ("sma_crossover", {"fast": 3, "slow": 5}, 0, 0),
        ("sma_crossover", {"fast": 3, "slow": 5}, 7, 7),
        ("multi", {"parts": [{"strategy": "rsi"}, {"strategy": "sma_crossover", "params": {"slow": 40}}]}, None, 200),
    ],
)
def test_how_many_bars_a_strategy_is_warmed_up_with(
    strategy: str, params: dict[str, object], given: int | None, bars: int
) -> None:
    assert past_bars_of(make(strategy, params), given) == bars


@pytest.mark.parametrize("name", [one for one in names() if one not in {"rule", "multi"}])
def test_every_shipped_strategy_says_how_long_it_warms_up(name: str) -> None:
    strategy = make(name, {})
    wanted = past_bars_of(strategy, None) // 3 or PAST_BARS_MAX
    for number in range(wanted):
        strategy.on_bar(build.bar(10.0 + number % 7, number + 1))
    assert past_bars_of(strategy, None) > 0
    assert strategy.snapshot()


@pytest.mark.parametrize("said", [None, "many", -5, True, 2.5])
def test_a_senseless_warm_up_of_an_own_strategy_is_none(said: object) -> None:
    strategy = make("sma_crossover", {})
    odd = type("Odd", (), {"warm_up": said, "on_bar": strategy.on_bar, "snapshot": strategy.snapshot})()
    assert past_bars_of(odd, None) == 0
