"""Latency at a steady 500 bars/s with every risk rule on: bar received by feed -> intent stored -> order accepted.

    uv run python -m benchmarks.latency --json

Ten symbols at 3000 times real time: a minute of ten bars every 20 ms, through the whole running system with executor
and recorder on, for whole trading days of 7.8 s each. Averages of 10 and 25 bars keep orders to some tens a second.
All times are of one wall clock: feed notes when it received a bar, which travels along with signal and intent; the
intent counts as stored when a subscriber has it, the order as accepted when the local exchange took it in. Bare chains
(benchmarks/chain.py) of as many hops pass as many messages at the same rhythm over a nats-server without users and
rights while the system is idle, half of them before the days and half after.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import time
from decimal import Decimal

from adapters.exchange.generator import generator_symbols
from benchmarks.chain import Times, measure
from benchmarks.system import System, bare_server, every_rule_on, running
from engine.bots import Bot
from engine.messages import OrderIntent, OrderSubmitted, Signal, decode
from streams.connection import Inflow, connect
from streams.keys import OPERATOR, identity
from streams.reader import Reader
from tapeline.role_main import ROLES

_SYMBOLS = 10
_SPEED = 3000
_DAY_S = 390 * 60 / _SPEED
_DAYS_MAX = 5
_FIRST_DAY = 5
"""Of January 2026, a Monday."""
_PER_S = _SYMBOLS * _SPEED // 60
_BARS_PER_ORDER = 23.0
"""What the days give (see `orders` in the result), so that the chains carry as much."""


async def run(seconds: float) -> dict[str, object]:
    """Run the chains and, between them, the system; give the figures."""
    symbols = generator_symbols(_SYMBOLS)
    days = min(_DAYS_MAX, max(1, round(seconds / _DAY_S)))
    params: dict[str, float | int | bool | str] = {"fast": 10, "slow": 25}
    bot = Bot("latency", "sma_crossover", symbols, Decimal(10**9), params, position_fraction=2e-6)
    arguments = ["--speed", str(_SPEED), "--generate", str(_SYMBOLS), "--cash", str(10**9)]
    arguments += ["--to", f"2026-01-{_FIRST_DAY + days:02}T00:00:00Z"]
    # At most one mark per bar, or the time lapse would make a thousand quotes a second of ten symbols.
    more = every_rule_on(symbols) | {"feed.mark_every_ms": 60_000, "feed.mark_move_fraction": 1.0}
    with bare_server() as bare_url:
        async with running(arguments, (bot,), more) as system:
            await system.quiet.wait(ROLES)
            before = await _chain(bare_url, "durable", days * _DAY_S / 2)
            cpu = system.cpu_s()
            elapsed, arrivals = await _play(system)
            cpu = {name: round((spent - cpu[name]) / elapsed, 3) for name, spent in system.cpu_s().items()}
            after = await _chain(bare_url, "durable", days * _DAY_S / 2)
            core = await _chain(bare_url, "core", days * _DAY_S / 2)
            accepted = await system.control.accepted()
            statuses = await system.probe.statuses(("signals", "feed"))
            stages, denied = await _stages(system, accepted)
    stored = [(ns - recv) / 1e6 for recv, ns in arrivals.values() if recv]
    # 0: the answer to a signal that had to wait for a working order of its symbol to end
    posted = [(ns - arrivals[id_][0]) / 1e6 for id_, ns in accepted.items() if arrivals[id_][0]]
    chain = Times(before.stored + after.stored, before.posted + after.posted)
    result: dict[str, object] = {
        "bars_per_s": round(statuses["signals"].counters["evaluated"] / elapsed),
        "intents": len(arrivals),
        "orders": len(accepted),
        "waited": len(arrivals) - len(stored),
        "denied": denied,
        "chain_orders": len(chain.posted),
        "marks": statuses["feed"].counters["marks"],
    }
    figures = {"stored": stored, "accepted": posted}
    figures |= {"chain_stored": chain.stored, "chain_accepted": chain.posted}
    figures |= {"core_chain_stored": core.stored, "core_chain_accepted": core.posted}
    for name, found in figures.items():
        p50, p99 = _cuts(found)
        result |= {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}
    for name in ("stored", "accepted"):
        result[f"ratio_{name}_p99"] = round(_cuts(figures[name])[1] / _cuts(figures[f"chain_{name}"])[1], 2)
    return result | {"stages_p50_p99_ms": stages, "cores_of": cpu}


def _cuts(found: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(found, n=100)
    return round(cuts[49], 2), round(cuts[98], 2)


async def _chain(url: str, mode: str, seconds: float) -> Times:
    return await measure(url, mode, (_PER_S, _SYMBOLS), seconds, _BARS_PER_ORDER)


async def _play(system: System) -> tuple[float, dict[str, tuple[int, int]]]:
    """Let the days pass; give their length in seconds, and per intent when its bar was received and itself stored."""
    nats = system.supervisor.settings.nats
    inflow = await connect(nats.url, "latency", identity=identity(nats.nkey_file, OPERATOR), kind=Inflow)
    reader = Reader(inflow, system.probe.topology.trading, 0, ["tape.intents.>"])
    await reader.start()
    arrivals: dict[str, tuple[int, int]] = {}

    async def listen() -> None:
        while True:
            batch = await reader.batch(1000)
            now = time.time_ns()
            for item in batch:
                message = decode(item.data)
                if isinstance(message.body, OrderIntent):
                    arrivals[message.body.id] = (message.head.ts_recv, now)

    listener = asyncio.create_task(listen())
    start = time.monotonic()
    await system.control.start()
    while (await system.control.status()).state != "finished":
        await asyncio.sleep(1.0)
    elapsed = time.monotonic() - start
    await system.quiet.wait(ROLES)
    intents = (await system.probe.statuses(("risk",)))["risk"].counters["intents"]
    async with asyncio.timeout(30):
        while len(arrivals) < intents:
            await asyncio.sleep(0.05)
    listener.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listener
    await reader.stop()
    await inflow.close()
    return elapsed, arrivals


async def _stages(system: System, accepted: dict[str, int]) -> tuple[dict[str, tuple[float, float]], int]:
    """Say where the time went, as p50 and p99 of each stage (each begins with storing what the last one made).

    Also gives the number of denials.
    """
    nats = system.supervisor.settings.nats
    inflow = await connect(nats.url, "latency", identity=identity(nats.nkey_file, OPERATOR), kind=Inflow)
    topology = system.probe.topology
    reader = Reader(inflow, topology.trading, 0, None)
    await reader.start()
    end = (await inflow.jetstream().stream_info(topology.trading)).state.last_seq
    signals: dict[str, int] = {}
    found: dict[str, list[float]] = {name: [] for name in ("signal", "intent", "submitted", "accepted")}
    intents: dict[str, int] = {}
    denied = 0
    while True:
        batch = await reader.batch(1000)
        for item in batch:
            head, body = (message := decode(item.data)).head, message.body
            match body:
                case Signal():
                    signals[body.id] = head.ts_init
                    found["signal"].append((head.ts_init - head.ts_recv) / 1e6)
                case OrderIntent() if head.ts_recv:
                    intents[body.id] = head.ts_init
                    found["intent"].append((head.ts_init - signals[body.signal_id]) / 1e6)
                case OrderSubmitted() if body.client_order_id in intents:
                    found["submitted"].append((head.ts_init - intents[body.client_order_id]) / 1e6)
                    found["accepted"].append((accepted[body.client_order_id] - head.ts_init) / 1e6)
                case _:
                    denied += type(body).__name__ == "RiskDenied"
        if batch[-1].seq >= end:
            break
    await reader.stop()
    await inflow.close()
    return {name: _cuts(times) for name, times in found.items()}, denied


def main() -> None:
    """Print one JSON line (or a sentence)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=39.0, help="rounded to trading days of 7.8 s, at most five")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(run(options.seconds))
    if options.json:
        print(json.dumps(result))
    else:
        print(", ".join(f"{key} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
