from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from streams.rest import RestLane
from tests.streams.wire import until


class _Gate:
    """Calls that block until they are let go, and what they saw."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.go = threading.Event()

    def call(self, name: str) -> Callable[[], str]:
        def blocking() -> str:
            self.started.append(name)
            assert self.go.wait(10)
            self.ended.append(name)
            return name

        return blocking


async def test_calls_of_one_key_go_one_after_another_in_order_and_others_beside() -> None:
    lane, gate = RestLane(4, 60_000), _Gate()
    calls = [asyncio.create_task(lane.call("AAPL", gate.call(f"a{number}"))) for number in range(5)]
    calls.append(asyncio.create_task(lane.call("MSFT", gate.call("m"))))
    await until(lambda: len(gate.started) == 2, "one of each key runs")
    assert gate.started == ["a0", "m"]
    assert lane.open == 6
    gate.go.set()
    assert await asyncio.gather(*calls) == ["a0", "a1", "a2", "a3", "a4", "m"]
    assert [name for name in gate.ended if name != "m"] == ["a0", "a1", "a2", "a3", "a4"]
    assert lane.open == 0
    lane.close()


async def test_no_more_calls_run_than_there_are_workers() -> None:
    lane, gate = RestLane(2, 60_000), _Gate()
    calls = [asyncio.create_task(lane.call(str(number), gate.call(str(number)))) for number in range(6)]
    await until(lambda: len(gate.started) == 2, "two run")
    assert lane.open == 6
    assert threading.active_count() < 20
    gate.go.set()
    assert sorted(await asyncio.gather(*calls)) == [str(number) for number in range(6)]
    lane.close()


async def test_a_failing_call_fails_its_caller_only_and_is_not_open_any_more() -> None:
    lane = RestLane(1, 60_000)

    def fails() -> None:
        raise ConnectionResetError("peer")

    with pytest.raises(ConnectionResetError, match="peer"):
        await lane.call("AAPL", fails)
    assert lane.open == 0
    assert await lane.call("AAPL", lambda: 7) == 7
    lane.close()


async def test_keys_are_forgotten_when_nobody_waits() -> None:
    lane = RestLane(2, 60_000)
    await asyncio.gather(*(lane.call(str(number % 50), lambda: None) for number in range(200)))
    assert (lane._order, lane._users, lane.open) == ({}, {}, 0)
    lane.close()


async def test_a_caller_that_gives_up_lets_the_next_one_through() -> None:
    lane, gate = RestLane(1, 60_000), _Gate()
    first = asyncio.create_task(lane.call("AAPL", gate.call("first")))
    second = asyncio.create_task(lane.call("AAPL", gate.call("second")))
    third = asyncio.create_task(lane.call("AAPL", gate.call("third")))
    await until(lambda: gate.started == ["first"], "the first runs")
    second.cancel()
    gate.go.set()
    assert await first == "first"
    assert await third == "third"
    assert gate.started == ["first", "third"]
    assert lane.open == 0
    lane.close()


@pytest.mark.parametrize("keys", [1, 20])
async def test_the_rate_holds_after_a_burst_of_a_tenth(keys: int) -> None:
    """1,200 a minute: 120 at once, then 20 a second."""
    lane = RestLane(8, 1_200)
    times: list[float] = []

    def note() -> None:
        times.append(time.monotonic())

    started = time.monotonic()
    await asyncio.gather(*(lane.call(str(number % keys), note) for number in range(140)))
    took = time.monotonic() - started
    assert took >= (140 - 120) / 20 - 0.05
    for number, at in enumerate(sorted(times), 1):
        assert number <= 120 + (at - started) * 20 + 1
    lane.close()
