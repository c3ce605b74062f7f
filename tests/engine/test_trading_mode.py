"""Trading mode: what risk denies, what executor lets out, and who may change it."""

from __future__ import annotations

import msgspec
import pytest

from engine.bots import RiskLimits
from engine.execution import Conclusion, ExecutionCore
from engine.messages import (
    AnyBody,
    Command,
    OrderAccepted,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderSubmitted,
    RiskDenied,
    Signal,
    TradingState,
)
from engine.risk import RiskCore, RiskState
from engine.risk.exposure import Exposure
from engine.values import Direction, Side, TradingMode
from tests.engine.build import T0, D, always_open, bot, fill, intent, lent, minute, opened, signal
from tests.engine.desk import day, decide, fresh

FLAT, SHORT = Direction.FLAT, Direction.SHORT


def _risk(*bodies: AnyBody, limits: RiskLimits | None = None) -> RiskCore:
    core = RiskCore([bot(symbols=("AAPL", "BTC/USD"))], limits or RiskLimits())
    for body in (opened("100000"), always_open(), *lent("AAPL"), *bodies):
        core.apply(body)
    return core


def _ask(core: RiskCore, said: Signal, now_ns: int = 0) -> list[AnyBody]:
    core.apply(said)
    return list(core.decide_waiting(now_ns or said.ts_event))


def _intent(verdicts: list[AnyBody]) -> OrderIntent:
    [verdict] = verdicts
    assert isinstance(verdict, OrderIntent), verdict
    return verdict


def _fill_all(core: RiskCore, of: OrderIntent) -> None:
    core.apply(fill(of, of.quantity, of.quantity, "100"))
    core.apply(OrderFilled(of.id, of.bot, of.symbol, f"venue-{of.id}", of.quantity, D("100"), T0))


def _executor(of: OrderIntent) -> ExecutionCore:
    core = ExecutionCore()
    core.apply(opened(AAPL="-10"))  # something for an exit to close
    core.apply(of)
    return core


def _command(mode: TradingMode, number: int = 1) -> Command:
    return Command(f"command-{number}", mode, "odd fills", "anna", T0 + number)


def test_a_role_never_loosens_a_halt() -> None:
    core = _risk(_command(TradingMode.HALTED))
    wish = Command("of-executor", TradingMode.REDUCING, "a difference", "executor", T0 + 5)
    assert core.apply(wish) == [TradingState(TradingMode.HALTED, "odd fills", wish.id, wish.ts_event)]
    core.apply(_command(TradingMode.ACTIVE, 2))
    later = Command("of-executor-2", TradingMode.REDUCING, "a difference", "executor", T0 + 6)
    assert core.apply(later) == [TradingState(TradingMode.REDUCING, "a difference", later.id, later.ts_event)]


def test_a_command_is_obeyed_once_and_answered_with_the_mode() -> None:
    core = _risk()
    command = _command(TradingMode.HALTED)
    assert core.apply(command) == [TradingState(TradingMode.HALTED, "odd fills", command.id, command.ts_event)]
    assert core.apply(command) == []
    assert core.apply(_command(TradingMode.ACTIVE, 2)) != []
    assert core.apply(command) == []  # a repetition does not halt again
    assert core.state.mode is TradingMode.ACTIVE


def test_while_halted_every_signal_is_denied_and_while_reducing_exits_pass() -> None:
    core = _risk()
    bought = _intent(_ask(core, signal(number=1)))
    _fill_all(core, bought)
    core.apply(_command(TradingMode.HALTED))
    for number, direction in ((2, FLAT), (3, SHORT)):
        [denied] = _ask(core, signal(number=number, direction=direction), minute(number))
        assert isinstance(denied, RiskDenied)
        assert denied.rule == "trading_mode"
    core.apply(_command(TradingMode.REDUCING, 2))
    denied, sold = _ask(core, signal(number=4, symbol="BTC/USD"), minute(4))
    assert isinstance(denied, RiskDenied)
    assert isinstance(sold, OrderIntent)  # the exit that was denied while halted, without another word of the strategy
    assert (sold.side, sold.quantity, sold.reserved) == (Side.SELL, bought.quantity, 0)


