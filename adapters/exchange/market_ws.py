"""The market-data websockets: handshake, subscriptions and the minute's messages to whoever wants them.

One `MarketHub` serves all endpoints. Messages are encoded once per codec and shared between connections. It decides no
price and no time: the driver gives it the bars of a minute. Protocol and error codes: Alpaca "WebSocket Stream".
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, cast

import msgpack
import msgspec
from aiohttp import WSMsgType, web

from adapters.exchange.auth import Credentials, header_credentials
from adapters.exchange.bars import History, VenueBar
from adapters.exchange.config import ExchangeConfig
from adapters.exchange.faults import Faults
from adapters.exchange.frames import Codec, array_frames, encode_message
from adapters.exchange.market_faults import MarketFaults
from adapters.exchange.minute import Minute
from adapters.exchange.outbox import Outbox
from adapters.exchange.socket_faults import SocketFaults

STOCK_CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
CRYPTO_CHANNELS = ("trades", "quotes", "orderbooks", "bars", "updatedBars", "dailyBars")
CHANNELS: dict[str, tuple[str, ...]] = {
    "/v2/iex": STOCK_CHANNELS,
    "/v2/sip": STOCK_CHANNELS,
    "/v2/delayed_sip": STOCK_CHANNELS,
    "/v2/test": STOCK_CHANNELS,
    "/v1beta3/crypto/us": CRYPTO_CHANNELS,
    "/v1beta1/news": ("news",),
}
TEST_ENDPOINT = "/v2/test"
TEST_SYMBOL = "FAKEPACA"
_KNOWN_CHANNELS = frozenset((*STOCK_CHANNELS, *CRYPTO_CHANNELS, "news", "corrections", "cancelErrors", "imbalances"))
_MIRRORS = ("corrections", "cancelErrors")
_STOCK_SYMBOL = re.compile(r"^[A-Z0-9]+(\.[A-Z0-9]+)?$")
_CRYPTO_SYMBOL = re.compile(r"^[A-Z0-9]+/[A-Z0-9]+$")
_CLOSE_S = 1.0
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
_ERRORS = {
    400: "invalid syntax", 401: "not authenticated", 402: "auth failed", 403: "already authenticated",
    404: "auth timeout", 405: "symbol limit exceeded", 406: "connection limit exceeded", 407: "slow client",
    409: "insufficient subscription", 410: "invalid subscribe action for this feed", 500: "internal error",
}  # fmt: skip


def _error(code: int) -> dict[str, Any]:
    return {"T": "error", "code": code, "msg": _ERRORS[code]}


class MarketConnection:
    """One client: what it may see and what it asked for."""

    def __init__(
        self, endpoint: str, codec: Codec, outbox: Outbox, socket: web.WebSocketResponse, faults: Faults
    ) -> None:
        self.socket = socket
        self.endpoint = endpoint
        self.codec: Codec = codec
        self.outbox = outbox
        self.key: str | None = None
        self.faults = MarketFaults(faults, endpoint, codec)
        self.subscriptions: dict[str, frozenset[str]] = {channel: frozenset() for channel in CHANNELS[endpoint]}

    @property
    def is_subscribed(self) -> bool:
        """True when it is authenticated and wants something."""
        return self.key is not None and any(self.subscriptions.values())

    def wants(self, channel: str) -> frozenset[str]:
        """Symbols wanted on a channel; empty before authentication."""
        return self.subscriptions.get(channel, frozenset()) if self.key is not None else frozenset()

    def send(self, message: dict[str, Any]) -> None:
        """Queue one control message, alone in its array."""
        for frame in array_frames(self.codec, [encode_message(self.codec, message)]):
            self.outbox.put(frame)

    def acknowledgement(self) -> dict[str, Any]:
        """The whole current subscription; corrections and cancelErrors follow trades."""
        shown: dict[str, Any] = {"T": "subscription"}
        shown |= {channel: sorted(symbols) for channel, symbols in self.subscriptions.items()}
        if CHANNELS[self.endpoint] is STOCK_CHANNELS:
            shown |= dict.fromkeys(_MIRRORS, shown["trades"])
        return shown


class MarketHub:
    """All market-data connections.

    Args:
        config: Settings.
        credentials: Which keys are let in.
        history: Closed bars, for daily bars.
        faults: What goes wrong on purpose.
    """

    def __init__(self, config: ExchangeConfig, credentials: Credentials, history: History, faults: Faults) -> None:
        self._config = config
        self._faults = faults
        self._sockets = SocketFaults(faults)
        self._credentials = credentials
        self._history = history
        self._connections: list[MarketConnection] = []
        self._prepared: dict[str, Minute] = {}
        self._words: list[dict[str, Any]] = []
        self.first_bar_sent_wall_ns = 0
        self.last_bar_sent_wall_ns = 0

    @property
    def clients(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def subscribed(self) -> int:
        """Authenticated connections that want something."""
        return sum(connection.is_subscribed for connection in self._connections)

    # --- the minute -------------------------------------------------------------------------------------------------

    def prepare(self, bars: list[VenueBar], test_bars: list[VenueBar], late: list[VenueBar]) -> None:
        """Encode the bars of the coming `emit`, so that sending is all that is left to do."""
        self._prepared = {}
        for endpoint in {connection.endpoint for connection in self._connections}:
            minute = Minute(_of(endpoint, bars, test_bars), _of(endpoint, late, []), self._history)
            self._prepared[endpoint] = minute
            for connection in self._connections:
                if connection.endpoint == endpoint:
                    if wanted := connection.wants("bars"):
                        minute.frames(connection.codec, "bars", wanted)
                    minute.ticks(connection.codec, connection.wants("trades"), connection.wants("quotes"))

    def emit(self, bars: list[VenueBar], test_bars: list[VenueBar], late: list[VenueBar]) -> None:
        """Queue a minute: what is to be said of halts, late updates of the minute before, ticks, bars, daily bars."""
        self.first_bar_sent_wall_ns = self.last_bar_sent_wall_ns = 0
        self.say()
        for connection in self._connections:
            endpoint, codec = connection.endpoint, connection.codec
            minute = self._prepared.get(endpoint)
            if minute is None:
                minute = Minute(_of(endpoint, bars, test_bars), _of(endpoint, late, []), self._history)
                self._prepared[endpoint] = minute
            if not self._sockets.sends(endpoint, str(minute.ns), connection.outbox):
                continue
            put = connection.outbox.put
            if wanted := connection.wants("updatedBars"):
                for frame in minute.frames(codec, "updatedBars", wanted):
                    put(frame)
            for frame in minute.ticks(codec, connection.wants("trades"), connection.wants("quotes")):
                put(frame)
            if wanted := connection.wants("bars"):
                is_wrong = connection.faults.are_asked_for
                for frame in minute.faulty(connection) if is_wrong else minute.frames(codec, "bars", wanted):
                    put(frame, self._bar_sent)
            if wanted := connection.wants("dailyBars"):
                for frame in minute.frames(codec, "dailyBars", wanted):
                    put(frame)
        self._prepared = {}

    def note(self, message: dict[str, Any]) -> None:
        """Keep a word on a halt or a price band until it is time to `say` it."""
        self._words.append(message)

    def say(self) -> None:
        """Queue the words kept, to whoever wants them."""
        words, self._words = self._words, []
        for word in words:
            channel = "statuses" if word["T"] == "s" else "lulds"
            for connection in self._connections:
                if not connection.wants(channel).isdisjoint((word["S"], "*")):
                    connection.send(word)

    async def flushed(self) -> None:
        """Wait until the minute is handed to the kernel for every client."""
        for connection in list(self._connections):
            await connection.outbox.flushed()

    def _bar_sent(self) -> None:
        now = time.time_ns()
        if not self.first_bar_sent_wall_ns:
            self.first_bar_sent_wall_ns = now
        self.last_bar_sent_wall_ns = now

    # --- one connection ---------------------------------------------------------------------------------------------

    async def disconnect(self) -> None:
        """Close every connection: the server stops."""
        for connection in list(self._connections):
            await connection.socket.close(code=1001, message=b"going away")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one websocket from upgrade to close."""
        endpoint = request.path
        if endpoint not in CHANNELS:
            return web.json_response({"message": "not found"}, status=404)
        refused = self._sockets.upgrade(endpoint)
        if refused is not None:
            return refused
        codec: Codec = "msgpack" if "msgpack" in request.headers.get("Content-Type", "") else "json"
        socket = web.WebSocketResponse(
            compress=False, timeout=_CLOSE_S, max_msg_size=_MESSAGE_BYTES_MAX, autoping=False
        )
        await socket.prepare(request)
        farewell = array_frames(codec, [encode_message(codec, _error(407))])[0]
        outbox = Outbox(socket, request, self._config.send_buffer_bytes_max, farewell)
        connection = MarketConnection(endpoint, codec, outbox, socket, self._faults)
        self._connections.append(connection)
        self._sockets.opened(endpoint, outbox)
        try:
            connection.send({"T": "success", "msg": "connected"})
            offered = header_credentials(request.headers)
            if offered is not None:
                self._authenticate(connection, *offered)
            await self._converse(connection, socket)
        finally:
            self._connections.remove(connection)
            self._sockets.ended(endpoint, connection.key)
            await outbox.close()
        return socket

    async def _converse(self, connection: MarketConnection, socket: web.WebSocketResponse) -> None:
        deadline = asyncio.get_running_loop().time() + self._config.auth_timeout_s
        while True:
            left = None if connection.key else deadline - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(left):
                    message = await socket.receive()
            except TimeoutError:
                if connection.key:
                    continue
                connection.send(_error(404))
                await connection.outbox.flushed()
                await socket.close()
                return
            if await connection.outbox.took(message):
                continue
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            try:
                self._on_message(connection, _decoded(connection.codec, message.data))
            except (ValueError, TypeError, msgpack.UnpackException, msgspec.MsgspecError):
                connection.send(_error(400))

    def _on_message(self, connection: MarketConnection, message: Any) -> None:
        if not isinstance(message, dict):
            connection.send(_error(400))
            return
        request = cast("dict[str, Any]", message)
        match request.get("action"):
            case "auth":
                self._authenticate(connection, str(request.get("key", "")), str(request.get("secret", "")))
            case "subscribe":
                self._subscribe(connection, request, frozenset.union)
            case "unsubscribe":
                self._subscribe(connection, request, frozenset.difference)
            case _:
                connection.send(_error(400))

    def _authenticate(self, connection: MarketConnection, key: str, secret: str) -> None:
        if connection.key is not None:
            connection.send(_error(403))
        elif not self._credentials.accept(key, secret):
            connection.send(_error(402))
        elif self._sockets.is_held(connection.endpoint, key) or any(
            other.endpoint == connection.endpoint and other.key == key for other in self._connections
        ):
            connection.send(_error(406))
        elif (rule := self._sockets.refusal(connection.endpoint)) is not None:
            connection.send(_error(rule.code))
        else:
            connection.key = key
            connection.send({"T": "success", "msg": "authenticated"})

    def _subscribe(
        self,
        connection: MarketConnection,
        request: dict[str, Any],
        change: Callable[[frozenset[str], frozenset[str]], frozenset[str]],
    ) -> None:
        """Apply a whole request or nothing of it, and answer with the whole subscription."""
        if connection.key is None:
            connection.send(_error(401))
            return
        wanted = dict(connection.subscriptions)
        for channel, symbols in request.items():
            if channel == "action":
                continue
            if channel not in wanted:
                connection.send(_error(410 if channel in _KNOWN_CHANNELS else 400))
                return
            if not isinstance(symbols, list) or not all(_is_symbol(connection.endpoint, name) for name in symbols):  # pyright: ignore[reportUnknownVariableType]
                connection.send(_error(400))
                return
            wanted[channel] = change(wanted[channel], frozenset(cast("list[str]", symbols)))
        limit = self._config.symbol_limit
        if limit is not None and len(frozenset().union(*wanted.values())) > limit:
            connection.send(_error(405))
            return
        connection.subscriptions = wanted
        connection.send(connection.acknowledgement())


def _of(endpoint: str, bars: list[VenueBar], test_bars: list[VenueBar]) -> list[VenueBar]:
    """The bars that an endpoint carries."""
    if endpoint == TEST_ENDPOINT:
        return test_bars
    wants_crypto = CHANNELS[endpoint] is CRYPTO_CHANNELS
    return [bar for bar in bars if ("/" in bar.symbol) == wants_crypto]


def _decoded(codec: Codec, data: str | bytes) -> Any:
    if codec == "msgpack" and isinstance(data, bytes):
        return msgpack.unpackb(data)
    return msgspec.json.decode(data)


def _is_symbol(endpoint: str, name: Any) -> bool:
    if name == "*":
        return True
    pattern = _CRYPTO_SYMBOL if CHANNELS[endpoint] is CRYPTO_CHANNELS else _STOCK_SYMBOL
    return isinstance(name, str) and pattern.fullmatch(name) is not None
