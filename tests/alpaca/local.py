"""The local exchange for the adapter's tests: real sockets, in lock-step, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import requests

from adapters.alpaca.config import AlpacaConfig
from adapters.exchange.config import ExchangeConfig
from adapters.exchange.server import serve


class Exchange:
    """The exchange on its own thread and loop, as REST blocks the thread it is called on."""

    def __init__(self, config: ExchangeConfig) -> None:
        self.urls: dict[str, str] = {}
        self._config = config
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()

        def ready(urls: dict[str, str]) -> None:
            self.urls = urls
            self._ready.set()

        await serve(self._config, ready=ready, stop=self._stop)

    def start(self) -> None:
        self._thread.start()
        while not self._ready.wait(0.05):
            assert self._thread.is_alive(), "the exchange did not start"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def control(self, path: str, body: Any) -> dict[str, Any]:
        reply = requests.post(f"{self.urls['control']}/{path}", json=body, timeout=10)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def step(self, phase: str) -> dict[str, Any]:
        return self.control("step", {"phase": phase})

    def minutes(self, count: int = 1) -> None:
        """Minutes of venue time, for a test that has no loop."""
        for _ in range(count):
            self.step("events")
            self.step("bars")

    def faults(self, *rules: dict[str, Any]) -> None:
        self.control("faults", {"rules": list(rules)})

    async def minute(self) -> None:
        for phase in ("events", "bars"):
            await asyncio.to_thread(self.step, phase)

    def config(self, **changes: Any) -> AlpacaConfig:
        urls = self.urls
        settings: dict[str, Any] = {
            "key": "K",
            "secret": "S",
            "rest_url": urls["rest"],
            "data_url": urls["data_rest"],
            "stock_ws_url": urls["stock_ws"],
            "crypto_ws_url": urls["crypto_ws"],
            "trading_ws_url": urls["trading_ws"],
            "reconnect_s_min": 0.05,
            "reconnect_s_max": 0.1,
        }
        return AlpacaConfig(**(settings | changes))


@contextlib.contextmanager
def running(config: ExchangeConfig) -> Iterator[Exchange]:
    server = Exchange(config)
    server.start()
    try:
        yield server
    finally:
        server.stop()