def test_the_mode_survives_a_checkpoint() -> None:
    core = _risk(_command(TradingMode.HALTED))
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(core.state), type=RiskState)
    [denied] = _ask(RiskCore([bot()], RiskLimits(), state), signal(number=1))
    assert isinstance(denied, RiskDenied)
    assert denied.rule == "trading_mode"


@pytest.mark.parametrize(
    ("mode", "latched", "reserved", "leaves"),
    [
        (TradingMode.ACTIVE, False, "1000", True),
        (TradingMode.ACTIVE, False, "0", True),
        (TradingMode.ACTIVE, True, "1000", False),
        (TradingMode.ACTIVE, True, "0", False),
        (TradingMode.REDUCING, False, "1000", False),
        (TradingMode.REDUCING, False, "0", True),
        (TradingMode.REDUCING, True, "0", False),
        (TradingMode.HALTED, False, "1000", False),
        (TradingMode.HALTED, False, "0", False),
    ],
)
def test_an_intent_leaves_only_as_the_mode_and_the_latch_allow(
    mode: TradingMode, latched: bool, reserved: str, leaves: bool
) -> None:
    of = msgspec.structs.replace(intent(), reserved=D(reserved))
    core = _executor(of)
    core.apply(TradingState(mode, "odd fills", "c", T0))
    event = core.submit(of, T0, latched=latched)
    assert isinstance(event, OrderSubmitted if leaves else OrderExpired)
    core.apply(event)
    assert core.is_halted(latched=latched) is (latched or mode is TradingMode.HALTED)
    assert core.state.orders[of.id].is_open is leaves


@pytest.mark.parametrize(
    ("reserved", "held", "unwanted"), [("1000", "-10", ["i1"]), ("0", "-10", []), ("0", "10", ["i1"])]
)
def test_a_halt_cancels_what_may_open_a_position_and_leaves_what_closes_one(
    reserved: str, held: str, unwanted: list[str]
) -> None:
    """What protected the position was taken away for the order that closes it; one with nothing to close would open."""
    of = msgspec.structs.replace(intent(), reserved=D(reserved))
    core = ExecutionCore()
    core.apply(opened(AAPL=held))
    core.apply(of)
    core.apply(OrderSubmitted(of.id, of.bot, of.symbol, T0))
    core.apply(OrderAccepted(of.id, of.bot, of.symbol, "v1", T0))
    assert core.unwanted(latched=False) == []
    assert core.unwanted(latched=True) == unwanted
    core.apply(TradingState(TradingMode.HALTED, "odd fills", "c", T0))
    assert core.unwanted(latched=False) == unwanted


def test_what_was_not_sent_ends_once() -> None:
    of = intent()
    core = _executor(of)
    [end] = core.not_sent(of.id, T0 + 1).events
    core.apply(end)
    assert core.not_sent(of.id, T0 + 2) == Conclusion()
    assert core.not_sent("unknown", T0 + 2) == Conclusion()


# --- rules that latch -----------------------------------------------------------------------------------------------------


def _lossy(limits: RiskLimits) -> tuple[RiskCore, OrderIntent]:
    """A bot with 100,000 USD that bought 100 shares at 100 which stand at 80 now."""
    core = RiskCore([bot(symbols=("AAPL", "BTC/USD"))], limits)
    for body in (opened("100000"), always_open(), *lent("AAPL")):
        core.apply(body)
    bought = _intent(_ask(core, signal(number=1, price=100.0)))
    _fill_all(core, bought)
    _ask(core, signal(number=2, price=80.0, strength=0.8), minute(2))  # the target is reached: only the price counts
    return core, bought


