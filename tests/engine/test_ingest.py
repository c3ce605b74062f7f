from __future__ import annotations

from collections.abc import Iterable

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.ingest import IngestCore, Span
from engine.messages import Bar, Gap, Sessions
from engine.sessions import SessionTable
from engine.values import NS_PER_MINUTE, AssetClass
from tests.engine.build import bar, minute

AGE_MS = 120_000
LONGEST_MS = 60 * 60_000


def _core(*open_minutes: tuple[int, int], **known: int) -> IngestCore:
    """A core whose market is closed, but in the sessions given; so most tests see no filled gaps."""
    last = {symbol: minute(number) for symbol, number in known.items()}
    sessions = SessionTable()
    spans = tuple((minute(opened), minute(closed)) for opened, closed in open_minutes)
    sessions.add(Sessions(AssetClass.US_EQUITY, spans, 0))
    return IngestCore("1m", last, minute(0), AGE_MS, LONGEST_MS, sessions=sessions)


def _released(bodies: object) -> list[Bar]:
    """The bars of what history set free, without the words on gaps."""
    return [body for body in bodies if isinstance(body, Bar)]  # type: ignore[attr-defined]


def _bars(*numbers: int, symbol: str = "AAPL") -> list[Bar]:
    return [bar(100.0 + number, number, symbol) for number in numbers]


