"""The `trade_updates` websocket: JSON in binary frames, one connection per account, nothing replayed.

It turns the book's events into messages and numbers them (`event_id`) whether or not anybody listens. Protocol: Alpaca
"Websocket Streaming", both forms of authentication; `listen` replaces the whole list of streams.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from aiohttp import WSMsgType, web

from adapters.exchange import ids
from adapters.exchange.auth import Credentials, header_credentials
from adapters.exchange.faults import Faults
from adapters.exchange.outbox import Outbox
from adapters.exchange.settlement import TradeUpdate
from adapters.exchange.socket_faults import SocketFaults
from adapters.exchange.update_faults import UpdateFaults
from adapters.exchange.wire import rfc3339

_STREAMS = ("trade_updates",)
_CLOSE_S = 1.0
_PATH = "/stream"


class _Listener:
    """One client."""

    def __init__(self, outbox: Outbox, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.outbox = outbox
        self.key: str | None = None
        self.streams: list[str] = []

    def send(self, message: dict[str, Any]) -> None:
        self.outbox.put(msgspec.json.encode(message))


class TradingHub:
    """All trade_updates connections.

    Args:
        credentials: Which keys are let in.
        bytes_max: Bytes that may wait for one client.
        faults: What goes wrong on purpose.
    """

    def __init__(self, credentials: Credentials, bytes_max: int, faults: Faults) -> None:
        self._sockets = SocketFaults(faults)
        self._updates = UpdateFaults(faults)
        self._credentials = credentials
        self._bytes_max = bytes_max
        self._listeners: list[_Listener] = []
        self.events_emitted = 0

    @property
    def clients(self) -> int:
        """Connections that are authorized and listen to trade_updates."""
        return sum("trade_updates" in listener.streams for listener in self._listeners)

    def emit(self, updates: list[TradeUpdate], now_ns: int) -> None:
        """Queue events for every listener, in the order given."""
        for update in updates:
            self.events_emitted += 1
            for frame in self._updates.frames(update, self._data(update, now_ns)):
                self._send(frame, update.execution_id)
        for frame in self._updates.rest():
            self._send(frame, "rest")

    def _send(self, frame: bytes, key: str) -> None:
        for listener in self._listeners:
            if "trade_updates" in listener.streams and self._sockets.sends(_PATH, key, listener.outbox):
                listener.outbox.put(frame)

    def _data(self, update: TradeUpdate, now_ns: int) -> dict[str, Any]:
        return {
            "event": update.event, "event_id": ids.ulid(now_ns, self.events_emitted), "at": rfc3339(now_ns),
            **update.json(),
        }  # fmt: skip

    async def flushed(self) -> None:
        """Wait until every queued event is handed to the kernel."""
        for listener in list(self._listeners):
            await listener.outbox.flushed()

    async def disconnect(self) -> None:
        """Close every connection: the server stops."""
        for connection in list(self._listeners):
            await connection.socket.close(code=1001, message=b"going away")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one websocket; a second connection of an account is refused at the upgrade with 429."""
        refused = self._sockets.upgrade(_PATH)
        if refused is not None:
            return refused
        offered = header_credentials(request.headers)
        is_held = self._sockets.is_held(_PATH, offered[0] if offered else None)
        if is_held or any(
            other.key is not None and (offered is None or offered[0] == other.key) for other in self._listeners
        ):
            return web.json_response({"message": "too many requests."}, status=429)
        socket = web.WebSocketResponse(compress=False, timeout=_CLOSE_S, autoping=False)
        await socket.prepare(request)
        listener = _Listener(Outbox(socket, request, self._bytes_max, None), socket)
        self._listeners.append(listener)
        self._sockets.opened(_PATH, listener.outbox)
        try:
            async for message in socket:
                if await listener.outbox.took(message):
                    continue
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                try:
                    decoded = msgspec.json.decode(message.data)
                except msgspec.MsgspecError:
                    decoded = None
                if not self._on_message(listener, decoded):
                    await listener.outbox.flushed()
                    await socket.close()
        finally:
            self._listeners.remove(listener)
            self._sockets.ended(_PATH, listener.key)
            await listener.outbox.close()
        return socket

    def _on_message(self, listener: _Listener, message: Any) -> bool:
        """Answer one message; False ends the connection."""
        request = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
        raw = request.get("data")
        data = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
        match request.get("action"):
            case "authenticate":
                return self._authenticate(listener, str(data.get("key_id", "")), str(data.get("secret_key", "")))
            case "auth":
                return self._authenticate(listener, str(request.get("key", "")), str(request.get("secret", "")))
            case "listen" if listener.key is None:
                _authorization(listener, "unauthorized", "listen")
                return True
            case "listen":
                wanted: Any = data.get("streams")
                asked = cast("list[Any]", wanted) if isinstance(wanted, list) else []
                listener.streams = [name for name in _STREAMS if name in asked]
                listener.send({"stream": "listening", "data": {"streams": listener.streams}})
                return True
            case _:
                listener.send({"action": "error", "data": {"error_message": "invalid syntax"}})
                return True

    def _authenticate(self, listener: _Listener, key: str, secret: str) -> bool:
        if not self._credentials.accept(key, secret):
            _authorization(listener, "unauthorized", "authenticate")
            return True
        if any(other is not listener and other.key == key for other in self._listeners):
            listener.send({"action": "error", "data": {"error_message": "connection limit exceeded"}})
            return False
        if self._sockets.refusal(_PATH) is not None:
            listener.send({"action": "error", "data": {"error_message": "internal server error"}})
            return False
        listener.key = key
        _authorization(listener, "authorized", "authenticate")
        return True


def _authorization(listener: _Listener, status: str, action: str) -> None:
    listener.send({"stream": "authorization", "data": {"status": status, "action": action}})
