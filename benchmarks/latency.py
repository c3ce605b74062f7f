"""Latency at a steady 500 bars/s with every risk rule on: bar received by feed -> intent stored -> order accepted.

    uv run python -m benchmarks.latency --json

Ten symbols at 3000 times real time: a minute of ten bars every 20 ms, through the whole running system with executor
and recorder on, on trading days of 7.8 s each. Averages of 10 and 25 bars keep orders to some tens a second.
All times are of one wall clock: feed notes when it received a bar, which travels along with signal and intent; the
intent counts as stored when a subscriber has it, the order as accepted when the local exchange took it in.

Bare chains (benchmarks/chain.py, which says what is fair about it) of as many hops pass as many messages at the same
rhythm over another nats-server. System and chain take turns of 5 s, one idle while the other works, so whatever else
the machine does falls on both; each has run for a second before.

The rules that need quotes make feed store a mark per bar, before the bar. In a market these come during the minute; the
time lapse brings them together with the bar, so that each bar waits for them: a hop that the chain has too.

`denied` counts refusals by rule. Meant are those of `session`: a signal of a day's last bar comes after the close.
`superseded` and `waited` (its order was still working when the next signal of the symbol came) say how many orders took
longer than a symbol's next crossing: 0.4 s here, 20 minutes in a market.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import statistics
import time
from collections.abc import AsyncGenerator
from decimal import Decimal

from adapters.exchange.generator import generator_symbols
from benchmarks.chain import Times, running_chain
from benchmarks.system import System, every_rule_on, keyed_server, running
from engine.bots import Bot
from engine.messages import OrderIntent, OrderSubmitted, RiskDenied, Signal, decode
from streams.connection import Inflow, connect
from streams.keys import OPERATOR, identity
from streams.reader import Reader
from tapeline.role_main import ROLES

_SYMBOLS = 10
_SPEED = 3000
_DAY_S = 390 * 60 / _SPEED
_DAYS_MAX = 5
_TURN_S = 5.0
_WARM_UP_S = 1.0
"""As long as the chains: connections, first calls and indicators are not what is measured."""
_FIRST_DAY = 5
"""Of January 2026, a Monday."""
_PER_S = _SYMBOLS * _SPEED // 60
_BARS_PER_ORDER = 23.0
"""What the days give (see `orders` in the result), so that the chains carry as much."""


async def run(seconds: float) -> dict[str, object]:
    """Let system and chain take turns; give the figures."""
    symbols = generator_symbols(_SYMBOLS)
    turns = max(1, int((min(seconds, _DAYS_MAX * _DAY_S) - _WARM_UP_S) / _TURN_S))
    days = math.ceil((turns * _TURN_S + _WARM_UP_S) / _DAY_S)
    params: dict[str, float | int | bool | str] = {"fast": 10, "slow": 25}
    bot = Bot("latency", "sma_crossover", symbols, Decimal(10**9), params, position_fraction=2e-6)
    arguments = ["--speed", str(_SPEED), "--generate", str(_SYMBOLS), "--cash", str(10**9)]
    arguments += ["--to", f"2026-01-{_FIRST_DAY + days:02}T00:00:00Z"]
    # At most one mark per bar, or the time lapse would make a thousand quotes a second of ten symbols.
    more = every_rule_on(symbols) | {"feed.mark_every_ms": 60_000, "feed.mark_move_fraction": 1.0}
    rhythm, chain, core = (_PER_S, _SYMBOLS), Times([], []), Times([], [])
    cpu: dict[str, float] = {}
    elapsed = 0.0
    with keyed_server("chain", "chain.>") as server:
        async with running(arguments, (bot,), more) as system:
            await system.quiet.wait(ROLES)
            async with (
                _arrivals(system) as arrivals,
                running_chain(server, "durable", rhythm, _BARS_PER_ORDER) as bare,
            ):
                await _play(system, {}, _WARM_UP_S)
                since_ns, warm = time.time_ns(), await system.probe.statuses(("signals", "feed"))
                for _ in range(turns):
                    _add(chain, await bare.play(_TURN_S))
                    elapsed += await _play(system, cpu, _TURN_S)
            async with running_chain(server, "core", rhythm, _BARS_PER_ORDER) as plain:
                _add(core, await plain.play(turns * _TURN_S / 2))
            accepted = await system.control.accepted()
            statuses = await system.probe.statuses(("signals", "feed"))
            stages, denied = await _stages(system, accepted, since_ns)
    # 0: the answer to a signal that had to wait for a working order of its symbol to end
    waited = sum(not recv for recv, _ in arrivals.values())
    stored = [(ns - recv) / 1e6 for recv, ns in arrivals.values() if recv >= since_ns]
    posted = [(ns - arrivals[id_][0]) / 1e6 for id_, ns in accepted.items() if arrivals[id_][0] >= since_ns]

    def counted(role: str, what: str) -> int:
        return statuses[role].counters[what] - warm[role].counters[what]

    result: dict[str, object] = {
        "bars_per_s": round(counted("signals", "evaluated") / elapsed),
        "intents": len(arrivals),
        "orders": len(accepted),
        "waited": waited,
        "denied": denied,
        "chain_orders": len(chain.posted),
        "marks": counted("feed", "marks"),
    }
    figures = {"stored": stored, "accepted": posted}
    figures |= {"chain_stored": chain.stored, "chain_accepted": chain.posted}
    figures |= {"core_chain_stored": core.stored, "core_chain_accepted": core.posted}
    for name, found in figures.items():
        p50, p99 = _cuts(found)
        result |= {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}
    for name in ("stored", "accepted"):
        result[f"ratio_{name}_p99"] = round(_cuts(figures[name])[1] / _cuts(figures[f"chain_{name}"])[1], 2)
    return result | {
        "stages_p50_p99_ms": stages,
        "cores_of": {name: round(spent / elapsed, 3) for name, spent in cpu.items()},
    }


def _cuts(found: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(found, n=100)
    return round(cuts[49], 2), round(cuts[98], 2)


def _add(times: Times, more: Times) -> None:
    times.stored.extend(more.stored)
    times.posted.extend(more.posted)


async def _play(system: System, cpu: dict[str, float], seconds: float) -> float:
    """Let the market go on for a turn, until all is quiet again; add the CPU seconds, give how long it took."""
    before, start = system.cpu_s(), time.monotonic()
    await system.control.start()
    await asyncio.sleep(seconds)
    await system.control.hold()
    while (await system.control.status()).state == "running":
        await asyncio.sleep(0.01)
    elapsed = time.monotonic() - start
    await system.quiet.wait(ROLES)
    for name, spent in system.cpu_s().items():
        cpu[name] = cpu.get(name, 0.0) + spent - before[name]
    return elapsed


@contextlib.asynccontextmanager
async def _arrivals(system: System) -> AsyncGenerator[dict[str, tuple[int, int]]]:
    """Note per intent when its bar was received and itself stored; at the end every intent is waited for."""
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
    try:
        yield arrivals
        intents = (await system.probe.statuses(("risk",)))["risk"].counters["intents"]
        async with asyncio.timeout(30):
            while len(arrivals) < intents:
                await asyncio.sleep(0.05)
    finally:
        listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listener
        await reader.stop()
        await inflow.close()


async def _stages(
    system: System, accepted: dict[str, int], since_ns: int
) -> tuple[dict[str, tuple[float, float]], dict[str, int]]:
    """Say where the time went, as p50 and p99 of each stage (each begins with storing what the last one made).

    Of bars received from `since_ns` on. Also gives the denials by rule, all of them.
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
    denied: dict[str, int] = {}
    while True:
        batch = await reader.batch(1000)
        for item in batch:
            head, body = (message := decode(item.data)).head, message.body
            match body:
                case Signal() if head.ts_recv >= since_ns:
                    signals[body.id] = head.ts_init
                    found["signal"].append((head.ts_init - head.ts_recv) / 1e6)
                case OrderIntent() if head.ts_recv >= since_ns:
                    intents[body.id] = head.ts_init
                    found["intent"].append((head.ts_init - signals[body.signal_id]) / 1e6)
                case OrderSubmitted() if body.client_order_id in intents:
                    found["submitted"].append((head.ts_init - intents[body.client_order_id]) / 1e6)
                    found["accepted"].append((accepted[body.client_order_id] - head.ts_init) / 1e6)
                case RiskDenied():
                    denied[body.rule] = denied.get(body.rule, 0) + 1
                case _:
                    pass
        if batch[-1].seq >= end:
            break
    await reader.stop()
    await inflow.close()
    return {name: _cuts(times) for name, times in found.items()}, denied


def main() -> None:
    """Print one JSON line (or a sentence)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=39.0,
        help="a second to warm up, turns of 5 s; at most five trading days of 7.8 s",
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(run(options.seconds))
    if options.json:
        print(json.dumps(result))
    else:
        print(", ".join(f"{key} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
