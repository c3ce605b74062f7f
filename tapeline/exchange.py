"""`tapeline exchange`: the local exchange as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec

from adapters.exchange.config import ExchangeConfig
from adapters.exchange.server import serve
from tapeline.role_main import run_loop


def run_exchange(fields: dict[str, object]) -> int:
    """Serve until SIGTERM or SIGINT; print one JSON line with the URLs when ready."""
    config = ExchangeConfig(**fields)  # type: ignore[arg-type]
    return run_loop(_serve(config))


async def _serve(config: ExchangeConfig) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ready(urls: dict[str, str]) -> None:
        sys.stdout.write(msgspec.json.encode(urls).decode() + "\n")
        sys.stdout.flush()

    await serve(config, ready=ready, stop=stop)
    return 0
