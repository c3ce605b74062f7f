"""Cancels: an order that is asked to end and goes on is told of, once."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

import streams.executing.canceling
from config.settings import ExecutorSettings
from engine.execution import ExecutionCore
from engine.messages import OrderAccepted, OrderCanceled, OrderSubmitted
from engine.ports import CancelOutcome, CancelRequested
from engine.values import Side
from streams.executing.canceling import Canceler, Stuck
from tests.engine.build import T0, D, intent, opened
from tests.streams.wire import until


class _Patient:
    """A venue that takes every request, and ends nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def cancel(self, client_order_id: str) -> CancelOutcome:
        self.asked.append(client_order_id)
        return CancelRequested(client_order_id)


async def test_an_order_that_goes_on_for_long_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(streams.executing.canceling, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(streams.executing.canceling, "_LOOK_S", 0.01)
    venue: Any = _Patient()
    told: list[Stuck] = []
    open_ids = ["a", "b"]
    canceler = Canceler(venue, ExecutorSettings(cancel_pending_s_max=60.0), lambda: list(open_ids), told.append)
    running = asyncio.create_task(canceler.run())
    try:
        await until(lambda: venue.asked == ["a", "b"], "both were asked to end")
        now[0] += 60.0
        await until(lambda: venue.asked == ["a", "b"] * 2, "asked again")
        assert (told, canceler.problems()) == ([], [])
        open_ids.remove("b")
        now[0] += 1.0
        await until(lambda: told == [Stuck("a")], "told of the one that is open")
        [problem] = canceler.problems()
        assert problem.startswith("order a was asked to end 61 s ago and is open")
        now[0] += 100.0
        await until(lambda: venue.asked.count("a") == 3, "asked once more")
        assert told == [Stuck("a")]
        open_ids.clear()
        await until(lambda: not canceler.problems(), "it ended")
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        canceler.close()


def test_a_person_is_told_while_the_order_is_open_and_never_under_another_id() -> None:
    of = intent(side=Side.SELL)
    core = ExecutionCore()
    submitted = OrderSubmitted(of.id, of.bot, of.symbol, T0)
    for body in (opened(), of, submitted, OrderAccepted(of.id, of.bot, of.symbol, "v", T0)):
        core.apply(body)
    [alert] = core.stuck(of.id, T0 + 5)
    assert (alert.level, alert.role, alert.ts_event) == ("error", "executor", T0 + 5)
    assert alert.what.startswith("order i1 of alpha (sell 10 AAPL) was asked to end long ago and is open at the venue")
    assert core.stuck(of.id, T0 + 9)[0].id == alert.id
    core.apply(OrderCanceled(of.id, of.bot, of.symbol, "v", D(0), T0))
    assert core.stuck(of.id, T0 + 9) == []
