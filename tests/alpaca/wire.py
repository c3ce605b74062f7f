"""A hand-written server that speaks Alpaca's protocols and misbehaves on demand. It judges nothing; tests do.

`Wire` runs on its own thread with its own loop, because the REST side of the adapter blocks the thread it is called on.
Knobs are plain attributes, read at each connection or request; what arrived is kept for the tests to look at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgpack
from aiohttp import WSMsgType, web
from hypothesis import HealthCheck, settings

from adapters.alpaca.config import AlpacaConfig

KEY, SECRET = "PKTESTKEY", "very-secret-value"
Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]
"""Status, body (bytes or str go out as they are, anything else as JSON), headers."""
relaxed = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
"""For hypothesis on a busy machine; a failure prints how to repeat it."""
HANG = SimpleNamespace(what="hang")
"""As a reply: read the request and never answer."""
DROP = SimpleNamespace(what="drop")
"""As a reply: read the request and cut the connection."""


class Socket:
    """One accepted websocket, as the server sees it."""

    def __init__(self, wire: Wire, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.wire, self.ws, self.request = wire, ws, request
        self.received: list[Any] = []
        self.asked: dict[str, Any] = {}

    def send(self, records: Any) -> None:
        self.wire.do(self.ws.send_bytes(msgpack.packb(records, datetime=True)))

    def send_raw(self, data: bytes | str) -> None:
        self.wire.do(self.ws.send_bytes(data) if isinstance(data, bytes) else self.ws.send_str(data))

    def send_json(self, message: Any) -> None:
        self.send_raw(json.dumps(message).encode())

    def drop(self) -> None:
        async def cut() -> None:
            self.request.transport.abort()

        self.wire.do(cut())

    def close(self, code: int) -> None:
        self.wire.do(self.ws.close(code=code))


class Wire:
    def __init__(self) -> None:
        self.port = 0
        self.url = ""
        # market data
        self.upgrade_status: int | None = None
        self.never_upgrade = False
        self.greeting: Any = [{"T": "success", "msg": "connected"}]
        self.auth_answer: Any = [{"T": "success", "msg": "authenticated"}]
        self.subscribe_answer: Callable[[list[str]], Any] = lambda symbols: [{"T": "subscription", "bars": symbols}]
        self.more_answer: Callable[[dict[str, Any]], Any] = lambda asked: [{"T": "subscription", **asked}]
        # trading
        self.authorization: Any = {
            "stream": "authorization",
            "data": {"status": "authorized", "action": "authenticate"},
        }
        self.listening: Any = {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        self.text_frames = False
        # what came
        self.sockets: list[Socket] = []
        self.connects = 0
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.routes: dict[tuple[str, str], Any] = {}
        self._hanging: set[asyncio.Task[Any]] = set()

    def config(self, **changes: Any) -> AlpacaConfig:
        ws = self.url.replace("http", "ws")
        settings: dict[str, Any] = {
            "key": KEY,
            "secret": SECRET,
            "rest_url": self.url,
            "data_url": self.url,
            "stock_ws_url": f"{ws}/v2/iex",
            "crypto_ws_url": f"{ws}/v1beta3/crypto/us",
            "trading_ws_url": f"{ws}/stream",
            "connect_s_max": 1.0,
            "read_s_max": 0.4,
            "retry_s_min": 0.01,
            "rate_s_default": 0.01,
            "handshake_s_max": 0.5,
            "ack_s_max": 0.3,
            "reconnect_s_min": 0.02,
            "reconnect_s_max": 0.05,
            "close_s_max": 0.3,
        }
        return AlpacaConfig(**(settings | changes))

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._start())

    def stop(self) -> None:
        self.do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/v2/iex", self._data)
        app.router.add_get("/v1beta3/crypto/us", self._data)
        app.router.add_get("/stream", self._trading)
        app.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def _stop(self) -> None:
        for socket in self.sockets:
            if socket.request.transport is not None:
                socket.request.transport.abort()
        for task in self._hanging:
            task.cancel()
        await self._runner.cleanup()

    async def _hang(self) -> None:
        task = asyncio.current_task()
        self._hanging.add(task)
        await asyncio.sleep(60)

    # --- websockets --------------------------------------------------------------------------------------------------

    async def _upgrade(self, request: web.Request) -> Socket | web.StreamResponse:
        self.connects += 1
        if self.never_upgrade:
            await self._hang()
        if self.upgrade_status is not None:
            return web.Response(status=self.upgrade_status, text="<html>no</html>")
        ws = web.WebSocketResponse(compress=False, autoping=True)
        await ws.prepare(request)
        socket = Socket(self, ws, request)
        self.sockets.append(socket)
        return socket

    async def _data(self, request: web.Request) -> web.StreamResponse:
        socket = await self._upgrade(request)
        if not isinstance(socket, Socket):
            return socket
        ws = socket.ws
        if self.greeting is not None:
            await ws.send_bytes(msgpack.packb(self.greeting))
        async for frame in ws:
            if frame.type is not WSMsgType.BINARY:
                continue
            message = msgpack.unpackb(frame.data)
            socket.received.append(message)
            answer = None
            if message["action"] == "auth":
                answer = self.auth_answer
            elif message["action"] == "subscribe":
                for channel in message.keys() - {"action"}:
                    socket.asked[channel] = sorted({*socket.asked.get(channel, ()), *message[channel]})
                if "bars" in message:
                    answer = self.subscribe_answer(socket.asked["bars"])
                    if isinstance(answer, list):
                        acked = [r for r in answer if r.get("T") == "subscription"]
                        socket.asked["bars"] = next((r["bars"] for r in acked), [])
                        for record in acked:
                            record.update({**socket.asked, **record})
                else:  # an answer holds the whole subscription
                    answer = self.more_answer(dict(socket.asked))
            if answer is not None:
                await ws.send_bytes(msgpack.packb(answer))
        return ws

    async def _trading(self, request: web.Request) -> web.StreamResponse:
        socket = await self._upgrade(request)
        if not isinstance(socket, Socket):
            return socket
        ws = socket.ws
        async for frame in ws:
            message = json.loads(frame.data)
            socket.received.append(message)
            answer = self.authorization if message["action"] == "authenticate" else self.listening
            if answer is not None:
                text = json.dumps(answer)
                await (ws.send_str(text) if self.text_frames else ws.send_bytes(text.encode()))
        return ws

    # --- REST --------------------------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        query = dict(request.query)
        self.requests.append((request.method, request.path, query, json.loads(body) if body else None))
        reply = self.routes.get((request.method, request.path), (404, {"code": 40410000, "message": "not found"}))
        if callable(reply):
            reply = reply(query, json.loads(body) if body else None)
        elif isinstance(reply, list):
            reply = reply.pop(0) if len(reply) > 1 else reply[0]
        if reply is HANG:
            await self._hang()
        if reply is DROP:
            request.transport.abort()
            await asyncio.sleep(0)
            return web.Response()
        status, content, *more = reply
        headers = {"Content-Type": "application/json", **(more[0] if more else {})}
        if isinstance(content, str | bytes):
            data = content.encode() if isinstance(content, str) else content
        else:
            data = b"" if content is None else json.dumps(content).encode()
        return web.Response(status=status, body=data, headers=headers)


@contextlib.contextmanager
def running_wire() -> Iterator[Wire]:
    wire = Wire()
    wire.start()
    try:
        yield wire
    finally:
        wire.stop()


async def until(condition: Callable[[], Any], seconds: float = 5.0, what: str = "") -> Any:
    """Poll until the condition holds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, what or "condition did not hold in time"
        await asyncio.sleep(0.005)
    return value