def _numbers(bars: object) -> list[int]:
    return [(item.ts_event - minute(0)) // NS_PER_MINUTE for item in bars]  # type: ignore[attr-defined]


def test_bars_pass_once_and_in_order() -> None:
    core = _core(AAPL=5)
    assert core.on_bars(_bars(6, 7)) == _bars(6, 7)
    assert core.on_bars(_bars(7, 6, 5, 8, 8)) == _bars(8)
    assert core.repeated == 4
    assert core.on_bars(_bars(3, symbol="MSFT")) == _bars(3, symbol="MSFT")


def test_corrections_are_revisions_of_what_was_published() -> None:
    core = _core(AAPL=5)
    core.on_bars(_bars(6, 7))
    change = msgspec.structs.replace(_bars(6)[0], close=1.0)
    other = msgspec.structs.replace(_bars(6)[0], close=2.0)
    assert core.on_updates(_bars(7)) == ([], [])  # it says nothing else
    assert core.on_updates([change]) == ([msgspec.structs.replace(change, revision=1)], [])
    assert core.on_updates([change, change]) == ([], [])
    assert core.on_updates([other, change]) == (
        [msgspec.structs.replace(other, revision=2), msgspec.structs.replace(change, revision=3)],
        [],
    )
    assert core.last == {"AAPL": minute(7)}
    assert core.on_bars(_bars(8)) == _bars(8)


def test_a_correction_of_a_bar_that_nobody_knows_any_more_is_said_to_be_one() -> None:
    core = _core(AAPL=5)
    assert core.on_updates(_bars(4)) == ([], _bars(4))
    assert core.on_updates(_bars(6)) == ([], [])  # its bar did not come yet
    core.remember(_bars(5)[0])  # what a restart finds in the stream
    assert core.on_updates([msgspec.structs.replace(_bars(5)[0], close=1.0)])[0][0].revision == 1
    core.on_connected(["AAPL"], minute(10))
    assert core.on_updates(_bars(3)) == ([], [])  # history brings it as it is now


def test_live_bars_wait_behind_the_history_and_come_out_in_order() -> None:
    core = _core(AAPL=5, MSFT=9)
    spans, gaps = core.on_connected(["AAPL", "MSFT"], minute(10))
    assert spans == [Span(("AAPL",), minute(5), minute(10)), Span(("MSFT",), minute(9), minute(10))]
    assert gaps == []
    assert core.waiting == 2
    assert core.on_bars(_bars(11)) == []
    assert core.on_bars(_bars(12) + _bars(11, symbol="MSFT")) == []
    assert _released(core.on_history(spans[1], _bars(10, symbol="MSFT"), minute(12))) == _bars(10, 11, symbol="MSFT")
    assert core.on_bars(_bars(12, symbol="MSFT")) == _bars(12, symbol="MSFT")  # its gap is closed; AAPL's is not
    released = _released(core.on_history(spans[0], _bars(6, 8, 11), minute(12)))
    assert _numbers(released) == [6, 8, 11, 12]
    assert core.waiting == 0
    assert core.on_bars(_bars(13)) == _bars(13)


def test_symbols_of_one_span_are_merged_by_time_then_name() -> None:
    core = _core()
    [span], _ = core.on_connected(["MSFT", "AAPL"], minute(2))
    fetched = _bars(1, 2, symbol="MSFT") + _bars(1, 2)
    released = _released(core.on_history(span, fetched, minute(2)))
    assert [(item.symbol, *_numbers([item])) for item in released] == [
        ("AAPL", 1), ("MSFT", 1), ("AAPL", 2), ("MSFT", 2),
    ]  # fmt: skip


def test_only_a_fetched_bar_that_is_too_old_to_trade_on_is_backfill() -> None:
    core = _core(AAPL=0)
    [span], _ = core.on_connected(["AAPL"], minute(6))
    core.on_bars(_bars(7))
    released = _released(core.on_history(span, _bars(3, 4, 5, 6), minute(6) + 1))
    # 2 minutes and 1 ns old: bar 4; exactly 2 minutes would still do. What came live is never backfill.
    assert [(*_numbers([item]), item.is_backfill) for item in released] == [
        (3, True), (4, True), (5, False), (6, False), (7, False),
    ]  # fmt: skip
    core = _core(AAPL=0)
    [span], _ = core.on_connected(["AAPL"], minute(6))
    assert [item.is_backfill for item in _released(core.on_history(span, _bars(4), minute(6)))] == [False]


def test_a_short_absence_asks_for_nothing() -> None:
    core = _core(AAPL=5)
    assert core.on_connected(["AAPL"], minute(6) - 1) == ([], [])
    assert core.waiting == 0
    assert core.on_bars(_bars(6)) == _bars(6)


def test_what_is_older_than_the_longest_backfill_is_a_gap() -> None:
    core = _core(AAPL=5)
    spans, gaps = core.on_connected(["AAPL"], minute(105))
    assert gaps == [Gap("AAPL", "1m", minute(5), minute(45), "older than the longest backfill")]
    assert spans == [Span(("AAPL",), minute(45), minute(105))]


def test_a_symbol_without_any_bar_starts_where_the_ledger_opened() -> None:
    [span], gaps = _core().on_connected(["NEW"], minute(3))
    assert span == Span(("NEW",), minute(0), minute(3))
    assert gaps == []


def test_history_that_does_not_come_is_declared_and_what_waited_passes() -> None:
    core = _core(AAPL=5)
    [span], _ = core.on_connected(["AAPL"], minute(10))
    core.on_bars(_bars(11, 12))
    assert core.on_history_failed(span, "timed out") == [
        Gap("AAPL", "1m", minute(5), minute(10), "timed out"),
        *_bars(11, 12),
    ]
    assert core.waiting == 0


def test_a_second_loss_while_history_is_on_its_way_keeps_the_symbol_waiting() -> None:
    """Else the bars of the second absence would come after later ones, and be dropped as late."""
    core = _core(AAPL=0)
    [first], _ = core.on_connected(["AAPL"], minute(3))
    assert core.on_bars(_bars(4)) == []
    [second], _ = core.on_connected(["AAPL"], minute(7))  # 5 and 6 came while nobody listened
    assert core.on_bars(_bars(8)) == []
    released = _released(core.on_history(first, _bars(1, 2, 3), minute(8)))
    released += core.on_bars(_bars(9))
    released += _released(core.on_history(second, _bars(1, 2, 3, 4, 5, 6, 7), minute(9)))
    assert _numbers(released) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert core.waiting == 0


def test_an_earlier_history_that_fails_is_no_gap_when_a_later_one_covers_it() -> None:
    core = _core(AAPL=0)
    [first], _ = core.on_connected(["AAPL"], minute(3))
    [second], _ = core.on_connected(["AAPL"], minute(7))
    assert core.on_history_failed(first, "reset") == []
    assert _numbers(_released(core.on_history(second, _bars(1, 5, 7), minute(7)))) == [1, 5, 7]


def test_a_bar_that_waits_is_not_forgotten_when_the_clock_is_behind_the_exchange() -> None:
    core = _core(AAPL=5)
    [first], _ = core.on_connected(["AAPL"], minute(6))
    core.on_bars(_bars(7))
    spans, _ = core.on_connected(["AAPL"], minute(6) - 1)
    released: list[object] = list(_released(core.on_history(first, _bars(6), minute(7))))
    for span in spans:
        released += _released(core.on_history(span, _bars(6), minute(7)))
    assert _numbers(released) == [6, 7]


def _told(bodies: Iterable[Bar | Gap]) -> list[tuple[str, int] | Gap]:
    return [body if isinstance(body, Gap) else (body.symbol, *_numbers([body])) for body in bodies]


def _gap(symbol: str, since: int, until: int, bars: int) -> Gap:
    return Gap(symbol, "1m", minute(since), minute(until), "not connected", "history", bars)


def test_a_gap_that_history_closed_says_with_how_many_bars_after_them() -> None:
    core = _core((0, 100), AAPL=5, MSFT=5)
    [span], _ = core.on_connected(["AAPL", "MSFT"], minute(9))
    core.on_bars(_bars(10))
    told = _told(core.on_history(span, [*_bars(6, 8), *_bars(5, symbol="MSFT")], minute(10)))
    aapl = [("AAPL", number) for number in (6, 8, 10)]
    assert told == [*aapl, _gap("AAPL", 5, 9, 2), _gap("MSFT", 5, 9, 0)]
    # 10 came live and 5 was known: neither was missing.


def test_a_gap_while_no_session_was_open_is_told_only_when_bars_came() -> None:
    core = _core((0, 6), (20, 30), AAPL=6, MSFT=6, TSLA=6)
    core.on_bars([bar(1.0, 6, "BTC/USD")])
    [span], _ = core.on_connected(["AAPL", "MSFT", "BTC/USD"], minute(20))
    told = _told(core.on_history(span, _bars(9, symbol="MSFT"), minute(20)))
    assert told == [("MSFT", 9), _gap("MSFT", 6, 20, 1), _gap("BTC/USD", 6, 20, 0)]
    [span], _ = core.on_connected(["TSLA"], minute(21))
    assert core.on_history(span, [], minute(21)) == [_gap("TSLA", 6, 21, 0)]


def test_two_losses_are_one_gap_with_the_bars_of_both() -> None:
    core = _core((0, 100), AAPL=0)
    [first], _ = core.on_connected(["AAPL"], minute(3))
    [second], _ = core.on_connected(["AAPL"], minute(7))
    assert core.on_history(first, _bars(1, 2, 3), minute(8)) == []
    told = _told(core.on_history(second, _bars(1, 2, 3, 5), minute(9)))
    assert told == [*(("AAPL", number) for number in (1, 2, 3, 5)), _gap("AAPL", 0, 7, 4)]


def test_what_was_too_old_is_not_part_of_the_gap_that_history_closed() -> None:
    core = _core((0, 200), AAPL=5)
    [span], [lost] = core.on_connected(["AAPL"], minute(105))
    assert isinstance(lost, Gap)
    assert (lost.filled_by, lost.bars) == ("none", 0)
    assert core.on_history(span, _bars(50), minute(105))[-1] == _gap("AAPL", 45, 105, 1)


class Connections(RuleBasedStateMachine):
    """A venue with a bar a minute; connections come and go, histories answer late, in any order, or not at all."""

    @initialize()
    def begin(self) -> None:
        self.core = _core()
        self.now = 0
        self.connected = False
        self.open: list[Span] = []
        self.published: list[int] = []
        self.declared: set[int] = set()

    def _take(self, bodies: object) -> None:
        for body in bodies:  # type: ignore[attr-defined]
            if isinstance(body, Gap) and body.filled_by == "history":
                span = range(
                    (body.ts_from - minute(0)) // NS_PER_MINUTE + 1, (body.ts_to - minute(0)) // NS_PER_MINUTE + 1
                )
                assert body.bars == len(set(span) & set(self.published)) > 0
            elif isinstance(body, Gap):
                first, last = ((ts - minute(0)) // NS_PER_MINUTE for ts in (body.ts_from, body.ts_to))
                self.declared |= set(range(first + 1, last + 1))
            else:
                self.published += _numbers([body])

    @rule()
    def tick(self) -> None:
        self.now += 1
        if self.connected:
            self._take(self.core.on_bars(_bars(self.now)))

    @rule()
    def repeat(self) -> None:
        if self.connected and self.now:
            self._take(self.core.on_bars(_bars(self.now)))

    @rule()
    def lose(self) -> None:
        self.connected = False

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self) -> None:
        self.connected = True
        spans, gaps = self.core.on_connected(["AAPL"], minute(self.now))
        self._take(gaps)
        self.open += spans

    @precondition(lambda self: bool(self.open))
    @rule(data=st.data(), works=st.booleans())
    def answer(self, data: st.DataObject, works: bool) -> None:
        span = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        if works:
            fetched = [item for item in _bars(*range(1, self.now + 1)) if span.from_ns < item.ts_event <= span.to_ns]
            self._take(self.core.on_history(span, fetched, minute(self.now)))
        else:
            self._take(self.core.on_history_failed(span, "no answer"))

    @invariant()
    def once_and_in_order(self) -> None:
        assert self.published == sorted(set(self.published))

    @invariant()
    def nothing_is_lost_in_silence(self) -> None:
        """Once nothing is open and we listen, every bar was published or declared missing."""
        if self.connected and not self.open:
            assert self.core.waiting == 0
            assert set(range(1, self.now + 1)) <= set(self.published) | self.declared

    @invariant()
    def waiting_never_outlives_the_questions(self) -> None:
        if not self.open:
            assert self.core.waiting == 0


Connections.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestConnections = Connections.TestCase


def test_a_fetched_bar_is_else_unchanged() -> None:
    core = _core(AAPL=0)
    [span], _ = core.on_connected(["AAPL"], minute(60))
    [old] = _released(core.on_history(span, _bars(1), minute(60)))
    assert old == msgspec.structs.replace(_bars(1)[0], is_backfill=True)
