"""Numbers that are none: a NaN or an infinite number in a signal is a refusal, and the engine goes on."""

from __future__ import annotations

import pytest

from engine.bots import RiskLimits
from engine.messages import AnyBody, OrderFilled, OrderIntent, RiskDenied, Signal
from engine.risk import RiskCore
from engine.values import Direction, Side
from tests.engine.build import T0, D, always_open, bot, fill, lent, opened, signal

LONG, FLAT = Direction.LONG, Direction.FLAT
NAN, INF = float("nan"), float("inf")


def _core() -> RiskCore:
    core = RiskCore([bot()], RiskLimits())
    for body in (opened(), always_open(), *lent("AAPL")):
        core.apply(body)
    return core


def _ask(core: RiskCore, said: Signal) -> list[AnyBody]:
    core.apply(said)
    return list(core.decide_waiting(said.ts_event))


def _fill_all(core: RiskCore, of: OrderIntent) -> None:
    core.apply(fill(of, of.quantity, of.quantity))
    core.apply(OrderFilled(of.id, of.bot, of.symbol, f"venue-{of.id}", of.quantity, D(100), T0))


def _intent(verdicts: list[AnyBody]) -> OrderIntent:
    [verdict] = verdicts
    assert isinstance(verdict, OrderIntent), verdict
    return verdict


@pytest.mark.parametrize(
    ("more", "rule", "observed"),
    [
        ({"strength": NAN}, "number_sanity", "nan"),
        ({"strength": INF}, "number_sanity", "inf"),
        ({"strength": -0.1}, "number_sanity", "-0.1"),
        ({"strength": 1.1}, "number_sanity", "1.1"),
        ({"price": NAN}, "price_sanity", "nan"),
        ({"price": INF}, "price_sanity", "inf"),
        ({"price": 0.0}, "price_sanity", "0.0"),
        ({"price": -1.0}, "price_sanity", "-1.0"),
        ({"price": 1e12}, "price_sanity", "1000000000000.0"),
        ({"price": 1e300}, "price_sanity", "1e+300"),
    ],
)
def test_a_signal_that_rests_on_no_number_is_denied_and_everything_goes_on(
    more: dict[str, float], rule: str, observed: str
) -> None:
    core = _core()
    [denied] = _ask(core, signal(LONG, **more))  # type: ignore[arg-type]
    assert isinstance(denied, RiskDenied)
    assert (denied.rule, denied.observed, denied.quantity) == (rule, observed, None)
    assert bool(core.state.marks) is ("strength" in more), "what is no price is not remembered as one"
    _intent(_ask(core, signal(LONG, number=2)))


def test_an_exit_needs_no_strength() -> None:
    core = _core()
    _fill_all(core, _intent(_ask(core, signal(LONG))))
    out = _intent(_ask(core, signal(FLAT, number=2, strength=NAN)))
    assert (out.side, out.quantity) == (Side.SELL, 100)