async def holds(condition: Callable[[], Any], seconds: float) -> None:
    """Poll that the condition stays true for a while: for what must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition()
        await asyncio.sleep(0.02)


class Ear:
    """A listener of bars and of updates that keeps everything, in order."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []

    def on_connected(self, *symbols: Any) -> None:
        self.log.append(("connected", *symbols))

    def on_disconnected(self, *symbols: Any) -> None:
        self.log.append(("disconnected", *symbols))

    def on_bars(self, bars: Any, ts_recv: int) -> None:
        self.log.append(("bars", list(bars), ts_recv))

    def on_updates(self, bars: Any, ts_recv: int) -> None:
        self.log.append(("corrections", list(bars), ts_recv))

    def on_ticks(self, ticks: Any, ts_recv: int) -> None:
        self.log.append(("ticks", list(ticks), ts_recv))

    def on_statuses(self, statuses: Any, ts_recv: int) -> None:
        self.log.append(("statuses", list(statuses), ts_recv))

    def on_update(self, update: Any) -> None:
        self.log.append(("update", update))

    def on_problem(self, level: str, what: str) -> None:
        assert SECRET not in what
        assert KEY not in what
        self.log.append(("problem", level, what))

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [entry[1:] for entry in self.log if entry[0] == kind]

    @property
    def bars(self) -> list[Any]:
        return [bar for bars, _ in self.of("bars") for bar in bars]

    @property
    def updates(self) -> list[Any]:
        return [update for (update,) in self.of("update")]

    def problem(self, part: str) -> tuple[str, str] | None:
        return next(((level, what) for level, what in self.of("problem") if part in what), None)


def bar_record(symbol: str, minute: int = 0, **changes: Any) -> dict[str, Any]:
    """A bar as the stream sends it; `minute` counts from 2021-02-22T19:15:00Z."""
    opened = msgpack.Timestamp(1614021300 + 60 * minute, 0)
    record = {"T": "b", "S": symbol, "o": 388.985, "h": 389.13, "l": 388.975, "c": 389.12, "v": 49378, "n": 461}
    return record | {"vw": 389.062639, "t": opened} | changes