@pytest.mark.parametrize(
    ("limits", "rule", "scope"),
    [
        ({"bot_daily_loss_fraction_max": 0.01}, "bot_daily_loss_fraction_max", "alpha"),
        ({"bot_drawdown_fraction_max": 0.01}, "bot_drawdown_fraction_max", "alpha"),
        ({"daily_loss_usd_max": D(1000)}, "daily_loss_usd_max", ""),
        ({"drawdown_usd_max": D(1000)}, "drawdown_usd_max", ""),
    ],
)
def test_a_loss_latches_until_a_person_resumes(limits: dict[str, object], rule: str, scope: str) -> None:
    core, bought = _lossy(RiskLimits(**limits))  # type: ignore[arg-type]
    denied, state = _ask(core, signal(number=3, symbol="BTC/USD", price=30_000.0), minute(3))
    assert isinstance(denied, RiskDenied)
    assert denied.rule == rule
    assert isinstance(state, TradingState)
    assert (state.mode, state.bot, state.cause) == (TradingMode.REDUCING, scope, denied.id)
    assert rule in state.reason

    again = RiskCore([bot(symbols=("AAPL", "BTC/USD"))], RiskLimits(), _copied(core))  # limits off: the latch holds
    [denied] = _ask(again, signal(number=4, symbol="BTC/USD", price=30_001.0), minute(4))
    assert isinstance(denied, RiskDenied)
    assert denied.rule == "trading_mode"
    sold = _intent(_ask(again, signal(number=5, direction=FLAT, price=80.0), minute(5)))
    assert (sold.side, sold.quantity) == (Side.SELL, bought.quantity)

    core.apply(_command(TradingMode.ACTIVE))
    assert isinstance(_ask(core, signal(number=6, symbol="BTC/USD", price=30_002.0), minute(6))[0], OrderIntent)


def _copied(core: RiskCore) -> RiskState:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(core.state), type=RiskState)


def test_a_new_trading_day_measures_from_its_beginning_and_the_drawdown_goes_on() -> None:
    core, _ = _lossy(RiskLimits(bot_daily_loss_fraction_max=0.01, mark_age_ms_max=10**9))
    next_day = signal(number=24 * 60 + 1, symbol="BTC/USD", price=30_000.0)
    assert isinstance(_ask(core, next_day)[0], OrderIntent)
    core, _ = _lossy(RiskLimits(bot_drawdown_fraction_max=0.01, mark_age_ms_max=10**9))
    [denied, _] = _ask(core, next_day)
    assert isinstance(denied, RiskDenied)
    assert denied.observed == "2000"


def test_a_bot_that_repeats_itself_is_latched() -> None:
    core = _risk(limits=RiskLimits(repeats_max=3, repeats_window_s=600, bot_exposure_fraction_max=None))
    found: list[str] = []
    for number in range(1, 5):  # bought again and again while something else sells it
        answers = _ask(core, signal(number=number, strength=number / 10))
        found += [type(answer).__name__ for answer in answers]
        if isinstance(answers[0], OrderIntent):
            _fill_all(core, answers[0])
    assert found == ["OrderIntent", "OrderIntent", "OrderIntent", "RiskDenied", "TradingState"]


def test_sums_kept_up_are_those_made_anew() -> None:
    for seed in range(20):
        core = fresh()
        for step in day(seed):
            decide(core, step.inputs, step.now_ns)
            kept, anew = core._exposure, Exposure(core.state.portfolio, core.state.marks)  # type: ignore[reportPrivateUsage]
            assert kept.account == anew.account
            assert kept.pnl() == anew.pnl()
            assert kept.account.realized == core.state.portfolio.realized_pnl


def test_what_is_stored_after_a_resume_counts_as_repeated_whenever_it_was_decided() -> None:
    """A restart reads the resume first: what a person knew of is what was stored by then."""
    known = (opened(), always_open(), *lent("AAPL"), signal())
    resume = Command("c1", TradingMode.ACTIVE, "look", "me", minute(1))
    live = RiskCore([bot()], RiskLimits())
    for body in known:
        live.apply(body)
    decided = [body for body in live.decide_waiting(minute(1)) if isinstance(body, OrderIntent)]
    assert len(decided) == 1
    live.apply(resume)
    for body in decided:
        live.apply(body)
    again = RiskCore([bot()], RiskLimits())
    for body in (*known, resume, *decided):
        again.apply(body)
    assert live.state.track.sides == again.state.track.sides != {}
    live.apply(Command("c2", TradingMode.ACTIVE, "look again", "me", minute(2)))
    assert live.state.track.sides == {}
