"""Marks: by the times of the events alone, every trade in one of them, none of it twice after a restart."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from engine.marks import MarkCore, Missed
from engine.messages import Mark
from engine.ports import Quote, Trade
from engine.values import NS_PER_MS, NS_PER_S, AssetClass, to_decimal
from tests.engine.build import T0

STOCKS, CRYPTO = AssetClass.US_EQUITY, AssetClass.CRYPTO
D = Decimal
EVERY = 250
Tick = Trade | Quote


def _core(*symbols: str, move: float = 0.01, **known: int) -> MarkCore:
    marks = {name: Mark(name, at(ms) - 1, at(ms)) for name, ms in known.items()}
    return MarkCore(symbols or ("AAPL", "MSFT", "BTC/USD"), EVERY, move, marks, missed_ms_max=60_000)


def at(ms: float) -> int:
    return T0 + int(ms * NS_PER_MS)


def trade(ms: float, px: float, symbol: str = "AAPL") -> Trade:
    return Trade(symbol, at(ms), px)


def quote(ms: float, bid: float, ask: float, symbol: str = "AAPL") -> Quote:
    return Quote(symbol, at(ms), bid, ask)


def play(core: MarkCore, *ticks: Tick) -> list[Mark]:
    return [mark for tick in ticks for mark in core.on_tick(tick)]


def mark(since: float, until: float, *prices: str, symbol: str = "AAPL", bid: str = "", ask: str = "") -> Mark:
    """Prices: last, low, high; none for a mark of quotes alone."""
    last, low, high = (D(px) for px in prices) if prices else (None, None, None)
    return Mark(symbol, at(since), at(until), last, low, high, D(bid) if bid else None, D(ask) if ask else None)


NS = 1 / NS_PER_MS


def test_a_trade_after_a_pause_is_told_at_once_and_what_follows_waits() -> None:
    core = _core()
    assert core.on_tick(trade(0, 100.0)) == [mark(-NS, 0, "100.0", "100.0", "100.0")]
    assert play(core, trade(10, 100.2), trade(20, 99.9), trade(30, 100.1)) == []
    assert core.waiting == 1
    assert core.on_tick(trade(249, 100.0)) == []
    # 250 ms after the first that waits; the trade that shows the time is not in it, and begins a wait of its own.
    assert core.on_tick(trade(260, 100.3)) == [mark(0, 249, "100.0", "99.9", "100.2")]
    assert core.on_tick(trade(498, 100.4)) == []
    assert core.on_tick(trade(499, 100.5)) == [mark(249, 499, "100.5", "100.3", "100.5")]


def test_the_time_of_another_symbol_ends_the_wait_and_that_of_another_connection_does_not() -> None:
    core = _core()
    play(core, trade(0, 100.0), trade(10, 100.5))
    assert core.on_tick(quote(9_000, 1.0, 2.0, "BTC/USD")) == []
    assert core.on_tick(quote(259, 1.0, 2.0, "MSFT")) == []
    assert core.on_tick(quote(260, 1.0, 2.1, "MSFT")) == [mark(0, 10, "100.5", "100.5", "100.5")]


def test_the_close_of_a_bar_ends_the_wait_of_its_connection() -> None:
    core = _core()
    play(core, trade(0, 100.0), trade(1, 100.5), quote(3, 7.0, 8.0, "BTC/USD"), quote(1, 5.0, 6.0, "MSFT"))
    assert core.on_time(CRYPTO, at(252)) == []
    assert core.on_time(STOCKS, at(60_000)) == [
        mark(0, 1, "100.5", "100.5", "100.5"),
        mark(1 - NS, 1, symbol="MSFT", bid="5.0", ask="6.0"),
    ]
    assert core.on_time(CRYPTO, at(253)) == [mark(3 - NS, 3, symbol="BTC/USD", bid="7.0", ask="8.0")]
    assert core.waiting == 0


def test_the_time_of_a_stream_does_not_go_back() -> None:
    core = _core()
    play(core, quote(1_000, 1.0, 2.0, "MSFT"), quote(100, 99.0, 101.0))
    assert core.on_tick(quote(300, 1.0, 2.1, "MSFT")) == [mark(100 - NS, 100, bid="99.0", ask="101.0")]


def test_a_move_is_told_at_once() -> None:
    core = _core(move=0.01)
    play(core, trade(0, 100.0))
    assert play(core, trade(1, 101.0), trade(2, 99.0)) == []  # exactly the fraction is not more
    assert core.on_tick(trade(3, 98.99)) == [mark(0, 3, "98.99", "98.99", "101.0")]
    assert core.on_tick(trade(4, 99.98)) == [mark(3, 4, "99.98", "99.98", "99.98")]  # counted from the last told


def test_quotes_wait_and_stand_in_every_mark_until_the_next() -> None:
    core = _core()
    assert core.on_tick(quote(0, 99.0, 101.0)) == []
    assert core.on_tick(trade(0, 100.0)) == [mark(-NS, 0, "100.0", "100.0", "100.0", bid="99.0", ask="101.0")]
    assert play(core, quote(1, 50.0, 0.0), quote(2, 98.0, 102.0)) == []
    assert core.on_tick(trade(300, 100.5)) == [
        mark(0, 2, bid="98.0", ask="102.0"),
        mark(2, 300, "100.5", "100.5", "100.5", bid="98.0", ask="102.0"),
    ]
    play(core, quote(400, 0.0, 102.0))
    assert core.on_time(STOCKS, at(700)) == [mark(300, 400, ask="102.0")]


def test_a_quote_that_says_the_same_makes_a_mark_only_now_and_then() -> None:
    core = _core()
    play(core, quote(0, 99.0, 101.0), trade(0, 100.0))
    same = [quote(ms, 99.0, 101.0) for ms in range(100, 2000, 100)]
    assert play(core, *same) == []
    assert core.waiting == 0
    assert play(core, quote(2_000, 99.0, 101.0), quote(2_250, 99.0, 101.0)) == [mark(0, 2_000, bid="99.0", ask="101.0")]


def test_a_trade_that_comes_late_is_in_the_range_and_is_not_the_last() -> None:
    core = _core()
    play(core, trade(100, 100.0))
    assert play(core, trade(50, 99.5), trade(60, 100.5)) == []
    assert core.on_time(STOCKS, at(349)) == []
    # It ends after the mark before, though nothing in it is as young: spans never overlap.
    assert core.on_time(STOCKS, at(350)) == [mark(100, 100 + NS, "100.0", "99.5", "100.5")]


def test_trades_of_one_moment_are_in_marks_of_their_own_keys() -> None:
    core = _core(move=0.01)
    told = play(core, trade(0, 100.0), trade(0, 102.0), trade(0, 104.1))
    assert told == [
        mark(-NS, 0, "100.0", "100.0", "100.0"),
        mark(0, NS, "102.0", "102.0", "102.0"),
        mark(NS, 2 * NS, "104.1", "104.1", "104.1"),
    ]


def test_after_a_restart_nothing_at_or_before_the_last_mark_counts_and_the_hole_shows() -> None:
    core = _core(AAPL=1_000)
    assert play(core, trade(900, 90.0), quote(950, 1.0, 2.0), trade(1_000, 91.0)) == []
    assert core.waiting == 0
    assert core.on_tick(trade(1_100, 100.0)) == []  # 250 ms after the last mark have not passed
    assert core.on_tick(trade(5_000, 101.0)) == [
        mark(1_100 - NS, 1_100, "100.0", "100.0", "100.0"),
        mark(1_100, 5_000, "101.0", "101.0", "101.0"),
    ]


def test_a_lost_connection_tells_what_waits_and_a_long_absence_is_a_hole() -> None:
    core = _core()
    play(core, quote(0, 99.0, 101.0), trade(0, 100.0), trade(10, 100.5), trade(10, 7.0, "BTC/USD"))
    assert core.on_lost(["MSFT", "AAPL", "GOOG"]) == [mark(0, 10, "100.5", "100.5", "100.5", bid="99.0", ask="101.0")]
    assert core.on_lost(["AAPL"]) == []
    assert core.on_connected(["AAPL", "MSFT"], at(60_011)) == []
    assert core.on_tick(trade(60_100, 99.0)) == [mark(60_100 - NS, 60_100, "99.0", "99.0", "99.0")]


def _away() -> tuple[MarkCore, Missed]:
    core = _core()
    play(core, quote(0, 99.0, 101.0), trade(0, 100.0), trade(5, 50.0, "MSFT"))
    core.on_lost(["AAPL", "MSFT"])
    (missed,) = core.on_connected(["MSFT", "AAPL"], at(2_000))
    assert missed == Missed(("AAPL", "MSFT"), at(0), at(2_000))
    return core, missed


def test_live_ticks_wait_for_those_that_were_missed_and_spans_join() -> None:
    core, missed = _away()
    late = [trade(1_900, 100.9), trade(2_100, 101.0)]
    assert play(core, *late, trade(9, 1.0, "BTC/USD")) == [mark(9 - NS, 9, "1.0", "1.0", "1.0", symbol="BTC/USD")]
    assert core.on_time(STOCKS, at(60_000)) == []
    told = core.on_missed(missed, [trade(0, 1.0), trade(3, 50.0, "MSFT"), quote(400, 98.0, 102.0), late[0]])
    # What was told before and what came twice does not count; the rest makes the marks it would have made.
    assert told == [
        mark(0, 400, bid="98.0", ask="102.0"),
        mark(400, 1_900, "100.9", "100.9", "100.9", bid="98.0", ask="102.0"),
        mark(1_900, 2_100, "101.0", "101.0", "101.0", bid="98.0", ask="102.0"),
    ]
    assert core.waiting == 0


def test_a_move_counts_from_the_price_told_before_the_restart() -> None:
    known = mark(0, 1_000, "100.0", "100.0", "100.0")
    core = MarkCore(["AAPL"], EVERY, 0.01, {"AAPL": known}, missed_ms_max=60_000)
    (missed,) = core.on_connected(["AAPL"], at(1_100))
    told = core.on_missed(missed, [trade(1_010, 101.0), trade(1_020, 101.01)])
    assert told == [mark(1_000, 1_020, "101.01", "101.0", "101.01")]


def test_what_was_missed_and_does_not_come_is_a_hole_without_quotes() -> None:
    core, missed = _away()
    assert core.on_tick(trade(2_100, 101.0)) == []
    assert core.on_missed(missed, None) == [mark(2_100 - NS, 2_100, "101.0", "101.0", "101.0")]


def test_a_second_loss_waits_for_the_answer_that_covers_it() -> None:
    core, first = _away()
    assert core.on_lost(["AAPL"]) == []
    (second,) = core.on_connected(["AAPL"], at(5_000))
    assert core.on_tick(trade(5_100, 103.0)) == []
    assert core.on_missed(first, [trade(1_000, 102.0)]) == []
    told = core.on_missed(second, [trade(1_000, 102.0), trade(4_000, 102.5)])
    assert [one.ts_event for one in told] == [at(1_000), at(4_000), at(5_100)]


def test_symbols_that_have_no_mark_yet_miss_nothing() -> None:
    assert _core().on_connected(["AAPL", "MSFT", "GOOG"], at(1_000)) == []
    core = _core(AAPL=500)
    assert core.on_connected(["AAPL", "MSFT"], at(1_000)) == [Missed(("AAPL",), at(500), at(1_000))]


def test_what_a_mark_of_bars_covers_is_not_told_again() -> None:
    """Bars came before the trades of their minute did: two marks with one end would have one id."""
    core = _core()
    core.told_of_bars("AAPL", at(60_000), 100.0)
    assert core.told_ns("AAPL") == at(60_000)
    assert play(core, trade(40_000, 99), trade(60_000, 100)) == []
    [told] = play(core, trade(61_000, 102))
    assert (told.ts_from, told.ts_event, told.low_px) == (at(60_000), at(61_000), Decimal(102))
    core.told_of_bars("AAPL", at(60_000), 100.0)
    assert core.told_ns("AAPL") == at(61_000), "an older one changes nothing"
    assert core.told_ns("MSFT") == 0


def test_symbols_that_are_not_marked_are_ignored() -> None:
    core = _core("MSFT")
    assert play(core, trade(0, 100.0), quote(0, 1.0, 2.0)) == []
    assert core.waiting == 0


# --- whatever comes ------------------------------------------------------------------------------------------------------

SYMBOLS = ("AAPL", "MSFT")
_px = st.integers(90_00, 110_00).map(lambda cents: cents / 100)


@st.composite
def streams(draw: st.DrawFn, *, in_order: bool) -> list[Tick]:
    """Ticks of one connection, with times that grow (or nearly do)."""
    now = 0
    ticks: list[Tick] = []
    for _ in range(draw(st.integers(0, 60))):
        now += draw(st.sampled_from((1, 5, 40, 100, 249, 250, 251, 1_000)))
        ms = now if in_order else max(0, now - draw(st.sampled_from((0, 0, 0, 1, 40, 400))))
        symbol = draw(st.sampled_from(SYMBOLS))
        if draw(st.booleans()):
            ticks.append(trade(ms, draw(_px), symbol))
        else:
            ticks.append(quote(ms, draw(_px), draw(_px), symbol))
    return ticks


def _trades(ticks: list[Tick], symbol: str) -> list[Trade]:
    return [tick for tick in ticks if isinstance(tick, Trade) and tick.symbol == symbol]


def _of(marks: list[Mark], symbol: str) -> list[Mark]:
    return [mark for mark in marks if mark.symbol == symbol]


@given(streams(in_order=True), st.sampled_from((0.0001, 0.01, 1.0)))
def test_each_trade_is_in_exactly_one_mark_and_prices_are_those_of_its_trades(ticks: list[Tick], move: float) -> None:
    core = _core(*SYMBOLS, move=move)
    marks = [*play(core, *ticks), *core.on_time(STOCKS, at(10**9))]
    assert core.waiting == 0
    for symbol in SYMBOLS:
        told = _of(marks, symbol)
        counted = 0
        for one in told:
            inside = [t for t in _trades(ticks, symbol) if one.ts_from < t.ts_event <= one.ts_event]
            counted += len(inside)
            prices = [to_decimal(t.px) for t in inside]
            assert (one.low_px, one.high_px) == ((min(prices), max(prices)) if prices else (None, None))
            assert one.last_px == (prices[-1] if prices else None)
            quotes = [t for t in ticks if isinstance(t, Quote) and t.symbol == symbol and t.ts_event <= one.ts_event]
            expected = (to_decimal(quotes[-1].bid_px), to_decimal(quotes[-1].ask_px)) if quotes else (None, None)
            assert (one.bid_px, one.ask_px) == expected
        assert counted == len(_trades(ticks, symbol))


@given(streams(in_order=False), st.sampled_from((0.0001, 0.01)))
def test_with_late_trades_nothing_is_lost_and_spans_join(ticks: list[Tick], move: float) -> None:
    core = _core(*SYMBOLS, move=move)
    marks = [*play(core, *ticks), *core.on_time(STOCKS, at(10**9))]
    for symbol in SYMBOLS:
        told, trades = _of(marks, symbol), _trades(ticks, symbol)
        assert all(a.ts_event == b.ts_from < b.ts_event for a, b in zip(told, told[1:], strict=False))
        lows = [one.low_px for one in told if one.low_px is not None]
        highs = [one.high_px for one in told if one.high_px is not None]
        prices = [to_decimal(t.px) for t in trades]
        assert (min(lows, default=None), max(highs, default=None)) == (
            min(prices, default=None),
            max(prices, default=None),
        )
        if trades:
            newest = max(t.ts_event for t in trades)
            last = next(t for t in reversed(trades) if t.ts_event == newest)
            assert next(one.last_px for one in reversed(told) if one.last_px is not None) == to_decimal(last.px)


@given(streams(in_order=True))
def test_marks_of_a_symbol_are_not_more_often_than_asked_unless_the_price_moves(ticks: list[Tick]) -> None:
    core = _core(*SYMBOLS, move=1.0)
    told_at: dict[str, int] = {}
    for tick in ticks:
        for one in core.on_tick(tick):
            assert tick.ts_event - told_at.get(one.symbol, 0) >= EVERY * NS_PER_MS
            told_at[one.symbol] = one.ts_event


@given(streams(in_order=True), st.data())
def test_a_restart_says_nothing_twice(ticks: list[Tick], data: st.DataObject) -> None:
    """Killed after any tick, started again with what was stored; some ticks come again, as after a replay."""
    cut = data.draw(st.integers(0, len(ticks)))
    again = data.draw(st.integers(0, cut))
    before = play(_core(*SYMBOLS), *ticks[:cut])
    second = MarkCore(SYMBOLS, EVERY, 0.01, _known(before))
    after = [*play(second, *ticks[again:]), *second.on_time(STOCKS, at(10**9))]
    for symbol in SYMBOLS:
        told = _of(before + after, symbol)
        assert all(a.ts_event <= b.ts_from < b.ts_event for a, b in zip(told, told[1:], strict=False))
        # With everything after the last mark given again, no trade is missing in the end.
        if again == 0:
            inside = [t for t in _trades(ticks, symbol) if any(m.ts_from < t.ts_event <= m.ts_event for m in told)]
            assert inside == _trades(ticks, symbol)


def _known(marks: list[Mark]) -> dict[str, Mark]:
    return {one.symbol: one for one in marks}


@given(streams(in_order=True), st.data())
def test_a_feed_that_is_killed_and_back_makes_the_marks_it_would_have_made(
    ticks: list[Tick], data: st.DataObject
) -> None:
    """Killed when any number of its marks was stored; what was missed is fetched, the rest comes live, some of it twice."""
    # With trades alone a symbol's last mark says all there is to know of the moves told.
    move = data.draw(st.sampled_from((0.0001, 0.01))) if all(isinstance(t, Trade) for t in ticks) else 1.0
    undisturbed = [*play(_core(*SYMBOLS, move=move), *ticks), *_end(ticks, move)]
    stored = undisturbed[: data.draw(st.integers(0, len(undisturbed)))]
    known = _known(stored)
    assume(set(known) == {tick.symbol for tick in ticks})  # without any mark there is no time from which to ask
    cut = data.draw(st.integers(0, len(ticks)))
    at_ns = max([ticks[cut - 1].ts_event if cut else 0, *(one.ts_event for one in stored)])
    core = MarkCore(SYMBOLS, EVERY, move, known, missed_ms_max=10**9)
    told: list[Mark] = []
    live = [tick for tick in ticks if tick.ts_event > at_ns]
    twice = [tick for tick in ticks if tick.ts_event <= at_ns][-data.draw(st.integers(0, 3)) or len(ticks) :]
    for missed in core.on_connected(SYMBOLS, at_ns):
        assert play(core, *twice, *live[:2]) == []
        past = [t for t in ticks if t.symbol in missed.symbols and missed.from_ns < t.ts_event <= missed.to_ns]
        told += core.on_missed(missed, past)
    told += [*play(core, *live[2:]), *core.on_time(STOCKS, at(10**9))]
    assert [*stored, *told] == undisturbed


def _end(ticks: list[Tick], move: float) -> list[Mark]:
    core = _core(*SYMBOLS, move=move)
    play(core, *ticks)
    return core.on_time(STOCKS, at(10**9))


def test_a_day_of_one_symbol_is_not_kept() -> None:
    core = _core("AAPL")
    for number in range(20_000):
        core.on_tick(quote(number * 20, 99.0 + number % 3, 101.0))
    assert len(core._due[STOCKS]) < 50
    assert core.on_time(STOCKS, at(20_000 * 20) + NS_PER_S)
