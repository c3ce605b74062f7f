"""Trading mode: what risk denies, what executor lets out, and who may change it."""

from __future__ import annotations

import msgspec
import pytest

from engine.bots import RiskLimits
from engine.execution import Conclusion, ExecutionCore
from engine.messages import (
    AnyBody,
    Command,
    OrderExpired,
    OrderFilled,
    OrderIntent,
    OrderSubmitted,
    RiskDenied,
    Signal,
    TradingState,
)
from engine.risk import RiskCore, RiskState
from engine.values import Direction, Side, TradingMode
from tests.engine.build import T0, D, always_open, bot, fill, intent, minute, opened, signal

FLAT, SHORT = Direction.FLAT, Direction.SHORT


def _risk(*bodies: AnyBody) -> RiskCore:
    core = RiskCore([bot(symbols=("AAPL", "BTC/USD"))], RiskLimits())
    for body in (opened("100000"), always_open(), *bodies):
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
    core.apply(opened())
    core.apply(of)
    return core


def _command(mode: TradingMode, number: int = 1) -> Command:
    return Command(f"command-{number}", mode, "odd fills", "anna", T0 + number)


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
    [denied] = _ask(core, signal(number=4, symbol="BTC/USD"), minute(4))
    assert isinstance(denied, RiskDenied)
    sold = _intent(_ask(core, signal(number=5, direction=FLAT), minute(5)))
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


def test_what_was_not_sent_ends_once() -> None:
    of = intent()
    core = _executor(of)
    [end] = core.not_sent(of.id, T0 + 1).events
    core.apply(end)
    assert core.not_sent(of.id, T0 + 2) == Conclusion()
    assert core.not_sent("unknown", T0 + 2) == Conclusion()
