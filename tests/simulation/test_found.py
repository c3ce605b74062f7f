"""Defects the seeds found, each as small as it gets; all are mended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.execution import Conclusion, ExecState, ExecutionCore
from engine.messages import (
    AnyBody,
    Fee,
    OrderAccepted,
    OrderFilled,
    OrderIntent,
    OrderRejected,
    OrderSubmitted,
    RiskDenied,
    TargetReached,
)
from engine.ports import NotFound, Unknown, VenueActivity, VenueExecution, VenueOrder, VenueUpdate
from engine.risk import RiskCore
from engine.values import NS_PER_MINUTE, NS_PER_S, Direction, Side
from streams.executing.asking import CaughtUp
from streams.services.executor import _Asks
from tests.engine.build import T0, D, always_open, bot, fill, intent, minute, opened, signal
from tests.simulation.loop import Incarnation
from tests.simulation.world import World

# --- risk ----------------------------------------------------------------------------------------------------------------


def _holding_ten() -> RiskCore:
    core = RiskCore([bot(symbols=("AAPL",))], World(0).settings.limits)
    first = intent("first", Side.BUY, "100")
    for body in (opened(), always_open(), first, fill(first, "100", "100"), _filled(first)):
        core.apply(body)
    return core


def _filled(of: OrderIntent) -> AnyBody:
    return OrderRejected(of.id, of.bot, of.symbol, "", "ends the reservation", T0)


def _decided(core: RiskCore) -> list[OrderIntent | RiskDenied | TargetReached]:
    return core.decide_waiting(minute(1) + NS_PER_S)


def test_an_order_the_venue_refuses_is_not_sent_again_and_again() -> None:
    """Through zero by two orders; the first is refused (a wash trade with another bot's order, for instance)."""
    core = _holding_ten()
    core.apply(signal(Direction.SHORT))
    asked = 0
    for _ in range(10):
        for verdict in _decided(core):
            if isinstance(verdict, OrderIntent):
                asked += 1
                core.apply(OrderRejected(verdict.id, verdict.bot, verdict.symbol, "403", "wash trade", T0))
    assert asked <= 2


def test_a_replayed_verdict_means_what_it_meant_when_it_was_made() -> None:
    """A fee was stored after risk decided and before its verdict was: a replay applies it first."""
    alive, replayed = _holding_ten(), _holding_ten()
    # Out of the way: a position of dust on the other side of the target.
    whole = Fee("f0", "CFEE", "alpha", "AAPL", D(0), D(-100), T0)
    dust = Fee("f1", "CFEE", "alpha", "AAPL", D(0), D("-0.5"), T0)
    said = signal(Direction.LONG)
    for core in (alive, replayed):
        core.apply(whole)
        core.apply(said)
    verdicts = _decided(alive)
    alive.apply(dust)
    for body in (dust, *verdicts):
        replayed.apply(body)
    assert list(replayed.state.waiting) == list(alive.state.waiting)


# --- executor ------------------------------------------------------------------------------------------------------------


class _Venue:
    """Knows what it is told; notes what it is asked."""

    def __init__(self) -> None:
        self.orders_there: dict[str, VenueOrder] = {}
        self.done: list[VenueExecution] = []
        self.posted: list[str] = []

    def submit(self, of: OrderIntent) -> Any:
        self.posted.append(of.id)
        return Unknown("timed out")

    def lookup(self, client_order_id: str) -> Any:
        return self.orders_there.get(client_order_id, NotFound())

    def orders(self, after_ns: int) -> Sequence[VenueOrder]:
        return list(self.orders_there.values())

    def executions(self, after_ns: int) -> Sequence[VenueExecution]:
        return [execution for execution in self.done if execution.ts_event >= after_ns]

    def activities(self, after_ns: int) -> Sequence[VenueActivity]:
        return []


class ExecutorDesk:
    """The real executor service, not started, with a venue and a publisher that only notes."""

    def __init__(self, now_ns: int = T0) -> None:
        self.world = World(0)
        self.executor: Any = self.world.service(Incarnation("executor", 1))
        self.venue = self.executor._venue = _Venue()
        self.stored: list[Any] = []
        self.hangs = False
        self.executor._sender._venue = self.executor._asker._venue = self.venue
        self.executor._publisher = self
        self.executor._context.clock = self
        self.now = now_ns
        self.last_seq = 0

    async def now_ns(self) -> int:
        return self.now

    def look_s(self, every_s: float) -> float | None:
        return every_s

    def estimate_ns(self) -> int:
        return self.now

    async def atomic(self, messages: Sequence[Any]) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        self.stored.extend(messages)

    async def send(self) -> None:
        self.executor._sender.confirmed()
        await self.executor._sender.send(self.executor._core, self.executor._publish)

    def know(self, *bodies: AnyBody) -> None:
        for body in bodies:
            self.executor._core.apply(body)


def _submitted(of: OrderIntent) -> OrderSubmitted:
    return OrderSubmitted(of.id, of.bot, of.symbol, T0)


def _accepted(of: OrderIntent) -> OrderAccepted:
    return OrderAccepted(of.id, of.bot, of.symbol, f"venue-{of.id}", T0)


def _execution(of: OrderIntent, number: int) -> VenueExecution:
    return VenueExecution(f"venue-{of.id}", of.quantity, of.symbol, of.side, of.quantity, D(100), minute(number))


def _report(of: OrderIntent, status: str, filled: Decimal) -> VenueOrder:
    return VenueOrder(of.id, f"venue-{of.id}", of.symbol, of.side, status, of.quantity, filled, D(100), T0, T0)


async def test_a_missed_fill_is_asked_for_when_a_newer_one_is_known() -> None:
    """Two orders; the fill of the first was missed, the later one of the second came by trade_updates."""
    desk, old, new = ExecutorDesk(), intent("old"), intent("new")
    desk.know(opened(), old, new, _submitted(old), _submitted(new), _accepted(old), _accepted(new))
    desk.know(fill(new, "10", "10", ts_event=minute(2)))
    desk.venue.orders_there = {"old": _report(old, "filled", old.quantity)}
    desk.venue.done = [_execution(old, 1), _execution(new, 2)]
    await desk.executor._asker._ask({"old"}, sweep=True, whole=True, wait_s=0.0)
    found = desk.executor._inbox.get_nowait()
    assert [execution.venue_order_id for execution in found.executions] == ["venue-old", "venue-new"]


async def test_an_order_that_waited_for_the_rate_is_not_sent_after_its_time() -> None:
    desk, of = ExecutorDesk(now_ns=T0 + 3 * NS_PER_MINUTE), intent("late", valid_until=T0 + 2 * NS_PER_MINUTE)
    desk.know(opened(), of, _submitted(of))
    executor = desk.executor
    executor._is_up = executor._is_synced = True
    executor._sender.posting = 1
    await executor._sender._wait(of, 0.0)
    await desk.send()
    await asyncio.gather(*executor._tasks._tasks)
    assert desk.venue.posted == []


async def test_a_state_with_events_that_are_not_stored_is_not_written() -> None:
    """SIGTERM while a fill waits for its acknowledgement: with it in the checkpoint it is never stored again."""
    desk, of = ExecutorDesk(), intent("o")
    desk.know(opened(), of, _submitted(of), _accepted(of))
    executor, desk.hangs = desk.executor, True
    executor._store = desk.world.checkpoints["executor"]
    done = _execution(of, 1)
    executor.on_update(VenueUpdate("fill", _report(of, "filled", of.quantity), minute(1), done))
    executor._pump = executor._tick = _nothing
    working = asyncio.create_task(executor.run())
    while not executor._core.state.fills:
        await asyncio.sleep(0)
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await executor.stop()
    written = executor._store.newest()
    assert written is None or not msgspec.msgpack.decode(written.payload, type=ExecState).fills


async def _nothing() -> None:
    return


async def test_an_order_whose_request_is_under_way_is_not_sent_again() -> None:
    """A reconnect asks for the order while its request is still open at a slow venue."""
    desk, of = ExecutorDesk(), intent("o")
    desk.know(opened(), of)
    executor = desk.executor
    executor._is_up = executor._is_synced = True
    executor._sender._post = _never
    executor._sender.add(of)
    await desk.send()
    assert executor._sender.posting == 1
    for _ in range(3):
        executor._take_caught_up(CaughtUp({"o": NotFound()}, None, [], []), _Asks(), T0)
    assert not executor._sender._to_send
    executor._tasks.cancel()


async def _never(*_: object) -> None:
    await asyncio.Event().wait()


async def test_not_found_means_nothing_once_the_order_was_accepted() -> None:
    """The second lookup's answer was under way while the acceptance came by trade_updates."""
    desk, of = ExecutorDesk(), intent("o")
    desk.know(opened(), of, _submitted(of), _accepted(of))
    desk.executor._core._not_found["o"] = 1
    assert desk.executor._core.on_missing("o", NotFound(), of.valid_until + 1) == Conclusion()


def test_an_order_killed_between_its_last_fill_and_its_end_is_ended_by_the_next_report() -> None:
    """Its batch was refused whole and sent singly: Fill was stored, OrderFilled not; the venue says `filled` for ever."""
    of, core = intent("o"), ExecutionCore()
    for body in (opened(), of, _submitted(of), _accepted(of), fill(of, of.quantity, of.quantity, "100")):
        core.apply(body)
    [end] = core.on_order(_report(of, "filled", of.quantity)).events
    assert isinstance(end, OrderFilled)
    assert (end.filled_qty, end.avg_px) == (of.quantity, D(100))
    core.apply(end)
    assert core.on_order(_report(of, "filled", of.quantity)).events == ()
