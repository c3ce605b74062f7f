"""Losses at market prices: latched when a mark or a fill shows them, and unknown while a price is too old."""

from __future__ import annotations

import msgspec
import pytest

from engine.barmarks import bar_marks
from engine.bots import RiskLimits
from engine.messages import (
    AnyBody,
    Bar,
    BarMarks,
    Command,
    Mark,
    OrderFilled,
    OrderIntent,
    RiskDenied,
    Sessions,
    Signal,
    TradingState,
)
from engine.risk import RiskCore, RiskState
from engine.sessions import SessionTable
from engine.values import NS_PER_MINUTE, NS_PER_MS, AssetClass, Direction, TradingMode
from tests.engine.build import T0, D, always_open, bar, bot, fill, lent, minute, opened, signal
from tests.engine.desk import dump

SYMBOLS = ("AAPL", "BTC/USD", "MSFT")


def _core(limits: RiskLimits, state: RiskState | None = None) -> RiskCore:
    core = RiskCore([bot(symbols=SYMBOLS), bot(name="beta", symbols=SYMBOLS)], limits, state)
    if state is None:
        for body in (opened(), always_open(), *lent("AAPL", "MSFT")):
            core.apply(body)
    return core


def _ask(core: RiskCore, said: Signal) -> list[AnyBody]:
    core.apply(said)
    return list(core.decide_waiting(said.ts_event))


def _bought(core: RiskCore, said: Signal | None = None) -> OrderIntent:
    """100 shares at 100 USD."""
    [made] = _ask(core, said or signal())
    assert isinstance(made, OrderIntent), made
    core.apply(fill(made, made.quantity, made.quantity, made.ref_px, ts_event=made.decided_ns))
    core.apply(OrderFilled(made.id, made.bot, made.symbol, "v", made.quantity, made.ref_px, made.decided_ns))
    return made


def _mark(px: str, number: int = 2, symbol: str = "AAPL") -> Mark:
    return Mark(symbol, minute(number - 1), minute(number), D(px), D(px), D(px))


def _states(bodies: list[AnyBody]) -> list[tuple[TradingMode, str]]:
    return [(body.mode, body.bot) for body in bodies if isinstance(body, TradingState)]


CASES = [
    ({"bot_daily_loss_fraction_max": 0.01}, "alpha", "bot_daily_loss_fraction_max"),
    ({"bot_drawdown_fraction_max": 0.01}, "alpha", "bot_drawdown_fraction_max"),
    ({"daily_loss_usd_max": D(1000)}, "", "daily_loss_usd_max"),
    ({"drawdown_usd_max": D(1000)}, "", "drawdown_usd_max"),
]


@pytest.mark.parametrize(("limits", "scope", "rule"), CASES)
def test_a_mark_that_shows_a_loss_latches_at_once(limits: dict[str, object], scope: str, rule: str) -> None:
    core = _core(RiskLimits(**limits))  # type: ignore[arg-type]
    _bought(core)
    assert _states(core.apply(_mark("90.01"))) == []
    assert _states(core.apply(_mark("90", 3))) == [], "at the limit"
    caused = core.apply(_mark("89.99", 4))
    assert _states(caused) == [(TradingMode.REDUCING, scope)]
    [state] = [body for body in caused if isinstance(body, TradingState)]
    assert rule in state.reason
    assert "1001" in state.reason
    assert "limit 1000" in state.reason
    assert _states(core.apply(_mark("80", 5))) == [], "once"
    [denied] = _ask(core, signal(number=5, symbol="MSFT"))
    assert isinstance(denied, RiskDenied)
    assert denied.rule == "trading_mode"
    core.apply(Command("c", TradingMode.ACTIVE, "", "ann", minute(6)))
    assert isinstance(_ask(core, signal(number=6, symbol="MSFT"))[0], OrderIntent)


@pytest.mark.parametrize(("limits", "scope", "rule"), CASES)
def test_a_fill_that_shows_a_loss_latches_at_once(limits: dict[str, object], scope: str, rule: str) -> None:
    core = _core(RiskLimits(**limits))  # type: ignore[arg-type]
    _bought(core)
    [out] = _ask(core, signal(Direction.FLAT, number=2))
    assert isinstance(out, OrderIntent)
    caused = core.apply(fill(out, 100, 100, px="89.99", ts_event=minute(2)))
    assert _states(caused) == [(TradingMode.REDUCING, scope)]
    assert core.apply(fill(out, 100, 100, px="89.99", ts_event=minute(2))) == [], "told twice"


