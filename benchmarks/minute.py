"""One minute of bars of the whole US market through the whole running system, beside a bare ceiling.

    uv run python -m benchmarks.minute --symbols 11000 --json

Real processes: exchange, nats-server, feed, signals, risk, executor, recorder, on generated bars in lock-step. Time
runs from the first bar sent at the exchange's socket to the last order intent seen by a NATS subscriber. The ceiling
(benchmarks/ceiling.py) handles the same bytes between the minutes. Medians over the minutes after the warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sized
from decimal import Decimal

from nats.aio.msg import Msg

from adapters.exchange.generator import generator_symbols
from benchmarks.ceiling import ceiling
from benchmarks.system import System, bare_server, running
from engine.bots import Bot
from tapeline.role_main import ROLES

_FAST, _SLOW = 5, 10
"""Averages of which about a tenth of all symbols cross in a minute of generated bars."""
_WARM_UP = _SLOW + 2
_PAUSE_S = 1.0
"""Rest between two minutes, for what is done when nothing waits (checkpoints); in a market it is a minute."""


def whole_market_bot(symbols: tuple[str, ...]) -> Bot:
    """A bot on every symbol, rich enough that risk denies nothing."""
    return Bot(
        "market", "sma_crossover", symbols, Decimal(10**9), {"fast": _FAST, "slow": _SLOW}, position_fraction=2e-6
    )


async def run(count: int, minutes: int) -> dict[str, object]:
    """Run the system and the ceiling; give the figures."""
    arguments = ["--speed", "max", "--generate", str(count), "--cash", str(10**9)]
    with bare_server() as bare_url:
        async with running(arguments, (whole_market_bot(generator_symbols(count)),), {}) as system:
            return await _measure(system, bare_url, minutes, count)


async def _measure(system: System, bare_url: str, minutes: int, count: int) -> dict[str, object]:
    arrivals: list[int] = []
    captured: list[tuple[str, bytes]] = []

    async def on_intent(_: Msg) -> None:
        arrivals.append(time.time_ns())

    async def on_bar(msg: Msg) -> None:
        captured.append((msg.subject.rsplit(".", 1)[1], msg.data))

    await system.nc.subscribe("tape.intents.>", cb=on_intent)
    await system.quiet.wait(ROLES)
    times: list[float] = []
    bare: list[float] = []
    intents: list[int] = []
    payloads: list[list[tuple[str, bytes]]] = []
    cpu: dict[str, float] = {}
    async with ceiling(bare_url, count, (_FAST, _SLOW)) as bare_minute:
        for minute in range(_WARM_UP + minutes):
            await asyncio.sleep(_PAUSE_S)
            await system.control.step("events")
            await system.quiet.wait(ROLES)
            # The bytes for the ceiling are taken from minutes that are not measured.
            taker = await system.nc.subscribe("tape.bars.>", cb=on_bar) if minute < _WARM_UP else None
            await _came(arrivals, known := await _intents(system), "intents")
            before = system.cpu_s()
            await system.control.step("bars")
            venue = await system.quiet.wait(ROLES)
            after = system.cpu_s()
            await _came(arrivals, await _intents(system), "intents")
            if taker is not None:
                await _came(captured, count, "bars")
                await taker.unsubscribe()
                payloads.append(captured[:])
                captured.clear()
            # The system is idle now: a nats-server without users and rights carries the same bytes to the ceiling.
            bare_ms = await bare_minute(payloads[minute % _WARM_UP])
            if taker is not None:
                continue
            bare.append(bare_ms)
            times.append((arrivals[-1] - venue.first_bar_sent_wall_ns) / 1e6)
            intents.append(len(arrivals) - known)
            for name, seconds in after.items():
                cpu[name] = cpu.get(name, 0.0) + seconds - before[name]
            statuses = await system.probe.statuses(("signals",))
            evaluated = statuses["signals"].counters["evaluated"]
            if evaluated != count * (minute + 1):
                sys.exit(f"signals evaluated {evaluated} bars, not {count * (minute + 1)}")
    ms, bare_ms = statistics.median(times), statistics.median(bare)
    return {
        "symbols": count,
        "minutes": minutes,
        "intents": int(statistics.median(intents)),
        "first_bar_to_last_intent_ms": round(ms, 1),
        "ceiling_ms": round(bare_ms, 1),
        "ratio": round(ms / bare_ms, 2),
        "cpu_s": round(sum(cpu.values()) / minutes, 2),
        "cpu_s_of": {name: round(seconds / minutes, 2) for name, seconds in cpu.items()},
        "all_ms": [round(t, 1) for t in times],
        "all_ceiling_ms": [round(t, 1) for t in bare],
    }


async def _intents(system: System) -> int:
    return (await system.probe.statuses(("risk",)))["risk"].counters["intents"]


async def _came(found: Sized, count: int, what: str) -> None:
    """Wait for what the roles have sent since the start and this process has not read yet."""
    deadline = time.monotonic() + 60
    while len(found) != count:
        if time.monotonic() > deadline:
            sys.exit(f"{len(found)} of {count} {what} came to the benchmark within 60 s")
        await asyncio.sleep(0.01)


def main() -> None:
    """Print one JSON line (or a sentence)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=11_000)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(run(options.symbols, options.minutes))
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['symbols']} bars -> {result['intents']} intents in {result['first_bar_to_last_intent_ms']} ms; "
            f"bare ceiling {result['ceiling_ms']} ms; ratio {result['ratio']}"
        )


if __name__ == "__main__":
    main()
