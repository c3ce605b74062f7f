"""Order events from Alpaca's trade_updates stream.

Decides when the stream counts as connected (the `listening` acknowledgement names trade_updates). It removes no
duplicate and reorders nothing: Alpaca repeats events, sends them late and loses some, so the engine removes duplicates
by (venue_order_id, cum_qty) and reconciles by REST after each `on_connected`. Called by the executor role.

A quiet account says nothing for hours, so silence proves nothing here: a dead peer is found by ping and pong, and a
mute one by the owner, who learns of an order event by REST first and calls `reconnect`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from alpaca.trading.stream import TradingStream

from adapters.alpaca.config import KEY_VARIABLE, SECRET_VARIABLE, AlpacaConfig
from adapters.alpaca.fields import Problem
from adapters.alpaca.parse_orders import parse_updates
from adapters.alpaca.reporter import OnProblem, Reporter
from adapters.alpaca.socket import SocketLife, run_all
from engine.errors import BusyError
from engine.ports import VenueListener

_CHANNEL = "trade_updates"


class UnauthorizedError(ValueError):
    """The venue refused the key of the trading stream."""


async def _unused(_message: Any) -> None:
    """Stand where alpaca-py wants a handler; messages are handled in `take`."""


class UpdateStream(SocketLife, TradingStream):
    """The one trade_updates connection of an account."""

    def __init__(self, config: AlpacaConfig, listener: VenueListener, on_problem: OnProblem) -> None:
        TradingStream.__init__(
            self,
            api_key=config.key,
            secret_key=config.secret,
            raw_data=True,
            url_override=config.trading_ws_url,
            websocket_params=config.websocket_params(),
        )
        reporter = Reporter(on_problem, config.problem_repeat_s_min)
        self.prepare(config, "trade updates", reporter, listener.on_disconnected)
        self._trade_updates_handler = _unused
        self._listener = listener
        self._listening = False

    # --- in place of alpaca-py's -------------------------------------------------------------------------------------

    async def _auth(self) -> None:
        credentials = {"key_id": self.config.key, "secret_key": self.config.secret}
        await self._send({"action": "authenticate", "data": credentials})
        answer = _decode(await self._ws.recv())
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or data.get("status") != "authorized":
            raise UnauthorizedError(str(data))

    async def _subscribe_trade_updates(self) -> None:
        self._listening = False
        await self._send({"action": "listen", "data": {"streams": [_CHANNEL]}})
        while not self._listening:
            self.take(await self._ws.recv())

    async def _start_ws(self) -> None:
        try:
            async with asyncio.timeout(self.config.handshake_s_max):
                await super()._start_ws()
        except UnauthorizedError:
            what = f"{self._at} refused the key: check {KEY_VARIABLE} and {SECRET_VARIABLE}"
            self.reporter.report("critical", what)
            raise
        except Exception as error:
            self.connect_failed(error)
            raise

    async def _consume(self) -> None:
        await self.listen()

    async def _send(self, message: dict[str, Any]) -> None:
        await self._ws.send(msgspec.json.encode(message).decode())

    # --- messages ----------------------------------------------------------------------------------------------------

    def take(self, frame: bytes | str) -> int:
        """Handle one frame, text or binary."""
        content = _decode(frame)
        messages: list[Any] = content if isinstance(content, list) else [content]
        for message in messages:
            if isinstance(message, dict):
                self._message(message)
            else:
                self.reporter.report("warning", f"{self.name}: frame of {len(frame)} bytes is no JSON object")
        return len(messages)

    def _message(self, message: dict[str, Any]) -> None:
        data = message.get("data")
        stream = message.get("stream")
        if stream == "listening":
            streams = data.get("streams") if isinstance(data, dict) else None
            if isinstance(streams, list) and _CHANNEL in streams:
                if not self._listening:
                    self._listening = True
                    self.went_up()
                    self._call(self._listener.on_connected)
            else:
                self.reporter.report("error", f"{self._at}: {_CHANNEL} not acknowledged, listening to {streams!r}")
        elif stream == _CHANNEL:
            self._update(data)
        elif message.get("action") == "error" or stream == "authorization":
            self.reporter.report("error", f"{self._at}: {data!r}")

    def _update(self, data: Any) -> None:
        self.heard = time.monotonic()
        self._data_received = True
        if data is None:  # seen in the wild: Alpaca-API #110
            return
        for update in parse_updates(data):
            if isinstance(update, Problem):
                self.reporter.report("error", f"{self.name}: unreadable event: {update.what}")
                continue
            if update.event in ("fill", "partial_fill") and update.execution is None:
                self.reporter.report("error", f"{self.name}: {update.order.client_order_id}: {update.reason}")
            self._call(self._listener.on_update, update)


def _decode(frame: bytes | str) -> Any:
    """Read JSON; None where it is none."""
    try:
        return msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


class AlpacaUpdates:
    """Order events of the account as they happen.

    Args:
        on_problem: Where a refused key, a taken slot or an unreadable event is reported: `(level, what)`.
    """

    def __init__(self, config: AlpacaConfig, on_problem: OnProblem) -> None:
        self._config = config
        self._on_problem = on_problem
        self._stopping = asyncio.Event()
        self._stream: UpdateStream | None = None

    async def run(self, listener: VenueListener) -> None:
        """Stream until `stop`; run it as a task, once. Cancelling it closes everything as well.

        Raises:
            BusyError: It runs already.
        """
        if self._stream is not None:
            msg = "this update stream runs already: an account has one"
            raise BusyError(msg)
        self._stream = UpdateStream(self._config, listener, self._on_problem)
        try:
            await run_all([self._stream], self._stopping)
        finally:
            self._stream = None

    async def stop(self) -> None:
        """Ask `run` to end; it closes the socket within `close_s_max` and returns."""
        self._stopping.set()

    def reconnect(self, why: str) -> None:
        """Make the connection anew: REST knew of an event that the stream should have brought."""
        if self._stream is not None and self._stream.up:
            self._stream.reporter.report("warning", f"{self._stream.name}: connecting again: {why}")
            self._stream.abort()