def test_bot_and_account_latch_by_one_mark_under_two_causes() -> None:
    core = _core(RiskLimits(bot_daily_loss_fraction_max=0.01, daily_loss_usd_max=D(1000)))
    _bought(core)
    states = [body for body in core.apply(_mark("80")) if isinstance(body, TradingState)]
    assert [state.bot for state in states] == ["", "alpha"]
    assert len({state.cause for state in states}) == 2


def test_a_day_begins_with_a_mark_before_it_counts() -> None:
    """The loss overnight is today's; that of yesterday is not."""
    core = _core(RiskLimits(bot_daily_loss_fraction_max=0.01, bot_drawdown_fraction_max=None))
    core.apply(Sessions(AssetClass.US_EQUITY, ((T0, T0 + 390 * NS_PER_MINUTE), (minute(1440), minute(1830))), T0))
    _bought(core)
    assert _states(core.apply(_mark("91", 380))) == []
    assert _states(core.apply(_mark("82", 1441))) == []
    assert _states(core.apply(_mark("80.9", 1442))) == [(TradingMode.REDUCING, "alpha")]


def test_peaks_move_with_marks() -> None:
    core = _core(RiskLimits(bot_drawdown_fraction_max=0.01, bot_daily_loss_fraction_max=None))
    _bought(core)
    core.apply(_mark("115"))
    assert _states(core.apply(_mark("105", 3))) == []
    assert _states(core.apply(_mark("104.99", 4))) == [(TradingMode.REDUCING, "alpha")]


def test_the_same_after_a_restart() -> None:
    limits = RiskLimits(bot_daily_loss_fraction_max=0.01)
    core = _core(limits)
    _bought(core)
    core.apply(_mark("95"))
    again = _core(limits, msgspec.msgpack.decode(dump(core), type=RiskState))
    assert core.apply(_mark("89", 3)) == again.apply(_mark("89", 3)) != []
    assert dump(core) == dump(again)


def test_a_latch_that_is_stored_holds_in_a_core_that_saw_no_loss() -> None:
    limits = RiskLimits(bot_daily_loss_fraction_max=0.01)
    for said in (
        TradingState(TradingMode.REDUCING, "a loss", "bot_daily_loss_fraction_max|alpha|AAPL|1", T0, "alpha"),
        TradingState(TradingMode.REDUCING, "a loss", "daily_loss_usd_max||AAPL|1", T0),
    ):
        core = _core(limits)
        assert core.apply(said) == []
        [denied] = _ask(core, signal())
        assert isinstance(denied, RiskDenied)
        assert denied.rule == "trading_mode"
        resume = Command("c", TradingMode.ACTIVE, "", "ann", minute(1))
        [answer] = core.apply(resume)
        core.apply(answer)
        assert isinstance(_ask(core, signal(number=2))[0], OrderIntent)
        core.apply(TradingState(TradingMode.REDUCING, "", "c", minute(2)))
        assert core.state.mode is TradingMode.ACTIVE, "what a command brought is the command's"


# --- old prices ----------------------------------------------------------------------------------------------------------


def _aged(age_ms: int, limits: RiskLimits | None = None, *, restarted: bool = False) -> list[AnyBody]:
    """AAPL has a price of minute 1; MSFT is asked for so much later."""
    limits = limits or RiskLimits(mark_age_ms_max=600_000, bar_age_ms_max=10**9)
    core = _core(limits)
    _bought(core)
    if restarted:
        core = _core(limits, msgspec.msgpack.decode(dump(core), type=RiskState))
    core.apply(signal(number=1, symbol="MSFT"))
    return list(core.decide_waiting(minute(1) + age_ms * NS_PER_MS))


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("age_ms", "passes"), [(599_999, True), (600_000, True), (600_001, False)])
def test_a_price_that_is_too_old_is_unknown(age_ms: int, passes: bool, restarted: bool) -> None:
    answers = _aged(age_ms, restarted=restarted)
    assert isinstance(answers[0], OrderIntent) is passes, answers
    if not passes:
        [denied] = answers
        assert isinstance(denied, RiskDenied)
        assert (denied.rule, denied.observed) == ("bot_exposure_fraction_max", "unknown")


@pytest.mark.parametrize(("limit", "scope", "rule"), CASES)
def test_what_is_unknown_is_denied_and_latches_nothing(limit: dict[str, object], scope: str, rule: str) -> None:
    off: dict[str, object] = {f"bot_{name}_fraction_max": None for name in ("exposure", "daily_loss", "drawdown")}
    limits = RiskLimits(**({"mark_age_ms_max": 600_000, "bar_age_ms_max": 10**9} | off | limit))  # type: ignore[arg-type]
    [denied] = _aged(600_001, limits)
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.observed) == (rule, "unknown")


