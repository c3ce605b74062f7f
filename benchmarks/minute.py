"""One minute of bars of the whole US market through the whole running system, beside a bare ceiling.

    uv run python -m benchmarks.minute --symbols 11000 --json

Real processes: exchange, nats-server, feed, signals, risk, executor, recorder, on generated bars in lock-step. Time runs
from the first bar sent at the exchange's socket to the last order intent seen by a NATS subscriber. The ceiling
(benchmarks/ceiling.py) handles the same bytes in the same run. Medians over the minutes after the warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from nats.aio.msg import Msg

from adapters.exchange.generator import generator_symbols
from benchmarks.ceiling import measure
from engine.bots import Bot
from streams.connection import connect
from streams.role import topology_of
from streams.subjects import escape
from tapeline.demo import ExchangeProcess, build_settings, wait_ready
from tapeline.lockstep import Control, Quiet
from tapeline.probe import Probe
from tapeline.role_main import ROLES
from tapeline.supervisor import Supervisor

_WARM_UP = 7
_QUIET_S_MAX = 300.0


def whole_market_bot(symbols: tuple[str, ...]) -> Bot:
    """A bot on every symbol, rich enough that risk denies nothing."""
    return Bot("market", "sma_crossover", symbols, Decimal(10**9), {"fast": 3, "slow": 5}, position_fraction=2e-6)


async def run(count: int, minutes: int) -> dict[str, object]:
    """Run the system and the ceiling; give the figures."""
    symbols = generator_symbols(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        arguments = ["--port", "0", "--speed", "max", "--generate", str(count), "--cash", str(10**9), "--hold"]
        exchange = ExchangeProcess(arguments, path / "logs" / "exchange.log")
        supervisor = None
        try:
            exchange.wait_ready(120)
            bots = (whole_market_bot(symbols),)
            more: dict[str, object] = {"executor.requests_per_min_max": 10_000_000}
            settings = build_settings(bots, path, exchange.urls, "benchmark", more)
            keys = {"ALPACA_API_KEY": "bench", "ALPACA_SECRET_KEY": "bench"}
            supervisor = Supervisor(settings, ROLES, environment=dict(os.environ) | keys, quiet=True)
            supervisor.start()
            return await _measure(supervisor, exchange, minutes, count)
        finally:
            if supervisor is not None:
                supervisor.stop()
            exchange.stop()


async def _measure(supervisor: Supervisor, exchange: ExchangeProcess, minutes: int, count: int) -> dict[str, object]:
    settings = supervisor.settings
    nc = await connect(settings.nats.url, "benchmark")
    probe, control = Probe(nc, topology_of(settings)), Control(exchange.urls["control"])
    await wait_ready(probe, supervisor, exchange)

    async def look() -> None:
        supervisor.poll()

    quiet = Quiet(probe, control, _QUIET_S_MAX, look)
    await quiet.start()
    arrivals: list[int] = []
    captured: list[tuple[str, bytes]] = []

    async def on_intent(_: Msg) -> None:
        arrivals.append(time.time_ns())

    async def on_bar(msg: Msg) -> None:
        captured.append((escape(msg.subject.rsplit(".", 1)[1]), msg.data))

    await nc.subscribe("tape.intents.>", cb=on_intent)
    await quiet.wait((*ROLES,))
    times: list[float] = []
    intents: list[int] = []
    ceiling: list[list[tuple[str, bytes]]] = []
    cpu = 0.0
    for minute in range(_WARM_UP + minutes):
        await control.step("events")
        await quiet.wait((*ROLES,))
        # The bytes for the ceiling are taken from minutes that are not measured.
        taker = await nc.subscribe("tape.bars.>", cb=on_bar) if minute < _WARM_UP else None
        arrivals.clear()
        before = _cpu_s(supervisor, exchange)
        await control.step("bars")
        venue = await quiet.wait((*ROLES,))
        if taker is not None:
            await taker.unsubscribe()
            ceiling.append(captured[:])
            captured.clear()
            continue
        times.append((arrivals[-1] - venue.first_bar_sent_wall_ns) / 1e6)
        intents.append(len(arrivals))
        cpu += _cpu_s(supervisor, exchange) - before
        statuses = await probe.statuses(("signals",))
        expected = count * (minute + 1)
        if statuses["signals"].counters["evaluated"] != expected:
            sys.exit(f"signals evaluated {statuses['signals'].counters['evaluated']} bars, not {expected}")
    # The system is idle now; the ceiling runs on the same nats-server with the same bytes.
    await control.close()
    bare = await measure(settings.nats.url, (ceiling * (1 + minutes // len(ceiling)))[: minutes + 2])
    await nc.close()
    ms, bare_ms = statistics.median(times), statistics.median(bare[2:])
    return {
        "symbols": count,
        "minutes": minutes,
        "intents": int(statistics.median(intents)),
        "first_bar_to_last_intent_ms": round(ms, 1),
        "ceiling_ms": round(bare_ms, 1),
        "ratio": round(ms / bare_ms, 2),
        "cpu_s": round(cpu / minutes, 2),
        "all_ms": [round(t, 1) for t in times],
        "all_ceiling_ms": [round(t, 1) for t in bare[2:]],
        "peak_rss_mb_of_benchmark": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _cpu_s(supervisor: Supervisor, exchange: ExchangeProcess) -> float:
    """CPU seconds of every process of the system so far, from /proc; 0 where there is none."""
    ticks = 0
    for pid in [*supervisor.pids.values(), exchange.pid]:
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            fields = stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


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
