"""Whose turn it is does not depend on how many signals came together, nor on whether verdicts are read back."""

from __future__ import annotations

import pytest

from engine.bots import RiskLimits
from engine.messages import AnyBody, OrderFilled, OrderIntent
from engine.risk import RiskCore
from engine.values import Direction
from tests.engine.build import T0, D, always_open, bot, fill, lent, minute, opened, signal

TURNS = signal(Direction.SHORT, number=2), signal(Direction.LONG, number=2, bot="beta")


def _filled(core: RiskCore, answers: list[AnyBody]) -> None:
    [of] = answers
    assert isinstance(of, OrderIntent)
    core.apply(fill(of, of.quantity, of.quantity, "100"))
    core.apply(OrderFilled(of.id, of.bot, of.symbol, f"v{of.id}", of.quantity, D("100"), T0))


def _long() -> RiskCore:
    core = RiskCore([bot(), bot(name="beta")], RiskLimits())
    for body in (opened("100000"), always_open(), *lent("AAPL"), signal(Direction.LONG)):
        core.apply(body)
    _filled(core, list(core.decide_waiting(minute(1))))
    return core


@pytest.mark.parametrize("way", ["together", "one by one", "read back"])
def test_the_rest_of_a_target_keeps_its_turn(way: str) -> None:
    """Alpha turns from long to short while beta wants to be long: alpha's second order comes before beta's."""
    core, answers = _long(), list[AnyBody]()
    for said in TURNS:
        core.apply(said)
        answers += core.decide_waiting(minute(2)) if way == "one by one" else []
    if way == "read back":
        other = _long()
        for said in TURNS:
            other.apply(said)
        answers = list(other.decide_waiting(minute(2)))
        core.apply(answers[0])
    answers += core.decide_waiting(minute(2)) if way == "together" else []
    assert [one.bot for one, _ in core.state.waiting.values()] == ["alpha", "beta"]
    _filled(core, answers)
    [into] = core.decide_waiting(minute(3))
    assert isinstance(into, OrderIntent)
    assert (into.bot, into.signal_id) == ("alpha", TURNS[0].id)
