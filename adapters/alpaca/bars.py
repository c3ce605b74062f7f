"""Minute bars from Alpaca's market-data streams, one connection per endpoint (stocks, crypto).

Decides when a subscription counts (the venue's acknowledgement covers it) and when a silent socket is mute; turns each
frame into one call of the listener. It never backfills and never drops a duplicate: feed does both. Corrected bars
(`u`) are not asked for. Called by the feed role, on its event loop.

Invariants: (1) after each (re)connect `on_connected` comes before the first bar of that connection; (2) one frame is
at most one `on_bars`; (3) a bad bar is reported and costs itself only.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
from alpaca.data.live.websocket import DataStream

from adapters.alpaca.config import AlpacaConfig
from adapters.alpaca.frames import FrameReader
from adapters.alpaca.reporter import Reporter
from adapters.alpaca.socket import RefusedError, SocketLife, run_all
from engine.errors import BusyError
from engine.messages import Bar
from engine.ports import BarListener
from engine.values import AssetClass, asset_class_of

IsOpen = Callable[[AssetClass], bool]
_PROBLEMS_PER_FRAME_MAX = 3


def _always(_asset_class: AssetClass) -> bool:
    return True


class SubscriptionError(ValueError):
    """The venue did not acknowledge what was asked for."""


async def _unused(_record: Any) -> None:
    """Stand where alpaca-py wants a handler per symbol; frames are handled whole, in `take`."""


class BarStream(SocketLife, DataStream):
    """One market-data connection.

    Args:
        symbols: All that is ever subscribed on it, at least one (alpaca-py spins on none).
        wall_ns: Wall clock, for `ts_recv`.
    """

    def __init__(
        self,
        config: AlpacaConfig,
        asset_class: AssetClass,
        symbols: Sequence[str],
        listener: BarListener,
        wall_ns: Callable[[], int],
    ) -> None:
        crypto = asset_class is AssetClass.CRYPTO
        DataStream.__init__(
            self,
            endpoint=config.crypto_ws_url if crypto else config.stock_ws_url,
            api_key=config.key,
            secret_key=config.secret,
            raw_data=True,
            websocket_params=config.websocket_params(),
        )
        reporter = Reporter(listener.on_problem, config.problem_repeat_s_min)
        self.prepare(config, "crypto bars" if crypto else "stock bars", reporter, listener.on_disconnected)
        self.asset_class = asset_class
        self.listener = listener
        self.wanted = tuple(dict.fromkeys(symbols))
        self._handlers["bars"].update(dict.fromkeys(self.wanted, _unused))
        self._reader = FrameReader()
        self._wall_ns = wall_ns
        self._held: list[tuple[list[Bar], int]] | None = None
        self._acked: set[str] = set()
        self._refused = False
        self._partial = 0

    # --- in place of alpaca-py's -------------------------------------------------------------------------------------

    async def _auth(self) -> None:
        await self._ws.send(msgpack.packb({"action": "auth", "key": self.config.key, "secret": self.config.secret}))
        answer = msgpack.unpackb(await self._ws.recv())[0]
        if answer["T"] == "error":
            raise RefusedError(int(answer.get("code") or 0), str(answer.get("msg") or "auth failed"))
        if answer["T"] != "success" or answer["msg"] != "authenticated":
            msg = f"answer to the authentication was {answer!r}"
            raise ValueError(msg)

    async def _start_ws(self) -> None:
        try:
            async with asyncio.timeout(self.config.handshake_s_max):
                await super()._start_ws()
        except Exception as error:
            self.connect_failed(error)
            raise

    async def _send_subscribe_msg(self) -> None:
        """Subscribe to everything and wait until the venue says so; what arrives meanwhile is held back."""
        self._acked, self._refused, self._held = set(), False, []
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.config.ack_s_max):
                    await super()._send_subscribe_msg()
                    while not self._refused and self._missing():
                        self.take(await self._ws.recv())
            self._judge_acknowledgement()
            held, self._held = self._held, None
        finally:
            self._held = None
        self.went_up()
        covered = self.wanted if "*" in self._acked else [symbol for symbol in self.wanted if symbol in self._acked]
        self._call(self.listener.on_connected, tuple(covered))
        for bars, ts_recv in held:
            self._call(self.listener.on_bars, bars, ts_recv)

    async def _consume(self) -> bool:
        await self.listen()
        return False

    # --- frames ------------------------------------------------------------------------------------------------------

    def take(self, frame: bytes | str) -> int:
        """Handle one frame: bars to the listener in one call, errors and acknowledgements here."""
        ts_recv = self._wall_ns()
        read = self._reader.read(frame)
        if read.has_data:
            self.heard = time.monotonic()
            self._data_received = True
        for control in read.controls:
            self._control(control)
        for what in read.problems[:_PROBLEMS_PER_FRAME_MAX]:
            self.reporter.report("warning", f"{self.name}: {what}")
        if len(read.problems) > _PROBLEMS_PER_FRAME_MAX:
            more = len(read.problems) - _PROBLEMS_PER_FRAME_MAX
            self.reporter.report("warning", f"{self.name}: {more} more unreadable records in one frame")
        if read.bars:
            if self._held is not None:
                self._held.append((read.bars, ts_recv))
            else:
                self._call(self.listener.on_bars, read.bars, ts_recv)
        return len(read.bars)

    def _control(self, record: dict[str, Any]) -> None:
        if record.get("T") == "subscription":
            acked = record.get("bars")
            self._acked = {symbol for symbol in acked if isinstance(symbol, str)} if isinstance(acked, list) else set()
        elif record.get("T") == "error":
            code, text = record.get("code"), record.get("msg")
            self.reporter.report("error", f"{self._at}: {text} ({code}); {len(self.wanted)} symbols wanted")
            self._refused = True

    def _missing(self) -> list[str]:
        return [] if "*" in self._acked else [symbol for symbol in self.wanted if symbol not in self._acked]

    def _judge_acknowledgement(self) -> None:
        """Accept a full acknowledgement; a partial one only after several connections gave no better.

        Raises:
            SubscriptionError: Connect again.
        """
        missing = self._missing()
        if not missing:
            self._partial = 0
            return
        self._partial += 1
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        what = f"{self._at}: {len(missing)} of {len(self.wanted)} symbols not acknowledged ({shown})"
        if self._acked.intersection(self.wanted) and self._partial >= self.config.ack_attempts_max:
            self.reporter.report("critical", f"{what}; going on without them")
            return
        self.reporter.report("error", f"{what}; connecting again")
        raise SubscriptionError(what)


class AlpacaBars:
    """Bars of many symbols as they are made.

    Args:
        wall_ns: Wall clock in ns UTC, read once per frame.
        is_open: Whether the market of a class is open now; silence counts only then. None: always.
    """

    def __init__(self, config: AlpacaConfig, wall_ns: Callable[[], int], is_open: IsOpen | None = None) -> None:
        self._config = config
        self._wall_ns = wall_ns
        self._is_open: IsOpen = is_open or _always
        self._stopping = asyncio.Event()
        self._streams: list[BarStream] = []

    async def run(self, symbols: Sequence[str], listener: BarListener) -> None:
        """Stream until `stop`; run it as a task, once. Cancelling it closes everything as well.

        Raises:
            ConfigError: The feed is not in the key's plan.
            BusyError: It runs already.
        """
        if self._streams:
            msg = "this bar stream runs already: make a second AlpacaBars only with other URLs"
            raise BusyError(msg)
        for asset_class in AssetClass:
            chosen = [symbol for symbol in symbols if asset_class_of(symbol) is asset_class]
            if chosen:
                self._streams.append(BarStream(self._config, asset_class, chosen, listener, self._wall_ns))
        try:
            await run_all(self._streams, self._stopping, self._watch())
        finally:
            self._streams = []

    async def stop(self) -> None:
        """Ask `run` to end; it closes the sockets within `close_s_max` and returns."""
        self._stopping.set()

    async def _watch(self) -> None:
        """Drop a connection that is open and mute while its market is open, so that it is made anew."""
        mute_s_max = self._config.mute_s_max
        while True:
            await asyncio.sleep(mute_s_max / 8)
            now = time.monotonic()
            for stream in self._streams:
                if not stream.up or not self._is_open(stream.asset_class):
                    stream.heard = now
                elif now - stream.heard > mute_s_max:
                    stream.heard = now
                    stream.reporter.report(
                        "error", f"{stream.name}: no data for {mute_s_max:g} s in an open market; connecting again"
                    )
                    stream.abort()
