"""A running exchange for tests: the real server in a thread of its own, a small market by hand, and polling."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgpack
import pytest
import requests
from alpaca.trading.client import TradingClient
from websockets.sync.client import ClientConnection, connect

from adapters.exchange.config import ExchangeConfig
from adapters.exchange.server import serve

DEADLINE_S = 10.0
HEADERS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}
OPEN = datetime(2025, 3, 10, 13, 30, tzinfo=UTC)
"""09:30 New York, a Monday."""
FIRST = OPEN - timedelta(minutes=2)


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def until[T](ask: Callable[[], T], what: str = "the condition") -> T:
    """Ask again and again until the answer is true."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come within {DEADLINE_S} s; last answer {answer!r}")
        threading.Event().wait(0.002)


Row = tuple[str, datetime, float, float, float, float, float]


def row(symbol: str, moment: datetime, prices: str, volume: float = 1000) -> Row:
    """A bar by hand: "open high low close"."""
    opened, high, low, close = (float(price) for price in prices.split())
    return (symbol, moment, opened, high, low, close, volume)


def rising(symbol: str, base: float, minutes: int, start: datetime = FIRST) -> list[Row]:
    """Bars that rise by 1 a minute: minute i is (base+i, base+i+1, base+i-1, base+i+0.5)."""
    return [
        (symbol, start + timedelta(minutes=i), base + i, base + i + 1, base + i - 1, base + i + 0.5, 1000.0 + i)
        for i in range(minutes)
    ]


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    lines = ["symbol,timestamp,open,high,low,close,volume"]
    for symbol, moment, *numbers in sorted(rows, key=lambda r: (r[1], r[0])):
        lines.append(f"{symbol},{moment:%Y-%m-%dT%H:%M:%SZ},{','.join(map(str, numbers))}")
    path.write_text("\n".join(lines) + "\n")
    return path


class Exchange:
    """Handle on a running server."""

    def __init__(self, urls: dict[str, str]) -> None:
        self.urls = urls
        self.http = requests.Session()
        self.http.headers.update(HEADERS)
        self._steps = http.client.HTTPConnection(urls["rest"].removeprefix("http://"), timeout=10)

    def close(self) -> None:
        self.http.close()
        self._steps.close()

    # control
    def control(self, path: str) -> dict[str, Any]:
        return self.http.get(f"{self.urls['control']}/{path}", timeout=10).json()

    def status(self) -> dict[str, Any]:
        return self.control("status")

    def phase(self, name: str) -> dict[str, Any]:
        # http.client, because real files are thousands of steps and requests takes 2 ms for each.
        body = b'{"phase": "%s"}' % name.encode()
        self._steps.request("POST", "/control/step", body, {"Content-Type": "application/json"})
        answer = self._steps.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)

    def step(self, count: int = 1) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        for _ in range(count):
            self.phase("events")
            answer = self.phase("bars")
        return answer

    def step_to(self, moment: datetime) -> None:
        """Step until the bars that close at `moment` are out."""
        while self.status()["venue_ns"] < ns(moment):
            self.step()

    # trading
    def client(self, key: str = "key") -> TradingClient:
        client = TradingClient(key, "secret", url_override=self.urls["rest"])
        client._retry = 0
        return client

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        return self.http.request(method, self.urls["rest"] + path, timeout=10, **kwargs)

    def get(self, path: str, **params: Any) -> Any:
        answer = self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, **body: Any) -> dict[str, Any]:
        answer = self.post_order(**body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post_order(self, **body: Any) -> requests.Response:
        return self.call("POST", "/v2/orders", json={"type": "market", "time_in_force": "day", "side": "buy", **body})

    def order_now(self, order_id: str) -> dict[str, Any]:
        return self.get(f"/v2/orders/{order_id}")

    def cash(self) -> str:
        return self.get("/v2/account")["cash"]

    # sockets
    @contextmanager
    def market(
        self, path: str = "/v2/iex", *, codec: str = "msgpack", auth: bool = True, **headers: str
    ) -> Iterator[Market]:
        url = self.urls["rest"].replace("http", "ws") + path
        content_type = {"Content-Type": f"application/{codec}"}
        with connect(url, additional_headers={**content_type, **headers}, max_size=None, compression=None) as socket:
            market = Market(socket, codec)
            assert market.receive() == [{"T": "success", "msg": "connected"}]
            if auth:
                assert market.ask(action="auth", key="key", secret="secret") == [
                    {"T": "success", "msg": "authenticated"}
                ]
            yield market


class Market:
    """A raw market-data client."""

    def __init__(self, socket: ClientConnection, codec: str) -> None:
        self.socket = socket
        self.codec = codec

    def send(self, message: Any) -> None:
        self.socket.send(msgpack.packb(message) if self.codec == "msgpack" else json.dumps(message))

    def receive(self) -> list[dict[str, Any]]:
        frame = self.socket.recv(timeout=DEADLINE_S)
        assert isinstance(frame, bytes) == (self.codec == "msgpack")
        return msgpack.unpackb(frame) if isinstance(frame, bytes) else json.loads(frame)

    def ask(self, **message: Any) -> list[dict[str, Any]]:
        self.send(message)
        return self.receive()


@contextmanager
def running(config: ExchangeConfig) -> Iterator[Exchange]:
    """Serve in a thread; the server must end by itself when told to."""
    urls: dict[str, str] = {}
    is_ready = threading.Event()
    box: dict[str, Any] = {}

    async def main() -> None:
        box["stop"], box["loop"] = asyncio.Event(), asyncio.get_running_loop()
        await serve(config, ready=lambda got: (urls.update(got), is_ready.set()), stop=box["stop"])  # type: ignore[func-returns-value]

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  handed to the test
            box["error"] = error
        finally:
            is_ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert is_ready.wait(30)
    try:
        if "error" in box:
            raise box["error"]
        exchange = Exchange(urls)
        try:
            yield exchange
        finally:
            exchange.close()
            box["loop"].call_soon_threadsafe(box["stop"].set)
    finally:
        thread.join(15)
        assert not thread.is_alive(), "the server did not stop"
    if "error" in box:
        raise box["error"]


class Streaming:
    """An alpaca-py stream on a loop in a thread of its own."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        """Until the stream ends by itself or is told to: both may come in the same moment."""
        streaming = asyncio.ensure_future(self.stream._run_forever())
        told = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({streaming, told}, return_when=asyncio.FIRST_COMPLETED)
        if not streaming.done():
            await self.stream.stop_ws()
            await self.stream.close()
        told.cancel()
        await streaming

    def __enter__(self) -> Any:
        self._thread.start()
        return self.stream

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the stream has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the stream did not stop"


def data_folder() -> Path:
    """Folder of the shared real bars; skips where it is absent."""
    folder = Path(os.environ.get("TAPELINE_TEST_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real bars at {folder}: set TAPELINE_TEST_DATA")
    return folder
