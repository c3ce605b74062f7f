"""One websocket's way out: frames wait here and one task sends them, so that a slow client never stops the market.

Bounded in bytes: a client further behind is told 407 where its protocol has that, and cut off. Used by both websockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from aiohttp import WSMessage, WSMsgType, web

_LAST_WORD_S = 0.2
_LINGER_NOT = struct.pack("ii", 1, 0)
DropMode = Literal["clean", "reset"]


def reset(request: web.Request) -> None:
    """Cut a connection so that the peer sees a reset, not an end."""
    transport = request.transport
    if transport is not None:
        raw: Any = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _LINGER_NOT)
        transport.abort()


class Outbox:
    """Frames on their way to one client.

    Args:
        socket: An open websocket.
        request: Its upgrade request, for cutting the connection.
        bytes_max: Bytes that may wait.
        farewell: Frame sent before an overflowing client is cut off.
    """

    def __init__(
        self, socket: web.WebSocketResponse, request: web.Request, bytes_max: int, farewell: bytes | str | None
    ) -> None:
        self._socket = socket
        self._request = request
        self._bytes_max = bytes_max
        self._farewell = farewell
        self._frames: deque[tuple[bytes | str, Callable[[], None] | None]] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_cut = False
        self.is_mute = False
        """Half-open on purpose: nothing is sent any more, nothing that comes in counts."""
        self.answers_pings = True
        self._drop_mode: DropMode | None = None
        self._task = asyncio.create_task(self._send())
        self._ending: asyncio.Task[None] | None = None

    def put(self, frame: bytes | str, on_send: Callable[[], None] | None = None) -> None:
        """Queue a frame; `on_send` is called right before and right after it goes out."""
        if self.is_cut:
            return
        self._frames.append((frame, on_send))
        self._waiting_bytes += len(frame)
        self._idle.clear()
        self._wake.set()
        if self._waiting_bytes > self._bytes_max:
            self.is_cut = True
            self._ending = asyncio.create_task(self._cut())

    def mute(self) -> None:
        """Send nothing any more, and leave the connection open."""
        self.is_cut = self.is_mute = True
        self.answers_pings = False
        self._frames.clear()
        self._idle.set()

    def drop(self, mode: DropMode, *, says_farewell: bool = False) -> None:
        """End the connection by a closing handshake or a reset, after what is queued and before anything else.

        With a farewell, the client is told first that it was too slow (407), where its protocol has that.
        """
        if says_farewell and self._farewell is not None:
            self.put(self._farewell)
        self.is_cut = True
        self._drop_mode = mode
        self._wake.set()

    def drop_when_sent(self, mode: DropMode) -> None:
        """End the connection after what is queued next has been sent."""
        self._drop_mode = mode

    async def took(self, message: WSMessage) -> bool:
        """Answer a ping, swallow a pong, and everything while mute; True when nothing is left for the protocol."""
        if message.type is WSMsgType.PING:
            if self.answers_pings:
                with contextlib.suppress(ConnectionError):
                    await self._socket.pong(message.data)
            return True
        return message.type is WSMsgType.PONG or (self.is_mute and message.type in (WSMsgType.TEXT, WSMsgType.BINARY))

    async def _drop(self, mode: DropMode) -> None:
        if mode == "reset":
            reset(self._request)
            return
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._socket.close(code=1001, message=b"going away")

    async def flushed(self) -> None:
        """Wait until everything queued has been handed to the kernel or the client is gone."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop sending."""
        self.is_cut = True
        self._idle.set()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self._task

    async def _send(self) -> None:
        try:
            while True:
                if not self._frames:
                    self._idle.set()
                    if self._drop_mode is not None:
                        self.is_cut = True
                        await self._drop(self._drop_mode)
                        return
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                frame, on_send = self._frames.popleft()
                if on_send is not None:
                    on_send()
                await (self._socket.send_bytes(frame) if isinstance(frame, bytes) else self._socket.send_str(frame))
                self._waiting_bytes -= len(frame)
                if on_send is not None:
                    on_send()
        except (ConnectionError, RuntimeError):
            self.is_cut = True
        finally:
            self._idle.set()

    async def _cut(self) -> None:
        self._task.cancel()
        self._frames.clear()
        self._idle.set()
        if self._farewell is not None:
            with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
                async with asyncio.timeout(_LAST_WORD_S):
                    if isinstance(self._farewell, bytes):
                        await self._socket.send_bytes(self._farewell)
                    else:
                        await self._socket.send_str(self._farewell)
        transport = self._request.transport
        if transport is not None:
            transport.abort()