def test_a_newer_price_makes_it_known_again_even_the_same() -> None:
    core = _core(RiskLimits(mark_age_ms_max=600_000))
    _bought(core)
    later = signal(number=12, symbol="MSFT")
    assert isinstance(_ask(core, later)[0], RiskDenied)
    core.apply(_mark("100", 12))
    assert isinstance(_ask(core, signal(number=12, symbol="BTC/USD"))[0], OrderIntent)


def test_age_counts_while_the_market_is_open() -> None:
    table = SessionTable()
    day, night = 390, 1440
    table.add(Sessions(AssetClass.US_EQUITY, ((minute(0), minute(day)), (minute(night), minute(night + day))), T0))
    for now, span, since in (
        (10, 5, 5), (10, 10, 0), (day, 5, day - 5), (day + 100, 5, day - 5), (night, 5, day - 5),
        (night + 3, 5, day - 2), (night + 5, 5, night), (night + 6, 5, night + 1),
    ):  # fmt: skip
        assert table.open_before(minute(now), span * NS_PER_MINUTE) == minute(since), (now, span)
    assert table.open_before(minute(10), 11 * NS_PER_MINUTE) == 0, "no known session reaches as far"


# --- the last price from before the bar ----------------------------------------------------------------------------------


def test_a_jump_is_seen_though_the_mark_of_the_same_bar_came_first() -> None:
    core = _core(RiskLimits(price_move_fraction_max=0.3, position_fraction_max=1))
    _bought(core)
    core.apply(_mark("140"))
    [denied] = _ask(core, signal(number=2, price=140.0, bot="beta"))
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.observed) == ("price_move_fraction_max", "0.4")
    core.apply(_mark("141", 3))
    assert isinstance(_ask(core, signal(number=3, price=141.0, bot="beta"))[0], OrderIntent)


# --- marks of bars -------------------------------------------------------------------------------------------------------


def _bar(number: int, low: float, high: float, close: float, **more: object) -> Bar:
    return msgspec.structs.replace(bar(close, number, **more), low=low, high=high)  # type: ignore[arg-type]


def _of_bars(bars: list[Bar], told: dict[str, int]) -> list[Mark]:
    return [mark for some in bar_marks(bars, told, "ledger") for mark in some.marks()]


def test_each_bar_of_what_is_held_is_a_mark() -> None:
    told: dict[str, int] = {"MSFT": minute(1)}
    bars = [_bar(1, 9.5, 11.0, 10.0), _bar(1, 1, 1, 1, symbol="MSFT"), _bar(2, 9.0, 10.5, 9.75)]
    assert _of_bars(bars, told) == [
        Mark("AAPL", minute(0), minute(1), D("10.0"), D("9.5"), D("11.0")),
        Mark("AAPL", minute(1), minute(2), D("9.75"), D("9.0"), D("10.5")),
    ]
    assert _of_bars(bars, told) == [], "told"


def test_marks_of_one_span_travel_together_a_thousand_at_most() -> None:
    bars = [_bar(1, 9, 11, 10, symbol=f"S{number}") for number in range(1_001)]
    first, second = bar_marks([*bars, _bar(2, 9, 11, 10, symbol="S0")], {}, "ledger")[:2]
    assert (len(first.prices), list(second.prices)) == (1_000, ["S1000"])
    assert first.id != second.id
    assert first.id == bar_marks(bars, {}, "ledger")[0].id, "the same again has the same id"
    assert first.id != bar_marks(bars, {}, "another ledger")[0].id


def test_prices_of_one_moment_are_judged_together() -> None:
    """One side of a hedge at its new price beside the other's old one would be a loss that never was."""
    core = _core(RiskLimits(bot_daily_loss_fraction_max=0.01))
    _bought(core)
    _bought(core, signal(symbol="MSFT", direction=Direction.SHORT))
    both = {"AAPL": (80.0, 80.0, 80.0), "MSFT": (80.0, 80.0, 80.0)}
    assert _states(core.apply(BarMarks("b1", minute(1), minute(2), both))) == []
    alone = {"AAPL": (69.0, 69.0, 69.0)}
    assert _states(core.apply(BarMarks("b2", minute(2), minute(3), alone))) == [(TradingMode.REDUCING, "alpha")]


def test_old_bars_are_one_mark() -> None:
    bars = [_bar(1, 9.5, 11.0, 10.0, is_backfill=True), _bar(2, 9.0, 10.5, 9.75, is_backfill=True)]
    span = Mark("AAPL", minute(0), minute(2), D("9.75"), D("9.0"), D("11.0"))
    assert _of_bars(bars, {}) == [span]
    fresh = _bar(3, 9.9, 10.0, 9.95)
    with_them = Mark("AAPL", minute(0), minute(3), D("9.95"), D("9.0"), D("11.0"))
    assert _of_bars([*bars, fresh], {}) == [with_them], "up to the first fresh one"
