"""Latency at a steady 500 bars/s: bar received by feed -> order intent stored, beside bare chains of as many hops.

    uv run python -m benchmarks.latency --json

Ten symbols at 3000 times real time: a minute of ten bars every 20 ms, through the whole running system with executor
and recorder on. Averages of 10 and 25 bars keep orders to some tens a second. The chains (benchmarks/chain.py) pass
as many messages at the same rhythm over a nats-server without users and rights.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from decimal import Decimal

from adapters.exchange.generator import generator_symbols
from benchmarks.chain import measure
from benchmarks.system import bare_server, running
from engine.bots import Bot
from engine.messages import decode
from streams.connection import Inflow, connect
from streams.keys import OPERATOR, identity
from streams.reader import Reader
from tapeline.role_main import ROLES

_SYMBOLS = 10
_SPEED = 3000


async def run(seconds: float) -> dict[str, object]:
    """Run the system, then the chains; give the figures."""
    symbols = generator_symbols(_SYMBOLS)
    params: dict[str, float | int | bool | str] = {"fast": 10, "slow": 25}
    bot = Bot("latency", "sma_crossover", symbols, Decimal(10**9), params, position_fraction=2e-6)
    arguments = ["--speed", str(_SPEED), "--generate", str(_SYMBOLS), "--cash", str(10**9)]
    more: dict[str, object] = {"limits.bar_age_ms_max": 10**9, "limits.intent_valid_ms": 10**9}
    async with running(arguments, (bot,), more) as system:
        nats = system.supervisor.settings.nats
        inflow = await connect(nats.url, "latency", identity=identity(nats.nkey_file, OPERATOR), kind=Inflow)
        reader = Reader(inflow, "TAPE_TRADING", 0, ["tape.intents.>"])
        await reader.start()
        times: list[float] = []
        await system.quiet.wait(ROLES)
        await system.control.start()
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            try:
                batch = await asyncio.wait_for(reader.batch(1000), 1.0)
            except TimeoutError:
                continue
            now = time.time_ns()
            # 0: the answer to a signal that had to wait for a working order of its symbol to end
            times += [(now - ts_recv) / 1e6 for item in batch if (ts_recv := decode(item.data).head.ts_recv)]
        statuses = await system.probe.statuses(("signals",))
        bars = statuses["signals"].counters["evaluated"]
        elapsed = time.monotonic() - start
        await reader.stop()
        await inflow.close()
        system.exchange.stop()  # the system is idle while the chains run
        per_s = _SYMBOLS * _SPEED // 60
        with bare_server() as url:
            durable = await measure(url, "durable", per_s, _SYMBOLS, seconds / 2)
            core = await measure(url, "core", per_s, _SYMBOLS, seconds / 2)
    result: dict[str, object] = {"bars_per_s": round(bars / elapsed), "intents": len(times)}
    for name, found in (("", times), ("chain_", durable), ("core_chain_", core)):
        cuts = statistics.quantiles(found, n=100)
        result |= {f"{name}p50_ms": round(cuts[49], 2), f"{name}p99_ms": round(cuts[98], 2)}
    result["ratio_p99"] = round(float(str(result["p99_ms"])) / float(str(result["chain_p99_ms"])), 2)
    return result


def main() -> None:
    """Print one JSON line (or a sentence)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(run(options.seconds))
    if options.json:
        print(json.dumps(result))
    else:
        print(", ".join(f"{key} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
